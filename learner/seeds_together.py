"""Several seeds of one offline run as one program; the rows that they all learn from are in memory once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from ..agents.base import Metrics
from ..data.replay.replay import ReplayState
from ..data.transition import Transition, example
from .starting_state import warm_start
from .state import LearnerParts, LearnerState
from .step import looped

SHARED = -1  # the axis of a leaf that is the same for all seeds


def start_seeds(parts: LearnerParts, seeds: Sequence[int], rows: Transition) -> LearnerState:
    """Fresh states of all `seeds`, each as `warm_start` makes it, with a leading axis `[S]` on all that differs between them."""
    first = warm_start(parts, seeds[0], rows)
    keys = jnp.stack([jnp.stack(jax.random.split(jax.random.key(seed))) for seed in seeds])  # [S, 2]
    agent = _initialised(parts, keys[:, 0], rows)

    def spread(leaf: jax.Array) -> jax.Array:
        return jnp.broadcast_to(leaf, (len(seeds), *leaf.shape))

    offline, online = ((pool.replace(tree=jax.tree.map(spread, pool.tree), max_urgency=spread(pool.max_urgency))) for pool in _pools(first))
    return first.replace(agent=agent, offline=offline, online=online, key=keys[:, 1])


@partial(jax.jit, static_argnames="parts", donate_argnames="states")
def run_seeds(states: LearnerState, parts: LearnerParts, count: jax.Array | int) -> tuple[LearnerState, Metrics]:
    """`count` updates of every seed in one program; the metrics `[S]` are the last update's."""

    axes = _axes(states)
    return jax.vmap(lambda state: looped(state, parts, count), in_axes=(axes,), out_axes=(axes, 0))(states)


def one_seed(states: LearnerState, index: int) -> LearnerState:
    """The state of one of them, as if it had been run alone."""
    pools = {
        name: pool.replace(tree=jax.tree.map(lambda leaf: leaf[index], pool.tree), max_urgency=pool.max_urgency[index])
        for name, pool in zip(("offline", "online"), _pools(states), strict=True)
    }
    return states.replace(agent=one_agent(states.agent, index), key=states.key[index], **pools)


def one_agent(agents: Any, index: int) -> Any:
    """The agent's state of one of them."""
    return jax.tree.map(lambda axis, leaf: leaf if axis == SHARED else leaf[index], _agent_axes(agents), agents)


def bytes_of_a_seed(parts: LearnerParts, rows: Transition) -> int:
    """What each further seed takes, in bytes: networks, optimizers and priorities."""
    state = jax.eval_shape(lambda: warm_start(parts, 0, rows))
    own = [state.agent, *(pool.tree for pool in _pools(state))]
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(own) if hasattr(leaf.dtype, "itemsize"))


def _initialised(parts: LearnerParts, keys: jax.Array, rows: Transition) -> Any:
    """Agents of all keys `[S]`. One after the other, since an agent may look at the rows in ways that no batch axis goes through."""
    states = [parts.agent.init(key, rows if rows is not None else example(parts.agent.spec)) for key in keys]
    return jax.tree.map(lambda axis, *leaves: leaves[0] if axis == SHARED else jnp.stack(leaves), _agent_axes(states[0]), *states)


def _agent_axes(agent: Any) -> Any:
    """0 for what differs between seeds. The counters of updates do not, and so a step that is due every second update is due for all
    at once: it stays a branch of the program."""

    def axis(path: tuple[Any, ...], _: jax.Array) -> int:
        return SHARED if jax.tree_util.keystr(path[-1:]) == ".updates" else 0

    return jax.tree_util.tree_map_with_path(axis, agent)


def _axes(states: LearnerState) -> Any:
    """Which parts have a seed axis. Rows and what counts them are the same for all."""

    def of_pool(pool: ReplayState) -> Any:
        return pool.replace(words=None, quality=None, tree=0, inserted=None, max_urgency=0, quality_sum=None)

    agent = jax.tree.map(lambda axis: None if axis == SHARED else axis, _agent_axes(states.agent))
    return states.replace(agent=agent, offline=of_pool(states.offline), online=of_pool(states.online), frames=None, key=0, updates=None)


def _pools(state: LearnerState) -> tuple[ReplayState, ReplayState]:
    return state.offline, state.online
