"""Windows: rows that follow each other within an episode, drawn on the device.

The rows of several actors lie mixed in a pool, so that what follows a row is not what lies behind it. A linked pool keeps for each row the
serial of the next one of its episode, -1 where there is none or none yet. A window is chased along these links; it ends at the end of its
episode, at a gap, at the newest row, and at a row that was overwritten or retired, and never goes beyond.

Of a window from row t, n of whose T rows are there, a draw gives one of these:

    "return"    the row, with reward R = Σ_{i<n} γ^i r_{t+i}, mask γ^{n−1} m_{t+n−1} and the next observation s_{t+n}: so a one-step target
                r + γ m V(s') is the n-step target R + γⁿ m V(s_{t+n})
    "chunk"     the same, with the actions [T, A] (behind the end the last one again) and which of them are there, `valid` [T]
    "sequence"  all rows, leaves [T, ...], and `valid` [T]; what is behind the end is the last row again
"""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from ..errors import WarmloopError
from ..transition import Spec, Transition
from .packing import column_of, unpack

GIVES = ("return", "chunk", "sequence")
NONE = -1  # no row follows


@dataclasses.dataclass(frozen=True)
class Window:
    """What an agent learns from: T rows, and what becomes of them."""

    length: int = 1
    gives: str = "return"
    discount: float = 0.99

    def __post_init__(self):
        if self.gives not in GIVES or self.length < 1:
            raise WarmloopError(f"A window has at least 1 row, and gives one of {', '.join(GIVES)}; this is {self}.")

    @property
    def is_row(self) -> bool:
        """Whether it is a row as it is, so that no link is needed."""
        return self.length == 1 and self.gives == "return"


ROW = Window()


class Linked(Protocol):
    """What is asked of a pool, a `replay.ReplayState`."""

    words: jax.Array
    quality: jax.Array
    inserted: jax.Array
    spec: Spec
    following: Any

    @property
    def capacity(self) -> int: ...


class Stretch(Transition):
    """Rows drawn as chunks or sequences, with `valid` `[..., T]` bool."""

    valid: jax.Array


def links_of(rows: Transition) -> np.ndarray:
    """For rows `[N]` in order, the place of the row that follows each one in its episode, or -1."""
    episode, step = np.asarray(rows.episode), np.asarray(rows.step)
    over = (np.asarray(rows.mask) == 0) | np.asarray(rows.truncated)
    follows = (episode[1:] == episode[:-1]) & (step[1:] == step[:-1] + 1) & ~over[:-1]
    return np.append(np.where(follows, np.arange(1, len(episode)), NONE), NONE)[: len(episode)].astype(np.int32)


def chase(pool: Linked, slot: jax.Array, length: int) -> tuple[jax.Array, jax.Array]:
    """Slots `[n, T]` of the windows from rows in `slot` `[n]`, and which of them are there; behind the end it is the last one again."""

    def follow(carry: tuple[jax.Array, jax.Array], _: None) -> tuple[tuple[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]:
        slot, going = carry
        serial = pool.following.at[slot].get(mode="promise_in_bounds")
        there = going & (serial >= jnp.maximum(pool.inserted - pool.capacity, 0)) & (serial < pool.inserted)
        next_slot = jnp.where(there, serial % pool.capacity, slot)
        there &= pool.quality.at[next_slot].get(mode="promise_in_bounds") > 0
        slot = jnp.where(there, next_slot, slot)
        return (slot, there), (slot, there)

    begin = slot, jnp.ones(slot.shape, bool)
    _, (slots, valid) = jax.lax.scan(follow, begin, None, length - 1)
    return jnp.concatenate([slot[:, None], slots.T], axis=1), jnp.concatenate([begin[1][:, None], valid.T], axis=1)


def take(pool: Linked, slot: jax.Array, window: Window) -> Transition:
    """What a window from each row in `slot` `[n]` gives."""
    if window.is_row:
        return unpack(pool.words.at[slot].get(mode="promise_in_bounds"), pool.spec)
    slots, valid = chase(pool, slot, window.length)
    if window.gives == "sequence":
        rows = unpack(pool.words.at[slots.ravel()].get(mode="promise_in_bounds"), pool.spec)
        rows = jax.tree.map(lambda x: x.reshape(*slots.shape, *x.shape[1:]), rows)
        return _stretch(rows, valid)
    first, last = (unpack(pool.words.at[place].get(mode="promise_in_bounds"), pool.spec) for place in (slot, slots[:, -1]))
    reward = jax.lax.bitcast_convert_type(pool.words[slots, column_of(pool.spec, "reward")], jnp.float32)  # [n, T]
    steps = valid.sum(axis=1)
    powers = window.discount ** jnp.arange(window.length, dtype=jnp.float32)
    rows = first.replace(
        reward=jnp.sum(powers[None] * jnp.where(valid, reward, 0.0), axis=1),
        mask=powers[steps - 1] * last.mask,
        next_observation=last.next_observation,
        truncated=last.truncated,
    )
    if window.gives == "return":
        return rows
    column, dims = column_of(pool.spec, "action"), pool.spec.action_dim
    words = pool.words[slots[..., None], column + jnp.arange(dims)]  # [n, T, A]
    return _stretch(rows.replace(action=jax.lax.bitcast_convert_type(words, jnp.float32)), valid)


def _stretch(rows: Transition, valid: jax.Array) -> Stretch:
    return Stretch(**{field.name: getattr(rows, field.name) for field in dataclasses.fields(rows)}, valid=valid)
