import numpy as np
import pytest

from warmloop.agents import SAC, SACConfig
from warmloop.data.mixing import MixingConfig
from warmloop.data.replay import ReplayConfig
from warmloop.data.transition import Leaf, Source, Spec, example
from warmloop.learner.state import LearnerParts

SPEC = Spec((Leaf("", (4,), "float32"),), 2)


@pytest.fixture(scope="session")
def parts():
    """A small SAC with its pools; shared, so that its programs compile once."""
    agent = SAC(SACConfig(hidden=(16, 16), ensemble=2, utd=2, batch_size=8), SPEC)
    return LearnerParts(agent, ReplayConfig(capacity=64), MixingConfig(decay=0.9))


@pytest.fixture(scope="session")
def make_rows():
    """`make_rows(count, source, seed)`: random steps of one episode that ends in success."""

    def make(count, source=Source.DEMOS, seed=0):
        rng = np.random.default_rng(seed)
        mask = np.ones(count, np.float32)
        mask[-1] = 0
        return example(SPEC, count).replace(
            observation=rng.normal(size=(count, 4)).astype(np.float32),
            next_observation=rng.normal(size=(count, 4)).astype(np.float32),
            action=np.tanh(rng.normal(size=(count, 2))).astype(np.float32),
            reward=1 - mask,
            mask=mask,
            mc_return=np.full(count, 0.5, np.float32),
            source=np.full(count, source, np.int32),
            step=np.arange(count, dtype=np.int32),
        )

    return make
