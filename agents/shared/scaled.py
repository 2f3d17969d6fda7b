"""Learning from rows as the networks see them: flat, normalised observations, and rewards that may be scaled.

The state of such an algorithm has the fields `normaliser`, `reward_scale` and `key`; its `step` takes a minibatch of such rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ...data.transition import Batch, Transition
from ..base import HasCritics, Metrics, run_block
from ..networks.normaliser import as_learnt, return_scale, reward_scale
from .agent_settings import ScaledRewardSettings

Step = Callable[[Any, tuple[Batch, jax.Array]], tuple[Any, tuple[Metrics, jax.Array]]]


def update_block(step: Step, state: Any, batch: Batch, noise: float) -> tuple[Any, Metrics, jax.Array]:
    """An agent's `update` by its `step(state, (minibatch, key)) -> (state, (metrics, |TD error| [B]))`; `noise` is `observation_noise`."""
    key, noise_key, *keys = jax.random.split(state.key, 2 + batch.reward.shape[0])
    learnt = as_learnt(batch, state.normaliser, state.reward_scale, noise, noise_key)
    state, (metrics, td_error) = run_block(step, state.replace(key=key), learnt, jnp.stack(keys))
    return state, jax.tree.map(jnp.mean, metrics), td_error


def td_error_of(agent: HasCritics, target: Callable[..., jax.Array], state: Any, batch: Batch, key: jax.Array) -> jax.Array:
    """An agent's `td_error` by its `target(state, rows, key)` in scaled rewards; `[B]`, in the rewards' own units, as the returns are."""
    learnt = as_learnt(batch, state.normaliser, state.reward_scale, 0.0, key)
    y = target(state, learnt, key) / state.reward_scale
    return jnp.abs(agent.q_values(state, batch.observation, batch.action) - y[None]).mean(axis=0)


def scale_of(config: ScaledRewardSettings, example: Transition) -> jax.Array:
    """`[]` what rewards are multiplied with, by the offline rows `[N]`."""
    return return_scale(example, config.return_span) if config.return_span else reward_scale(example, config.normalise_rewards)
