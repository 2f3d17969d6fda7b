"""What the learner knows, as one PyTree: this is what a checkpoint holds."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from flax import struct

from ..agents.base import Agent
from ..data import replay
from ..data.mixing import MixingConfig
from ..data.replay import ReplayConfig, ReplayState
from ..data.transition import PyTree, Transition, length


class LearnerState(struct.PyTreeNode):
    """The whole of the learning.

    Attributes:
        agent: the agent's state.
        offline, online: the two pools.
        key: for drawing batches.
        updates: `[]` int32, updates (UTD blocks) since the warm-up began: drives the offline share.
    """

    agent: PyTree
    offline: ReplayState
    online: ReplayState
    key: jax.Array
    updates: jax.Array


@dataclasses.dataclass(frozen=True)
class LearnerParts:
    """The frozen description of a learner's step; hashable, so that one compiled program serves it."""

    agent: Agent
    replay: ReplayConfig
    mixing: MixingConfig


def create(parts: LearnerParts, seed: int, offline_rows: Transition | None, agent_state: PyTree = None) -> LearnerState:
    """A fresh learner over offline rows `[N]` (None for none), with the agent's given state or a new one."""
    spec = parts.agent.spec
    agent_key, key = jax.random.split(jax.random.key(seed))
    count = 0 if offline_rows is None else length(offline_rows)
    offline = replay.create(spec, parts.replay, capacity=max(count, 1))
    if offline_rows is not None and count:
        offline = replay.insert(offline, offline_rows, count, parts.replay)
    if agent_state is None:
        example = replay.example(spec) if offline_rows is None or not count else offline_rows
        agent_state = parts.agent.init(agent_key, example)
    zero = jnp.zeros((), jnp.int32)
    return LearnerState(agent_state, offline, replay.create(spec, parts.replay), key, zero)
