"""A learner's parts and state, small and the same in every process."""

import numpy as np

from warmloop.agents import SAC, SACConfig
from warmloop.data.mixing import MixingConfig
from warmloop.data.replay import ReplayConfig
from warmloop.data.transition import Leaf, Spec, example
from warmloop.learner.state import LearnerParts, create

SPEC = Spec((Leaf("", (4,), "float32"),), 2)


def small():
    """Parts, and a fresh state over forty offline rows."""
    agent = SAC(SACConfig(hidden=(16, 16), ensemble=2, utd=2, batch_size=8), SPEC)
    parts = LearnerParts(agent, ReplayConfig(capacity=64), MixingConfig(decay=0.9))
    rows = example(SPEC, 40).replace(reward=np.arange(40, dtype=np.float32))
    return parts, create(parts, 0, rows)
