"""Rows into the pool: order, episode returns, and episodes of several streams side by side."""

import numpy as np

from warmloop.data.reward import RewardConfig
from warmloop.data.transition import take
from warmloop.learner.rows.ingest import Ingest, RowRules
from warmloop.learner.state import create

REWARD = RewardConfig(discount=0.9)


def begun(parts, reward=REWARD):
    """An empty learner's state, and what fills its pools."""
    state = create(parts, 0, None)
    return state, Ingest(parts, RowRules(reward), state)


def returns(state):
    return np.asarray(state.online.rows.mc_return)[: int(state.online.size)]


def test_a_finished_episode_gets_its_returns_and_an_open_one_does_not(parts, make_rows):
    state, ingest = begun(parts)
    rows = make_rows(5).replace(mc_return=np.full(5, -np.inf, np.float32))
    state = ingest.insert(state, "a", take(rows, slice(0, 3)))
    assert np.isinf(returns(state)).all()
    state = ingest.insert(state, "a", take(rows, slice(3, 5)))
    np.testing.assert_allclose(returns(state), 0.9 ** np.arange(4, -1, -1), rtol=1e-6)


def test_streams_keep_their_episodes_apart(parts, make_rows):
    state, ingest = begun(parts)
    rows = make_rows(4).replace(mc_return=np.full(4, -np.inf, np.float32))
    state = ingest.insert(state, "a", take(rows, slice(0, 2)))
    state = ingest.insert(state, "b", rows)
    state = ingest.insert(state, "a", take(rows, slice(2, 4)))
    expected = 0.9 ** np.arange(3, -1, -1)
    np.testing.assert_allclose(returns(state), np.concatenate([expected[:2], expected, expected[2:]]), rtol=1e-6)


def test_an_episode_cut_by_a_time_limit_that_failed_returns_what_failing_for_ever_returns(parts, make_rows):
    state, ingest = begun(parts, RewardConfig(discount=0.9, bias=-1.0))
    rows = make_rows(3).replace(
        reward=np.full(3, -1, np.float32),
        mask=np.ones(3, np.float32),
        truncated=np.array([False, False, True]),
        mc_return=np.full(3, -np.inf, np.float32),
    )
    np.testing.assert_allclose(returns(ingest.insert(state, "a", rows)), -10.0, rtol=1e-6)


def test_rows_keep_their_order_through_padded_inserts_and_a_wrap(parts, make_rows):
    state, ingest = begun(parts)
    rows = make_rows(90)
    for part in (slice(0, 1), slice(1, 30), slice(30, 38), slice(38, 90)):
        state = ingest.insert(state, "a", take(rows, part))
    assert ingest.inserted == 90 == int(state.online.inserted)
    assert sorted(np.asarray(state.online.rows.step).tolist()) == list(range(26, 90))
    np.testing.assert_array_equal(np.asarray(state.online.rows.observation)[np.arange(26, 90) % 64], rows.observation[26:90])


def test_an_episode_that_was_broken_off_gives_the_next_one_no_rewards(parts, make_rows):
    state, ingest = begun(parts)
    rows = make_rows(4).replace(mc_return=np.full(4, -np.inf, np.float32))
    state = ingest.insert(state, "a", take(rows, slice(0, 2)))
    state = ingest.insert(state, "a", rows)
    assert np.isinf(returns(state)[:2]).all()
    np.testing.assert_allclose(returns(state)[2:], 0.9 ** np.arange(3, -1, -1), rtol=1e-6)


def test_an_episode_that_never_ends_takes_no_more_room_than_the_pool_and_its_newest_rows_get_their_returns(parts, make_rows):
    state, ingest = begun(parts)
    for start in range(0, 640, 64):
        rows = make_rows(64).replace(mask=np.ones(64, np.float32), step=np.arange(start, start + 64, dtype=np.int32))
        state = ingest.insert(state, "a", rows.replace(reward=np.ones(64, np.float32)))
    assert len(ingest._open["a"].serials) == len(ingest._open["a"].rewards) == state.online.capacity == 64
    end = make_rows(1).replace(step=np.array([640], np.int32), reward=np.ones(1, np.float32))
    state = ingest.insert(state, "a", end)
    found = np.asarray(state.online.rows.mc_return)
    np.testing.assert_allclose(found[0], 1.0)  # the ring's newest row, which is the episode's last
    np.testing.assert_allclose(found[1], (1 - 0.9**64) / 0.1, rtol=1e-5)
    assert ingest.longest == 64 and not ingest._open
