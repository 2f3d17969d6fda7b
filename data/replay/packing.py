"""Rows as one matrix of 32-bit words, so that a random row is one run of memory instead of one visit per leaf."""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..transition import Spec, Transition, example


class Slot(NamedTuple):
    """Where a leaf lies: its first column, shape of one row, and dtype."""

    column: int
    shape: tuple[int, ...]
    dtype: np.dtype


def pack(rows: Transition) -> jax.Array:
    """Rows `[n]`, leaves float32, int32 and bool, as words `[n, W]` int32, bit for bit."""
    return jnp.concatenate([_to_words(leaf) for leaf in jax.tree.leaves(rows)], axis=1)


def unpack(words: jax.Array, spec: Spec) -> Transition:
    """The rows `[n]` that `pack` packed."""
    slots, structure = layout(spec)
    leaves = []
    for slot in slots:
        found = words[:, slot.column : slot.column + math.prod(slot.shape)].reshape(-1, *slot.shape)
        leaves.append(found != 0 if slot.dtype == bool else jax.lax.bitcast_convert_type(found, slot.dtype))
    return jax.tree.unflatten(structure, leaves)


@functools.lru_cache(maxsize=32)
def layout(spec: Spec) -> tuple[tuple[Slot, ...], Any]:
    """Where each leaf of a spec's rows lies, in the order of `jax.tree.leaves`, and the rows' structure."""
    leaves, structure = jax.tree.flatten(example(spec))
    slots, column = [], 0
    for leaf in leaves:
        slots.append(Slot(column, leaf.shape[1:], leaf.dtype))
        column += math.prod(leaf.shape[1:])
    return tuple(slots), structure


@functools.lru_cache(maxsize=128)
def column_of(spec: Spec, name: str) -> int:
    """The first column of a field that is one array, such as `mc_return` or `action`."""
    slots, structure = layout(spec)
    numbered = jax.tree.unflatten(structure, [slot.column for slot in slots])
    return getattr(numbered, name)


def _to_words(leaf: jax.Array) -> jax.Array:
    leaf = jnp.asarray(leaf)
    words = leaf.astype(jnp.int32) if leaf.dtype == bool else jax.lax.bitcast_convert_type(leaf, jnp.int32)
    return words.reshape(leaf.shape[0], -1)
