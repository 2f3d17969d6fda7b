"""The learnt dynamics: a linear-Gaussian system is recovered, elites are the best on held-out rows, and doubt grows off the data."""

import dataclasses
from typing import Any

import gymnasium as gym
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from warmloop.agents.models.ensembles.dynamics import CEILING, FLOOR, Dynamics, ModelSettings, Scales
from warmloop.agents.models.ensembles.ensemble import STRETCH, Ensemble, bootstrap, hashed, is_held_out
from warmloop.agents.models.ensembles.model_quality import auroc
from warmloop.agents.models.ensembles.rollouts import Imagined, Ring, roll
from warmloop.data.errors import WarmloopError
from warmloop.data.transition import Batch, Leaf, Spec, example

KEY = jax.random.key(3)
SPEC = Spec((Leaf("", (2,), "float32"),), 1)
A, B, DEVIATION = np.array([[0.9, 0.2], [-0.1, 0.8]]), np.array([[0.0], [0.5]]), np.array([0.05, 0.1])
SETTINGS = ModelSettings(model_members=3, model_elites=2, model_check=50)


def linear_rows(count, seed=0, shift=7.0):
    """Steps of s' = A s + B a + noise, in units far from 0, with r = s₁ a."""
    rng = np.random.default_rng(seed)
    state, action = rng.normal(size=(count, 2)), rng.uniform(-1, 1, (count, 1))
    after = state @ A.T + action @ B.T + DEVIATION * rng.normal(size=(count, 2))
    return example(SPEC, count).replace(
        observation=np.float32(state + shift),
        next_observation=np.float32(after + shift),
        action=np.float32(action),
        reward=np.float32(state[:, 0] * action[:, 0]),
        episode=np.arange(count, dtype=np.int32) // 100,
        step=np.arange(count, dtype=np.int32) % 100,
    )


def as_batch(rows, offline=True):
    fields = {name: jnp.asarray(getattr(rows, name)) for name in rows.__dataclass_fields__}
    one = jnp.ones(rows.reward.shape)
    return Batch(**fields, weight=one, actor_weight=one, offline=jnp.full(one.shape, offline))


def learnt(ensemble, rows, steps, size=256, seed=0):
    """The ensemble's state after so many steps on rows drawn uniformly."""
    data, count = as_batch(rows), len(rows.reward)

    @jax.jit
    def run(state):
        def step(state, key):
            batch = jax.tree.map(lambda leaf: leaf[jax.random.randint(key, (size,), 0, count)], data)
            return ensemble.step(state, (batch, key))

        return jax.lax.scan(step, state, jax.random.split(jax.random.key(seed), steps))[0]

    return run(ensemble.init(KEY, rows, 20.0))


@pytest.fixture(scope="module")
def linear():
    """An ensemble that has learnt the linear-Gaussian system, and what least squares makes of the rows that it learnt from."""
    settings = dataclasses.replace(SETTINGS, model_lr=2e-3, model_decay=0.0, model_patience=1_000)
    ensemble, rows = Ensemble(Dynamics(settings, SPEC, ())), linear_rows(20_000)
    inputs = np.concatenate([rows.observation, rows.action, np.ones((20_000, 1))], axis=1)
    fitted, *_ = np.linalg.lstsq(inputs, rows.next_observation, rcond=None)
    return ensemble, learnt(ensemble, rows, 3_500, 1_024), fitted, np.std(rows.next_observation - inputs @ fitted, axis=0)


@pytest.mark.slow
def test_a_linear_gaussian_system_is_recovered_within_two_per_cent(linear):
    ensemble, state, fitted, deviation = linear

    def expected(seen, action):
        return ensemble.predict(state, seen[None], action[None]).mean(axis=0)[0]

    here, still = jnp.full(2, 7.0), jnp.zeros(1)
    of_state, of_action = jax.jacobian(expected, (0, 1))(here, still)
    np.testing.assert_allclose(of_state, fitted[:2].T, atol=0.02)
    np.testing.assert_allclose(of_action, fitted[2:3].T, atol=0.02)
    found = ensemble.dynamics.predict(ensemble.elite(state), state.scales, here[None], still[None])
    np.testing.assert_allclose(found.deviation[:, 0, :2].mean(axis=0), deviation, rtol=0.02)


