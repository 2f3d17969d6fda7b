"""The learner's step: draw, K critic steps, actor and temperature, priorities back; one donated XLA program."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp

from ..agents.base import Metrics
from ..data.frames import with_images
from ..data.mixing import draw_mixed, offline_rows, write_priorities
from ..data.replay import beta_at
from .state import LearnerParts, LearnerState


def step(state: LearnerState, parts: LearnerParts) -> tuple[LearnerState, Metrics]:
    """One update. The metrics are device scalars; reading them is the caller's choice."""
    key, draw_key = jax.random.split(state.key)
    draw_key, shift_key = jax.random.split(draw_key) if state.frames.cameras else (draw_key, draw_key)
    config = parts.agent.config
    ratio = parts.mixing.ratio(state.updates)
    beta = beta_at(parts.replay, state.updates)
    batch, drawn = draw_mixed(state.offline, state.online, draw_key, (config.utd, config.batch_size), ratio, beta, parts.replay)
    agent, metrics, td_error = parts.agent.update(state.agent, with_images(state.frames, batch, shift_key))
    offline, online = write_priorities(state.offline, state.online, drawn, td_error, parts.replay)
    count = offline_rows(ratio, config.batch_size, state.offline.size, state.online.size)
    metrics |= {
        "learner/offline_ratio": ratio,
        "learner/effective_offline_ratio": count / config.batch_size,
        "replay/beta": beta,
        "replay/online_size": state.online.size,
    }
    new = state.replace(agent=agent, offline=offline, online=online, key=key, updates=state.updates + 1)
    return new, metrics


@partial(jax.jit, static_argnames=("parts", "count"), donate_argnames="state")
def run_steps(state: LearnerState, parts: LearnerParts, count: int = 1) -> tuple[LearnerState, Metrics]:
    """`count` updates in one program; the metrics are their means."""
    if count == 1:
        return step(state, parts)
    state, metrics = jax.lax.scan(lambda state, _: step(state, parts), state, None, length=count)
    return state, jax.tree.map(lambda x: jnp.mean(x, axis=0), metrics)
