"""Chunks of actions: what of a drawn stretch is learnt, and acting by a plan until it is used up."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import struct

from ...data.mixing import StretchBatch
from ...data.transition import Batch, PyTree, Transition

FIXED = 0  # the key of the noise by which a flow plans where chance is off


class Planned(struct.PyTreeNode):
    """A plan under way, the carry of an agent that acts in chunks.

    Attributes:
        chunk: `[h, A]`.
        done, left: actions of it that were done, and that are to be done before the next plan.
    """

    chunk: jax.Array
    done: jax.Array
    left: jax.Array


def act_by_plan(plan: Callable[[], jax.Array], carry: PyTree, execute: int) -> tuple[jax.Array, Planned]:
    """The next action `[A]` of the plan in `carry`, or the first of a new one, `plan()` `[h, A]`: where there is none (the carry is ()) or
    `execute` of its actions were done."""
    if not isinstance(carry, Planned):
        chunk = plan()
        return chunk[0], Planned(chunk, jnp.int32(1), jnp.int32(execute - 1))
    over = carry.left == 0
    chunk = jax.lax.cond(over, plan, lambda: carry.chunk)
    place = jnp.where(over, 0, carry.done)
    return chunk[place], Planned(chunk, place + 1, execute - 1 - place)


def flat(chunk: jax.Array) -> jax.Array:
    """`[..., h, A]` as `[..., h·A]`."""
    return chunk.reshape(*chunk.shape[:-2], -1)


def as_rows(batch: StretchBatch, partial: bool) -> StretchBatch:
    """A batch of chunks as rows that critics learn from: flat actions `[B, h·A]`, and no weight where the episode's end cut a chunk short;
    with `partial` only where it was truncated there."""
    whole = batch.valid[:, -1]
    learnt = whole | (batch.mask == 0) if partial else whole
    return batch.replace(action=flat(batch.action), weight=batch.weight * learnt)


def mean_of_valid(values: jax.Array, valid: jax.Array) -> jax.Array:
    """`[B]`, the mean of values `[B, h·A]` with 0 for the actions that are not there, by `valid` `[B, h]`, as Q-chunking has it."""
    there = jnp.repeat(valid, values.shape[-1] // valid.shape[-1], axis=-1)
    return (values * there).mean(axis=-1)


def first_rows(batch: StretchBatch) -> Batch:
    """The first row `[B]` of each sequence of a batch."""
    rows = {field.name: jax.tree.map(lambda x: x[:, 0], getattr(batch, field.name)) for field in dataclasses.fields(Transition)}
    return Batch(**rows, weight=batch.weight, actor_weight=batch.actor_weight, offline=batch.offline)
