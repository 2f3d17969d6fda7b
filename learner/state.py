"""What the learner knows, as one PyTree: this is what a checkpoint holds."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from ..agents.base import Agent
from ..data import replay
from ..data.mixing import MixingConfig
from ..data.replay import ReplayConfig, ReplayState
from ..data.transition import PyTree, Transition, example, length, take

ROWS_AT_ONCE = 1 << 18  # inserted into a pool: bounds what is packed beside it


class LearnerState(struct.PyTreeNode):
    """The whole of the learning.

    Attributes:
        agent: the agent's state.
        offline, online: the two pools.
        key: for drawing batches.
        updates: `[]` int32, updates (UTD blocks) since the warm-up began: drives the offline share and β.
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


def create(
    parts: LearnerParts, seed: int, offline_rows: Transition | None, offline_capacity: int | None = None, online_capacity: int | None = None
) -> LearnerState:
    """A fresh learner over offline rows `[N]` (None for none); the pools are N rows and the config's capacity, unless given."""
    spec = parts.agent.spec
    agent_key, key = jax.random.split(jax.random.key(seed))
    rows = example(spec, 0) if offline_rows is None else offline_rows
    count = length(rows)
    offline = replay.create(spec, parts.replay, capacity=offline_capacity or max(count, 1))
    for low in range(0, count, ROWS_AT_ONCE):  # each as long as the first, so that one program inserts them all
        chunk = np.minimum(np.arange(low, low + min(count, ROWS_AT_ONCE)), count - 1)
        offline = replay.insert(offline, take(rows, chunk), min(count - low, ROWS_AT_ONCE), parts.replay)
    agent = parts.agent.init(agent_key, example(spec) if offline_rows is None else offline_rows)
    online = replay.create(spec, parts.replay, capacity=online_capacity)
    return LearnerState(agent, offline, online, key, jnp.zeros((), jnp.int32))
