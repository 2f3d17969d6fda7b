"""Cloning beside a critic: which rows are worth imitating, and how much that counts.

A row is worth it where somebody else chose its action on purpose: offline ones that are not random, and a human's interventions; with
`self_imitation` also where the episode reached more than the agent expects of the state (Oh et al. 2018).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ...data.transition import Batch, Source
from ..base import Problem
from .agent_settings import CloningSettings, CloningTermSettings


def worth_cloning(config: CloningSettings, problem: Problem, batch: Batch, value: jax.Array) -> jax.Array:
    """`[B]` bool, from what the agent expects of the states, `value` `[B]`."""
    shown = (batch.offline & (batch.source != Source.RANDOM)) | batch.intervened
    return shown | better_than(problem, batch, value) if config.self_imitation else shown


def better_than(problem: Problem, batch: Batch, value: jax.Array) -> jax.Array:
    """`[B]` bool, where the episode reached more than `value` `[B]`. A value below what any return can be makes no success of a failure."""
    return batch.mc_return > jnp.maximum(value, problem.return_low)


def distance(config: CloningTermSettings, action: jax.Array, recorded: jax.Array) -> jax.Array:
    """`[B]`, squared, the mean or sum over dimensions."""
    squared = jnp.square(action - recorded)
    return squared.mean(axis=-1) if config.bc_reduction == "mean" else squared.sum(axis=-1)


def cloning_weight(config: CloningTermSettings, updates: jax.Array) -> jax.Array:
    """`bc_weight · bc_decay^t` after t critic steps."""
    return config.bc_weight * jnp.power(config.bc_decay, updates.astype(jnp.float32))


def mean_over(shown: jax.Array, loss: jax.Array, batch: Batch) -> jax.Array:
    """Mean over the rows `shown`, weighted by their quality; 0 where there are none."""
    return jnp.sum(batch.actor_weight * shown * loss) / jnp.maximum(shown.sum(), 1.0)
