"""Mixed batches: the share in every minibatch, its schedule, and priorities going home."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from warmloop.data.errors import WarmloopError
from warmloop.data.mixing import WEIGHT_LIMIT, Annealed, BlockShape, MixingConfig, draw_mixed, offline_rows, unit_weights, write_priorities
from warmloop.data.replay import ReplayConfig, replay
from warmloop.data.transition import Leaf, Source, Spec, example

SPEC = Spec((Leaf("", (2,), "float32"),), 1)
CONFIG = ReplayConfig(capacity=200)
K, B = 5, 16
mixed = jax.jit(lambda off, on, key, ratio: draw_mixed(off, on, key, BlockShape(K, B), Annealed(ratio, 0.5), CONFIG))


def pool(count, source, quality=1.0):
    state = replay.create(SPEC, CONFIG)
    rows = example(SPEC, 200).replace(
        source=np.full(200, source, np.int32), step=np.arange(200, dtype=np.int32), quality=np.full(200, quality, np.float32)
    )
    return replay.insert(state, rows, count, CONFIG)


@pytest.fixture(scope="module")
def pools():
    return pool(150, Source.DEMOS), pool(120, Source.ONLINE)


@pytest.mark.parametrize("ratio", [0.0, 0.1, 0.5, 0.7, 1.0])
def test_every_minibatch_holds_the_same_offline_share(pools, ratio):
    batch, drawn = mixed(*pools, jax.random.key(0), ratio)
    from_offline = np.asarray(batch.source) == Source.DEMOS
    np.testing.assert_array_equal(from_offline.sum(axis=1), round(ratio * B))
    np.testing.assert_array_equal(from_offline, np.asarray(batch.offline))
    np.testing.assert_array_equal(np.asarray(drawn.offline), np.arange(B) < round(ratio * B))


def test_one_program_serves_every_ratio(pools):
    mixed(*pools, jax.random.key(0), 0.3)
    before = mixed._cache_size()
    mixed(*pools, jax.random.key(0), 0.8)
    assert mixed._cache_size() == before


def test_an_empty_online_pool_gives_offline_batches_and_an_empty_offline_pool_online_ones(pools):
    offline, online = pools
    batch, _ = mixed(offline, pool(0, Source.ONLINE), jax.random.key(0), 0.5)
    assert np.all(np.asarray(batch.source) == Source.DEMOS) and np.all(batch.offline)
    batch, _ = mixed(pool(0, Source.DEMOS), online, jax.random.key(0), 0.5)
    assert np.all(np.asarray(batch.source) == Source.ONLINE) and not np.any(batch.offline)
    assert int(offline_rows(np.float32(0.5), 256, np.int32(1), np.int32(0))) == 256


def test_a_block_covers_its_share_of_each_pool_evenly(pools):
    counts = np.zeros(150)
    for seed in range(60):
        batch, _ = mixed(*pools, jax.random.key(seed), 0.5)
        counts += np.bincount(np.asarray(batch.step)[np.asarray(batch.offline)], minlength=150)
    assert counts.sum() == 60 * K * B // 2
    assert counts.min() > 0 and counts.max() < 3 * counts.mean()


def with_priorities(state, td_error):
    """A pool whose first rows have these |TD errors|."""
    td_error = np.asarray(td_error, np.float32)
    return jax.jit(replay.update_priorities, static_argnums=3)(state, np.arange(len(td_error)), td_error, CONFIG)


@pytest.mark.parametrize("ratio", [0.25, 0.5, 0.75])
@pytest.mark.parametrize("beta", [0.4, 1.0])
def test_the_share_of_rows_is_the_share_of_the_gradient_however_priorities_differ(pools, ratio, beta):
    """One pool has a few rows without error beside large ones, the other errors that are all alike: by the maximum, 14 to 86."""
    offline = with_priorities(pools[0], np.where(np.arange(150) % 30 == 0, 0.01, 5.0))
    online = with_priorities(pools[1], np.full(120, 1e3))
    theta = np.zeros(())
    for key in jax.random.split(jax.random.key(0), 3):
        batch, _ = draw_mixed(offline, online, key, BlockShape(K, B), Annealed(ratio, beta), CONFIG)
        each = jax.vmap(jax.vmap(jax.grad(lambda theta, weight: weight * 0.5 * (theta - 1.0) ** 2), (None, 0)), (None, 0))
        gradient = np.asarray(each(theta, batch.weight))
        share = np.where(batch.offline, gradient, 0).sum(axis=1) / gradient.sum(axis=1)
        np.testing.assert_allclose(share, ratio, rtol=1e-5)


def test_weights_have_mean_one_within_pool_and_minibatch_and_follow_the_priorities(pools):
    offline = with_priorities(pools[0], np.linspace(0.1, 5, 150))
    batch, _ = mixed(offline, pools[1], jax.random.key(0), 0.5)
    weight, half = np.asarray(batch.weight), B // 2
    np.testing.assert_allclose(weight[:, :half].mean(1), 1.0, rtol=1e-6)
    np.testing.assert_allclose(weight[:, half:], 1.0, rtol=1e-6)
    urgency = np.asarray(offline.urgency)[np.asarray(batch.step)[:, :half]]
    np.testing.assert_allclose(weight[:, :half], urgency**-0.5 / (urgency**-0.5).mean(1, keepdims=True), rtol=1e-4)


@settings(deadline=None)
@given(
    weights=arrays(np.float32, (2, 24), elements=st.just(0.0) | st.floats(2**-20, 2**20, width=32)),
    offline=st.integers(0, 24),
)
def test_weights_are_bounded_keep_their_order_and_reach_the_mean_where_the_bound_allows(weights, offline):
    is_offline = np.arange(24) < offline
    found = np.asarray(unit_weights(jnp.asarray(weights), jnp.asarray(is_offline)))
    assert np.all(found >= 0) and np.all(found <= WEIGHT_LIMIT * (1 + 1e-5)) and np.all(found[weights == 0] == 0)
    for rows, given_weights in ((found[:, is_offline], weights[:, is_offline]), (found[:, ~is_offline], weights[:, ~is_offline])):
        for row, before in zip(rows, given_weights, strict=True):
            if before.any():
                np.testing.assert_allclose(row.mean(), min(1.0, WEIGHT_LIMIT * np.mean(before > 0)), rtol=1e-4)
                assert np.all(np.diff(row[np.argsort(before)]) >= -1e-4)


def test_priorities_reach_the_rows_they_were_drawn_from(pools):
    offline, online = pools
    batch, drawn = mixed(offline, online, jax.random.key(3), 0.5)
    error = np.asarray(batch.step, np.float32) + 1.0
    new_offline, new_online = write_priorities(offline, online, drawn, error, CONFIG)
    for state, old, chosen in ((new_offline, offline, batch.offline), (new_online, online, ~batch.offline)):
        touched = np.unique(np.asarray(batch.step)[np.asarray(chosen)])
        expected = np.asarray(old.urgency).copy()
        expected[touched] = (touched + 1.0 + CONFIG.epsilon) ** CONFIG.alpha
        np.testing.assert_allclose(state.urgency, expected, rtol=1e-5)


def test_quality_in_the_loss_compares_the_rows_of_one_pool_and_leaves_the_pools_their_shares():
    config = ReplayConfig(capacity=200, quality_in="loss")
    quality = np.where(np.arange(200) % 2, 3.0, 1.0)
    pools = pool(100, Source.DEMOS, quality), pool(100, Source.ONLINE)
    batch, _ = draw_mixed(*pools, jax.random.key(0), BlockShape(K, B), Annealed(0.5, 0.5), config)
    offline, half = np.asarray(batch.actor_weight)[:, : B // 2], np.asarray(batch.quality)[:, : B // 2]
    np.testing.assert_allclose(offline, half / half.mean(1, keepdims=True), rtol=1e-5)
    np.testing.assert_allclose(batch.actor_weight[:, B // 2 :], 1.0, rtol=1e-6)
    np.testing.assert_allclose(batch.weight, batch.actor_weight, rtol=1e-5)


def test_the_ratio_decays_from_its_start_to_its_floor():
    config = MixingConfig(initial_ratio=1.0, decay=0.999, min_ratio=0.5)
    for t in (0, 1, 100, 693, 10_000):
        assert float(config.ratio(t)) == pytest.approx(max(0.5, 0.999**t), rel=1e-4)


def test_a_ratio_out_of_range_is_refused_by_name():
    with pytest.raises(WarmloopError, match="min_ratio"):
        MixingConfig(min_ratio=1.5)
