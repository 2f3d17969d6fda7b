"""Why a policy rises or falls, in figures of one learner's state: what its critics believe, where its policy has gone, what it sees.

Everything is computed by the agent's own functions. The agent is `sac`; figures of what it draws and is pulled by are in
`diagnosis_batches.py`. `tests/benchmarks/warm_diagnosis.py` takes all of them along a run.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ...agents.base import Actor
from ...agents.registry import name_of
from ...agents.sac import SAC, SACState
from ...data.errors import WarmloopError
from ...data.replay.packing import unpack
from ...data.replay.replay import ReplayState
from ...data.statistics import spearman
from ...data.transition import PyTree, Transition, length, take
from ..rows.offline_rows import OfflineData
from ..state import LearnerParts

SAMPLES = 16  # actions of each state, for a policy's deviation
ACTIONS = ("mean", "sampled", "recorded", "warm", "uniform")
Figures = dict[str, Any]


class Seen(NamedTuple):
    """Rows to measure by, as learners store them.

    Attributes:
        observation: `[N, *]`.
        action: `[N, A]` that was taken.
        returns: `[N]` discounted return to go, as far as it was recorded.
        paid: `[N]` bool, a success follows.
        first, last: `[N]` bool, the row begins or ends its episode.
    """

    observation: PyTree
    action: np.ndarray
    returns: np.ndarray
    paid: np.ndarray
    first: np.ndarray
    last: np.ndarray

    def of(self, rows: np.ndarray) -> Seen:
        """Some of them, by mask or number."""
        return jax.tree.map(lambda leaf: leaf[rows], self)


def check_diagnosed(parts: LearnerParts) -> SAC:
    """The agent of these figures. Raises WarmloopError where they are not of this agent, or it has cameras."""
    if not isinstance(parts.agent, SAC):
        raise WarmloopError(f'The diagnosis is of the agent "sac", and this one is "{name_of(type(parts.agent))}"; leave it out.')
    if parts.agent.spec.cameras:
        raise WarmloopError("The diagnosis is of agents without cameras; leave them out of the observation.")
    return parts.agent


def seen_in(pool: ReplayState, least: float) -> Seen:
    """The rows of a pool whose returns are known, oldest slot first; `least` is the least return that the reward allows."""
    rows = jax.tree.map(np.asarray, unpack(pool.words[: int(pool.size)], pool.spec))
    rows = take(rows, np.isfinite(rows.mc_return))
    return _seen(rows, rows.mc_return, least)


def seen_of(data: OfflineData, least: float) -> Seen:
    """All rows of prepared episodes."""
    every = np.ones(len(data.episodes), bool)
    return _seen(data.rows_of(every), data.returns_of(every), least)


def evenly(seen: Seen, count: int) -> Seen:
    """`count` rows, evenly spaced, so that one program serves any number; some come twice where there are fewer."""
    return seen.of(np.linspace(0, len(seen.returns) - 1, count).astype(int))


def critic_against_returns(agent: SAC, state: SACState, seen: Seen) -> Figures:
    """Q(s, a) of taken actions against the returns that followed: `bias` is the mean of Q − G, `rank` Spearman's correlation of the two."""
    q = np.asarray(_critics(agent, state, seen.observation, seen.action))  # [E, N]
    mean, error = q.mean(axis=0), q.mean(axis=0) - seen.returns
    return {
        "q": mean_of(mean),
        "returns": mean_of(seen.returns),
        "bias": mean_of(error),
        "error": float(np.sqrt(np.mean(np.square(error)))),
        "rank": spearman(mean, seen.returns),
        "disagreement": float(q.std(axis=0).mean()),
        "q_where_success_follows": mean_of(mean[seen.paid]),
        "q_where_none_follows": mean_of(mean[~seen.paid]),
        "rows": len(seen.returns),
    }


