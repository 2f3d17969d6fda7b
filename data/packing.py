"""Rows as one matrix of 32-bit words, so that a random row is one run of memory instead of one visit per leaf."""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from .transition import Spec, Transition, example


class Packed(struct.PyTreeNode):
    """Rows `[n]`: every float32, int32 and bool leaf side by side as `words [n, W]` int32, and the uint8 leaves as they are."""

    words: jax.Array
    images: tuple[jax.Array, ...]


class Slot(NamedTuple):
    """Where a leaf lies: its first column (-1 for an image), shape of one row, and dtype."""

    column: int
    shape: tuple[int, ...]
    dtype: np.dtype


def pack(rows: Transition) -> Packed:
    """Rows `[n]` as words, bit for bit."""
    leaves = jax.tree.leaves(rows)
    words = [_to_words(leaf) for leaf in leaves if leaf.dtype != np.uint8]
    return Packed(jnp.concatenate(words, axis=1), tuple(jnp.asarray(leaf) for leaf in leaves if leaf.dtype == np.uint8))


def unpack(packed: Packed, spec: Spec) -> Transition:
    """The rows `[n]` that `pack` packed."""
    slots, structure = layout(spec)
    images, leaves = iter(packed.images), []
    for slot in slots:
        if slot.column < 0:
            leaves.append(next(images))
            continue
        words = packed.words[:, slot.column : slot.column + math.prod(slot.shape)].reshape(-1, *slot.shape)
        leaves.append(words != 0 if slot.dtype == bool else jax.lax.bitcast_convert_type(words, slot.dtype))
    return jax.tree.unflatten(structure, leaves)


@functools.lru_cache(maxsize=32)
def layout(spec: Spec) -> tuple[tuple[Slot, ...], Any]:
    """Where each leaf of a spec's rows lies, in the order of `jax.tree.leaves`, and the rows' structure."""
    leaves, structure = jax.tree.flatten(example(spec))
    slots, column = [], 0
    for leaf in leaves:
        image = leaf.dtype == np.uint8
        slots.append(Slot(-1 if image else column, leaf.shape[1:], leaf.dtype))
        column += 0 if image else math.prod(leaf.shape[1:])
    return tuple(slots), structure


@functools.lru_cache(maxsize=128)
def column_of(spec: Spec, name: str) -> int:
    """The column of a field that is one number a row, such as `mc_return`."""
    slots, structure = layout(spec)
    numbered = jax.tree.unflatten(structure, [slot.column for slot in slots])
    return getattr(numbered, name)


def _to_words(leaf: jax.Array) -> jax.Array:
    leaf = jnp.asarray(leaf)
    words = leaf.astype(jnp.int32) if leaf.dtype == bool else jax.lax.bitcast_convert_type(leaf, jnp.int32)
    return words.reshape(leaf.shape[0], -1)
