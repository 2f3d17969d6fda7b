"""The batch that was drawn ahead of its update, in a checkpoint: a run that stopped goes on with the same one.

It is drawn by the priorities before the update that runs beside its look-up, so it cannot be drawn again from the state that is saved.
"""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from ...data.replay import windows
from ...data.replay.frames import SLOTS
from ...data.replay.replay import ReplayState
from ...data.replay.windows import Window
from ...data.transition import Array, PyTree
from ..step import Block

FILE = "ahead.npz"


def store(folder: Path, block: Block) -> None:
    """Writes a block, images as slots, to a checkpoint's folder. Raises OSError."""
    np.savez(folder / FILE, *(np.asarray(_plain(leaf)) for leaf in jax.tree.leaves(block)), allow_pickle=False)


def restored(folder: Path, shapes: Block | tuple[()]) -> Block | tuple[()]:
    """The block in a checkpoint's folder; () where there is none, or where batches have other shapes now than `shapes`."""
    if not (shapes and (folder / FILE).is_file()):
        return ()
    with np.load(folder / FILE, allow_pickle=False) as arrays:
        found = [arrays[name] for name in arrays.files]
    wanted, structure = jax.tree.flatten(shapes)
    expected = [jax.eval_shape(_plain, leaf) for leaf in wanted]
    if [(x.shape, x.dtype) for x in found] != [(x.shape, x.dtype) for x in expected]:
        return ()
    leaves = [jax.random.wrap_key_data(jnp.asarray(x)) if _is_key(want) else jnp.asarray(x) for want, x in zip(wanted, found, strict=True)]
    return jax.tree.unflatten(structure, leaves)


def placed(block: Block, online: ReplayState, window: Window) -> Block | tuple[()]:
    """The block with its online rows' frames where they are in a pool that was filled anew; () where a row is gone."""
    serials, used = block.drawn.online_serials, ~block.drawn.offline  # [K, B], [B]
    slot = serials % online.capacity
    there = (serials >= online.inserted - online.capacity) & (serials < online.inserted) & (online.quality[slot] > 0)
    if not bool((there | ~used[None]).all()):
        return ()
    rows = windows.take(online, slot.ravel(), window)

    def where_now(drawn: PyTree, now: PyTree) -> PyTree:
        slots: Array = drawn[SLOTS]  # [K, B, k], or [K, B, T, k]
        of_online = used.reshape(1, -1, *(1,) * (slots.ndim - 2))
        return drawn | {SLOTS: jnp.where(of_online, now[SLOTS].reshape(slots.shape), slots)}

    batch = block.batch.replace(
        observation=where_now(block.batch.observation, rows.observation),
        next_observation=where_now(block.batch.next_observation, rows.next_observation),
    )
    return block.replace(batch=batch)


def _plain(leaf: jax.Array) -> jax.Array:
    return jax.random.key_data(leaf) if _is_key(leaf) else leaf


def _is_key(leaf: jax.Array) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