def values_of_actions(agent: SAC, state: SACState, warm: Actor, seen: Seen, key: jax.Array) -> Figures:
    """Q, in the states of `seen`, of the acting policy's mean, a sample of it, the recorded action, the warm policy's mean and a uniform
    action: the mean over states, and the share of states in which each is the greatest."""
    q = np.asarray(_values(agent, state, warm, seen.observation, seen.action, key))  # [5, E, N]
    mean = q.mean(axis=1)
    greatest = np.bincount(mean.argmax(axis=0), minlength=len(ACTIONS)) / mean.shape[1]
    gap, spread = np.abs(mean[0] - mean[3]), q[3].std(axis=0)
    return {
        "q": dict(zip(ACTIONS, map(mean_of, mean), strict=True)),
        "greatest": dict(zip(ACTIONS, map(float, greatest), strict=True)),
        "mean_above_warm": {"difference": mean_of(mean[0] - mean[3]), "size": mean_of(gap), "disagreement": mean_of(spread)},
    }


def movement(agent: SAC, state: SACState, warm: Actor, seen: Seen, key: jax.Array) -> Figures:
    """How far the acting policy has moved from the warm one in the states of `seen`: |Δa| of the means, over states and dimensions, also in
    deviations of the warm policy; both policies' widths, and their distances to the recorded actions."""
    found = {name: np.asarray(value) for name, value in _movement(agent, state, warm, seen.observation, seen.action, key).items()}
    return {name: mean_of(value) for name, value in found.items()}


def observed(agent: SAC, state: SACState, seen: Seen) -> Figures:
    """Where observations lie in the normaliser's statistics: the share of numbers that its bound bends, and the largest, in deviations."""
    normaliser = agent.actor_params(state).normaliser
    far = np.abs(np.asarray(normaliser.scaled(seen.observation)))  # [N, D]
    each = far.max(axis=0, initial=0.0)
    return {
        "clipped_share": float(normaliser.clipped_share(seen.observation)),
        "largest": float(each.max(initial=0.0)),
        "largest_at": int(each.argmax()) if each.size else -1,
        "beyond_three": float((far > 3).mean()),
    }


@partial(jax.jit, static_argnames="agent")
def _critics(agent: SAC, state: SACState, observation: PyTree, action: jax.Array) -> jax.Array:
    return agent.q_values(state, observation, action)


@partial(jax.jit, static_argnames="agent")
def _values(agent: SAC, state: SACState, warm: Actor, observation: PyTree, action: jax.Array, key: jax.Array) -> jax.Array:
    """Q `[5, E, N]` of the actions named in `ACTIONS`."""
    sample_key, uniform_key = jax.random.split(key)
    actor = agent.actor_params(state)
    actions = (
        agent.act(actor, observation, sample_key, (), True)[0],
        agent.act(actor, observation, sample_key, ())[0],
        action,
        agent.act(warm, observation, sample_key, (), True)[0],
        jax.random.uniform(uniform_key, action.shape, minval=-1.0, maxval=1.0),
    )
    return jnp.stack([agent.q_values(state, observation, each) for each in actions])


@partial(jax.jit, static_argnames="agent")
def _movement(agent: SAC, state: SACState, warm: Actor, observation: PyTree, action: jax.Array, key: jax.Array) -> dict[str, jax.Array]:
    """Of each state, `[N, A]`."""
    actor, keys = agent.actor_params(state), jax.random.split(key, SAMPLES)

    def mode(of: Actor) -> jax.Array:
        return agent.act(of, observation, key, (), True)[0]

    def deviation(of: Actor) -> jax.Array:
        return jax.lax.map(lambda each: agent.act(of, observation, each, ())[0], keys).std(axis=0)

    now, before, width = mode(actor), mode(warm), deviation(warm)
    moved = jnp.abs(now - before)
    return {
        "moved": moved,
        "moved_in_deviations": moved / jnp.maximum(width, 1e-6),
        "trained_from_acting": jnp.abs(mode(actor.replace(params=state.actor)) - now),
        "width": deviation(actor),
        "warm_width": width,
        "to_recorded": jnp.abs(now - action),
        "warm_to_recorded": jnp.abs(before - action),
        "saturated": jnp.abs(now) > 0.95,
    }


def _seen(rows: Transition, returns: np.ndarray, least: float) -> Seen:
    last = np.asarray(rows.truncated) | (np.asarray(rows.mask) == 0)
    if not length(rows):
        raise WarmloopError("There are no rows with known returns to measure by: no episode of them has ended yet.")
    return Seen(rows.observation, rows.action, returns, returns > least + 1e-6, np.asarray(rows.step) == 0, last)


def mean_of(values: np.ndarray) -> float:
    """NaN of none."""
    return float(np.mean(values)) if np.size(values) else float("nan")
