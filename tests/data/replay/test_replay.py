"""Prioritized replay: what is stored, what is drawn how often, and with which weight."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from warmloop.data.errors import WarmloopError
from warmloop.data.replay import ReplayConfig, replay
from warmloop.data.transition import Leaf, Spec, example

SPEC = Spec((Leaf("", (2,), "float32"),), 1)
CONFIG = ReplayConfig(capacity=100, alpha=0.6, beta=0.4)
draw = jax.jit(replay.draw, static_argnums=(2, 3))
update_priorities = jax.jit(replay.update_priorities, static_argnums=3)


def rows(first, count, quality=None):
    """Rows whose observation and step say which they are: `[i, -i]`, next `[i + 1, -i - 1]`."""
    number = np.arange(first, first + count, dtype=np.float32)
    return example(SPEC, count).replace(
        observation=np.stack([number, -number], 1),
        next_observation=np.stack([number + 1, -number - 1], 1),
        step=number.astype(np.int32),
        quality=np.ones(count, np.float32) if quality is None else quality.astype(np.float32),
    )


def pool(count, config=CONFIG, quality=None):
    state = replay.create(SPEC, config)
    return replay.insert(state, rows(0, count, quality), count, config)


def test_drawn_rows_are_whole_rows_with_their_own_next_observation_after_the_ring_wrapped():
    state = replay.create(SPEC, CONFIG)
    for first in range(0, 260, 20):
        state = replay.insert(state, rows(first, 20), 20, CONFIG)
    drawn, serials, _ = draw(state, jax.random.key(0), 500, CONFIG, 0.4)
    np.testing.assert_array_equal(drawn.step, serials)
    assert set(np.asarray(serials)) == set(range(160, 260))
    np.testing.assert_array_equal(drawn.observation[:, 0], drawn.step)
    np.testing.assert_array_equal(drawn.next_observation - drawn.observation, np.tile([1, -1], (500, 1)))


def test_padding_of_an_insert_is_never_stored_or_drawn():
    state = replay.insert(replay.create(SPEC, CONFIG), rows(0, 64), 10, CONFIG)
    assert int(state.size) == 10
    drawn, _, _ = draw(state, jax.random.key(0), 300, CONFIG, 0.4)
    assert int(drawn.step.max()) == 9
    state = replay.insert(state, rows(10, 64), 3, CONFIG)
    drawn, _, _ = draw(state, jax.random.key(1), 300, CONFIG, 0.4)
    assert set(np.asarray(drawn.step)) == set(range(13))


def test_draws_follow_the_priorities_newest_and_last_row_included():
    rng = np.random.default_rng(0)
    quality = rng.choice([0.5, 1.0, 3.0], 100)
    state = pool(100, quality=quality)
    error = rng.uniform(0, 4, 100).astype(np.float32)
    state = update_priorities(state, np.arange(100), error, CONFIG)
    state = replay.insert(state, rows(100, 7), 7, CONFIG)  # serials 100..106 in slots 0..6, at the largest priority
    p = np.concatenate([quality[7:] * (error[7:] + 1e-6) ** 0.6, np.full(7, float(state.max_urgency))])
    counts = np.zeros(100)
    for seed in range(40):
        # one stratum per call, so that draws are independent and the chi-square test applies
        _, serials, _ = draw(state, jax.random.key(seed), 1000, CONFIG, 0.4, 1)
        counts += np.bincount(np.asarray(serials) - 7, minlength=100)
    assert counts[-7:].min() > 0 and counts[0] > 0
    assert scipy.stats.chisquare(counts, p / p.sum() * counts.sum()).pvalue > 1e-3


def test_stratified_draws_are_within_one_of_their_expectation():
    state = pool(100)
    error = np.linspace(0.1, 4, 100).astype(np.float32)
    state = update_priorities(state, np.arange(100), error, CONFIG)
    _, serials, _ = draw(state, jax.random.key(0), 2000, CONFIG, 0.4)
    p = (error + 1e-6) ** 0.6
    np.testing.assert_array_less(np.abs(np.bincount(serials, minlength=100) - 2000 * p / p.sum()), 2.01)


def test_importance_weights_are_the_stated_formula():
    rng = np.random.default_rng(1)
    quality, error = rng.choice([0.5, 2.0], 100), rng.uniform(0, 4, 100).astype(np.float32)
    state = update_priorities(pool(100, quality=quality), np.arange(100), error, CONFIG)
    _, serials, weights = draw(state, jax.random.key(0), 500, CONFIG, 0.7)
    urgency = (error + 1e-6) ** 0.6
    expected = ((quality * urgency).sum() / quality.sum() / urgency[np.asarray(serials)]) ** 0.7
    np.testing.assert_allclose(weights, expected, rtol=1e-4)


def test_with_full_correction_a_weighted_mean_is_the_quality_weighted_mean():
    rng = np.random.default_rng(2)
    quality, error = rng.choice([0.5, 2.0], 100), rng.uniform(0.1, 4, 100).astype(np.float32)
    state = update_priorities(pool(100, quality=quality), np.arange(100), error, CONFIG)
    drawn, _, weights = draw(state, jax.random.key(0), 20_000, CONFIG, 1.0)
    weighted = float(jnp.mean(weights * drawn.observation[:, 0]))
    assert weighted == pytest.approx((quality * np.arange(100)).sum() / quality.sum(), rel=0.02)


def test_quality_in_the_loss_leaves_the_draws_alone():
    config = ReplayConfig(capacity=100, quality_in="loss")
    state = pool(100, config, quality=np.where(np.arange(100) < 50, 0.1, 10.0))
    drawn, _, _ = draw(state, jax.random.key(0), 1000, config, 0.4)
    assert abs(int((drawn.step < 50).sum()) - 500) <= 1


def test_a_priority_for_a_row_that_was_overwritten_is_dropped():
    state = replay.insert(pool(100), rows(100, 50), 50, CONFIG)
    before = np.asarray(state.urgency)
    state = update_priorities(state, np.arange(0, 50), np.full(50, 9.0, np.float32), CONFIG)
    np.testing.assert_array_equal(state.urgency, before)
    state = update_priorities(state, np.arange(60, 110), np.full(50, 9.0, np.float32), CONFIG)
    assert int((np.asarray(state.urgency) != before).sum()) == 50


def test_new_rows_enter_at_the_largest_priority_seen():
    state = update_priorities(pool(20), np.arange(20), np.full(20, 50.0, np.float32), CONFIG)
    state = update_priorities(state, np.arange(20), np.full(20, 0.1, np.float32), CONFIG)
    state = replay.insert(state, rows(20, 1), 1, CONFIG)
    np.testing.assert_allclose(state.urgency[20], (50 + 1e-6) ** 0.6, rtol=1e-5)


def test_returns_are_written_to_living_rows_only():
    state = replay.insert(pool(100), rows(100, 50), 50, CONFIG)
    state = replay.set_returns(state, np.array([10, 60, 120, -1], np.int32), np.array([1, 2, 3, 4], np.float32))
    returns = np.asarray(state.rows.mc_return)
    assert returns[60] == 2 and returns[20] == 3 and np.isinf(np.delete(returns, [60, 20])).all()


def test_beta_grows_to_one():
    values = [float(replay.beta_at(CONFIG, n)) for n in (0, 50_000, 100_000, 200_000)]
    assert values == pytest.approx([0.4, 0.7, 1.0, 1.0])


def test_a_wrong_setting_is_refused_by_name():
    with pytest.raises(WarmloopError, match="quality_in"):
        ReplayConfig(quality_in="both")