def test_the_log_variance_stays_between_its_floor_and_its_ceiling():
    dynamics = Dynamics(SETTINGS, SPEC, (8,))
    params: Any = dynamics.module(3).init(KEY, jnp.zeros((1, 3)))
    last = {name: value * 1e3 for name, value in params["params"].items() if name.startswith(("kernel", "bias"))}
    scales = Scales.of(example(SPEC), 0.0)
    _, log_variance, _ = dynamics.heads(
        {"params": params["params"] | last}, scales, 100 * jax.random.normal(KEY, (50, 2)), jnp.ones((50, 1))
    )
    assert float(log_variance.min()) < FLOOR + 0.1 and float(log_variance.max()) > CEILING - 0.1, "both ends are reached"
    assert float(log_variance.min()) >= FLOOR and float(log_variance.max()) <= CEILING + 1e-4


def test_elites_are_the_members_of_the_least_held_out_loss(linear):
    _, state, *_ = linear
    np.testing.assert_array_equal(state.elites, np.argsort(state.loss)[:2])
    assert np.unique(state.loss).size == 3, "no two members learnt alike"


def test_a_stretch_is_held_out_as_a_whole_and_each_member_has_its_own_bootstrap():
    episode, step = (each.ravel() for each in jnp.meshgrid(jnp.arange(400), jnp.arange(100), indexing="ij"))
    held = np.asarray(is_held_out(episode, step, 10)).reshape(400, 2, STRETCH)
    assert (held.all(axis=-1) | ~held.any(axis=-1)).all()
    assert 0.07 < held.mean() < 0.13
    few = np.asarray(is_held_out(jnp.arange(20), jnp.zeros(20, int), 10))
    assert 1 <= few.sum() <= 3 and not few[0]
    weight = np.asarray(bootstrap(4, episode, step))
    np.testing.assert_allclose(weight.mean(axis=1), 1, atol=0.03)
    np.testing.assert_allclose(weight.var(axis=1), 1, atol=0.05)
    assert np.abs(np.corrcoef(weight) - np.eye(4)).max() < 0.03
    np.testing.assert_array_equal(weight[:, 5:9], bootstrap(4, episode[5:9], step[5:9]))
    assert np.unique(np.asarray(hashed(episode, step))).size > 39_900


def test_held_out_rows_and_rows_without_weight_teach_nothing():
    ensemble, rows = Ensemble(Dynamics(SETTINGS, SPEC, (8,))), linear_rows(2_000)
    state, batch = ensemble.init(KEY, rows, 20.0), as_batch(rows)
    held = is_held_out(batch.episode, batch.step, SETTINGS.model_held_out)
    assert 0 < float(held.mean()) < 0.5
    gradient = jax.jit(jax.grad(lambda params, batch: ensemble.dynamics.loss(params, state.scales, batch, weights(batch))[0]))

    def weights(batch):
        return jnp.where(held, 0.0, batch.weight)[None] * jnp.ones((3, 1))

    spoiled = batch.replace(reward=jnp.where(held, 1e3, batch.reward))
    jax.tree.map(np.testing.assert_array_equal, gradient(state.params, batch), gradient(state.params, spoiled))
    step = jax.jit(ensemble.step)
    one, other = (step(state, (each, KEY))[0] for each in (batch, spoiled))
    jax.tree.map(np.testing.assert_array_equal, one.params, other.params)
    assert float(other.trained_sum.sum()) > 100 * float(one.trained_sum.sum()), "and yet they are what it is judged by"


def test_offline_learning_ends_at_the_best_weights_and_goes_on_with_online_rows():
    settings = dataclasses.replace(SETTINGS, model_patience=2, model_check=10, model_lr=0.0)
    ensemble, rows = Ensemble(Dynamics(settings, SPEC, (8,))), linear_rows(2_000)
    state, batch = ensemble.init(KEY, rows, 20.0), as_batch(rows)
    step = jax.jit(ensemble.step)
    told = {}
    for _ in range(30):
        state, (told, _) = step(state, (batch, KEY))
    assert not bool(ensemble.learns(state)) and float(told["model/learns"]) == 0
    counted = int(state.optimizer[0].count)
    assert counted == 20, "two looks without an improvement"
    jax.tree.map(np.testing.assert_array_equal, state.params, state.best)
    state, (told, _) = step(state, (batch.replace(offline=batch.offline.at[0].set(False)), KEY))
    assert float(told["model/learns"]) == 1 and int(state.optimizer[0].count) == counted + 1


