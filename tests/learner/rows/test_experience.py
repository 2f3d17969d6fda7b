"""A filled pool as the episodes that it holds."""

import numpy as np
import pytest

from warmloop.data.reward import RewardConfig
from warmloop.data.transition import Source, take
from warmloop.learner.rows.experience import experience
from warmloop.learner.rows.ingest import Ingest, RowRules
from warmloop.learner.state import create

LENGTHS = (20, 30, 7, 12)  # more than the pool's 64 rows


def filled(parts, make_rows, reward):
    """A pool after whole episodes, one that breaks off after the third, and one that has only begun; and the whole ones."""
    state = create(parts, 0, None)
    ingest = Ingest(parts, RowRules(reward), state)
    whole = [make_rows(length, Source.ONLINE, seed) for seed, length in enumerate(LENGTHS)]
    for number, rows in enumerate(whole):
        learnt = rows.replace(reward=reward(rows.reward, rows.reward > 0))
        state = ingest.insert(state, "actor-0", learnt)
        if number == 2:
            state = ingest.insert(state, "actor-0", take(learnt, slice(0, 3)))
    return ingest.insert(state, "actor-0", take(whole[0], slice(0, 2))), whole


@pytest.mark.parametrize("reward", [RewardConfig(signal="environment", scale=10.0, bias=-5.0), RewardConfig()])
def test_the_pools_whole_episodes_come_back_oldest_first_with_their_own_rewards(parts, make_rows, reward):
    state, whole = filled(parts, make_rows, reward)
    found = experience(state, reward, "here")
    assert [len(episode) for episode in found] == [30, 7, 12]  # the first one's beginning is overwritten
    assert [episode.number for episode in found] == [0, 1, 2] and {episode.origin for episode in found} == {"here"}
    for episode, rows in zip(found, whole[1:], strict=True):
        for name in ("observation", "action", "reward", "mask", "next_observation", "step"):
            np.testing.assert_allclose(getattr(episode.steps, name), getattr(rows, name), atol=1e-6)
        assert episode.succeeded
        assert (episode.success is None) == (reward.signal == "environment")


def test_an_empty_pool_has_none(parts):
    assert experience(create(parts, 0, None), RewardConfig(), "here") == []