def pendulum_rows(wanted, count=6_000):
    """Random steps of Pendulum whose states are `wanted`."""
    env, rng, found = gym.make("Pendulum-v1").unwrapped, np.random.default_rng(0), []
    env.reset(seed=0)
    while len(found) < count:
        env.state = np.array([rng.uniform(-np.pi, np.pi), rng.uniform(-8, 8)])
        here, action = env._get_obs(), rng.uniform(-1, 1, 1)
        if wanted(here):
            after, reward, *_ = env.step(2 * action)
            found.append((here, action, reward, after))
    observation, action, reward, after = (np.array(each, np.float32) for each in zip(*found, strict=True))
    number = np.arange(count, dtype=np.int32)
    rows = example(Spec((Leaf("", (3,), "float32"),), 1), count)
    fields = {"observation": observation, "action": action, "reward": reward, "next_observation": after}
    return rows.replace(**fields, episode=number // 200, step=number % 200)


@pytest.mark.slow
def test_members_disagree_on_states_that_were_withheld():
    lower, upper = (pendulum_rows(lambda here, side=side: side * here[0] > 0) for side in (-1, 1))
    settings = dataclasses.replace(SETTINGS, model_members=5, model_elites=5)
    ensemble = Ensemble(Dynamics(settings, Spec((Leaf("", (3,), "float32"),), 1), (64, 64)))
    state = learnt(ensemble, lower, 1_500, 128)
    doubt = [
        np.asarray(
            ensemble.predict(state, rows.observation[:500], rows.action[:500]).std(axis=0) * state.scales.targets.scale[None, :3]
        ).mean(-1)
        for rows in (lower, upper)
    ]
    assert auroc(doubt[1], doubt[0]) > 0.8


def test_predictions_stay_within_the_datas_range_widened_by_itself_and_rewards_of_two_values_are_one_of_them():
    rows = linear_rows(500)
    rows = rows.replace(reward=np.float32(rows.reward > 0.5))
    dynamics = Dynamics(SETTINGS, SPEC, (8,))
    scales = Scales.of(rows, 0.0)
    params = jax.tree.map(lambda leaf: 50 * leaf, dynamics.module(3).init(KEY, jnp.zeros((1, 3))))
    found = dynamics.predict(params, scales, jnp.asarray(rows.observation), jnp.asarray(rows.action))
    both = np.concatenate([rows.observation, rows.next_observation])
    span = np.ptp(both, axis=0)
    state = np.asarray(found.state)
    assert (state >= both.min(0) - span - 1e-4).all() and (state <= both.max(0) + span + 1e-4).all()
    assert set(np.unique(found.reward)) <= {0.0, 1.0} and bool(scales.two_valued)
    assert not bool(Scales.of(linear_rows(500), 0.0).two_valued)


def test_a_rollout_ends_where_the_model_says_so_and_its_rows_follow_each_other(linear):
    ensemble, state, *_ = linear
    elites, start = ensemble.elite(state), jnp.asarray(linear_rows(8).observation)

    def still(observation, key):
        return jnp.zeros((*observation.shape[:-1], 1))

    def rolled(logit):
        last = {"bias_0": elites["params"]["bias_0"].at[:, -2].set(logit)}
        return roll(ensemble.dynamics, ({"params": elites["params"] | last}, state.scales), still, start, KEY, 4)

    rows, there = rolled(-50.0)
    assert there.all() and (rows.mask == 1).all()
    np.testing.assert_array_equal(rows.observation[8:], rows.next_observation[:-8])
    np.testing.assert_array_equal(rows.observation[:8], start)
    rows, there = rolled(50.0)
    np.testing.assert_array_equal(there, np.arange(32) < 8)
    assert (rows.mask[:8] == 0).all()


def test_a_ring_keeps_the_newest_rows_that_are_there():
    ring, kept = Ring.empty(5, 1, 1), []
    insert = jax.jit(Ring.insert)
    rng = np.random.default_rng(0)
    for number in range(9):
        place, there = 10.0 * number + np.arange(4), rng.integers(0, 2, 4).astype(bool)
        values, wide = jnp.asarray(place, jnp.float32), jnp.asarray(place, jnp.float32)[:, None]
        ring = insert(ring, Imagined(wide, wide, values, values, wide, values), jnp.asarray(there))
        kept = [*kept, *place[there]][-5:]
        held = min(int(ring.written), 5)
        assert sorted(np.asarray(ring.rows.reward)[:held]) == sorted(kept)
        if kept:
            assert set(np.unique(ring.draw(KEY, (3, 50)).reward)) == set(kept)


def test_more_elites_than_members_are_refused():
    with pytest.raises(WarmloopError, match=r"at most agent.model_members \(3\)"):
        ModelSettings(model_members=3, model_elites=4)
