"""Normalisation: the statistics, what they leave alone, the noise in the losses, and the options against over-fitting."""

import contextlib
import dataclasses

import gymnasium as gym
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warmloop.agents import SAC, SACConfig
from warmloop.agents.base import go_on
from warmloop.agents.networks.networks import Critic, DeterministicPolicy, Policy, apply
from warmloop.agents.networks.normaliser import BOUND, Normaliser, as_learnt, return_scale, reward_scale
from warmloop.agents.shared.gradients import adam
from warmloop.data.transition import Leaf, Spec, example, without

MIXED = Spec((Leaf("pixels", (4, 4, 3), "uint8"), Leaf("pose", (3,), "float32"), Leaf("velocity", (1,), "float32")), 2)
MIXED_NUMBERS = dataclasses.replace(MIXED, observation=MIXED.observation[1:])


@pytest.fixture(scope="module")
def rows():
    """100 rows with a dict of observations: bytes, a pose whose last number hardly varies, and a velocity."""
    rng = np.random.default_rng(0)
    pose = rng.normal((5, -2, 40), (3, 0.1, 1e-5), (100, 3)).astype(np.float32)
    observation = {"velocity": rng.normal(0, 20, (100, 1)).astype(np.float32), "pose": pose}
    observation["pixels"] = rng.integers(0, 255, (100, 4, 4, 3)).astype(np.uint8)
    return example(MIXED, 100).replace(
        observation=observation, next_observation=observation, reward=rng.normal(3, 5, 100).astype(np.float32)
    )


def of(columns, **settings):
    """The normaliser of rows with these columns `[N]`."""
    columns = np.stack(columns, axis=1).astype(np.float32)
    spec = Spec((Leaf("", columns.shape[1:], "float32"),), 1)
    return Normaliser.of(example(spec, len(columns)).replace(observation=columns), True, **settings)


def test_observations_are_centred_and_divided_by_their_deviation(rows):
    got = np.asarray(Normaliser.of(rows, True)(rows.observation))
    for start, leaf in ((0, rows.observation["pose"][:, :2]), (3, rows.observation["velocity"])):
        wanted = (leaf - leaf.mean(0)) / leaf.std(0)
        np.testing.assert_allclose(got[:, start : start + leaf.shape[1]], wanted, rtol=1e-3, atol=1e-3)


def test_images_are_left_out(rows):
    assert Normaliser.of(rows, True)(rows.observation).shape == (100, 4)


def test_without_statistics_observations_are_as_they_came_whatever_their_size(rows):
    far = jax.tree.map(lambda leaf: leaf * 1e3 if leaf.dtype == np.float32 else leaf, rows.observation)
    for normaliser in (Normaliser.of(rows, False), Normaliser.of(example(MIXED), True)):
        np.testing.assert_array_equal(normaliser(far)[:, :3], far["pose"])
        np.testing.assert_array_equal(normaliser(far)[:, 3:], far["velocity"])
        assert float(normaliser.clipped_share(far)) == 0.0


@pytest.mark.parametrize("name", ["HalfCheetah-v5", "Humanoid-v5", "Ant-v5", "Reacher-v5"])
def test_random_observations_of_mujoco_reach_untrained_networks_whole(name):
    with contextlib.closing(gym.make(name)) as environment:
        environment.reset(seed=0)
        environment.action_space.seed(0)
        seen = []
        for _ in range(60):
            observation, *_, terminated, truncated, _ = environment.step(environment.action_space.sample())
            seen.append(observation)
            if terminated or truncated:
                environment.reset()
    seen = np.asarray(seen, np.float32)
    agent = SAC(SACConfig(hidden=(8,)), Spec((Leaf("", seen.shape[1:], "float32"),), 2))
    normaliser = agent.init(jax.random.key(0), example(agent.spec)).normaliser
    assert np.abs(seen).max() > 10
    np.testing.assert_array_equal(normaliser(seen), seen)


def test_positions_that_the_demonstrations_hardly_vary_in_stay_apart_for_the_networks():
    normaliser = of([np.random.default_rng(0).normal(0.6, 0.002, 1000)])
    seen = np.asarray(normaliser(np.array([[0.6], [0.602], [0.62], [0.65], [0.70], [0.80]], np.float32)))[:, 0]
    np.testing.assert_allclose(seen[:3], [0, 1, 10], atol=0.6)
    assert np.diff(seen).min() > 0.5 and seen.max() < BOUND


@settings(deadline=None)
@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.sampled_from([2.0, 20.0]))
def test_the_bound_holds_keeps_the_order_and_changes_nothing_within_half_of_it(first, second, bound):
    normaliser = Normaliser(jnp.full(1, 3.0), jnp.full(1, 0.5), bound)
    low, high = sorted((np.float32(first), np.float32(second)))
    seen = [float(normaliser(jnp.full(1, x))[0]) for x in (low, high)]
    assert -bound <= seen[0] <= seen[1] <= bound
    for x, z in zip((low, high), seen, strict=True):
        scaled = (x - np.float32(3)) * np.float32(0.5)
        assert abs(scaled) > bound / 2 or z == scaled


def test_without_a_bound_statistics_alone_count_and_the_share_beyond_it_is_told():
    values = np.random.default_rng(0).normal(5, 2, 1000)
    far = np.array([[5.0], [23.0], [5000.0], [6.0]], np.float32)
    bounded, free = of([values]), of([values], bound=0.0)
    np.testing.assert_allclose(free(far), (far - values.mean()) / values.std(), rtol=1e-3)
    np.testing.assert_allclose(bounded.clipped_share(far), 0.25)  # 9 deviations are not yet changed
    assert float(free.clipped_share(far)) == 0.0


def test_small_units_and_large_offsets_are_scaled_as_others_are():
    rng = np.random.default_rng(0)
    columns = [rng.normal(1e4, 0.02, 5000), rng.normal(4.5e5, 10, 5000), rng.normal(0, 1e-5, 5000), rng.normal(0, 3, 5000)]
    seen = np.asarray(of(columns)(np.stack(columns, axis=1).astype(np.float32)))
    np.testing.assert_allclose(seen.std(axis=0), 1.0, rtol=0.02)
    np.testing.assert_allclose(seen.mean(axis=0), 0.0, atol=0.1)


def test_a_drift_below_the_floor_is_not_as_large_as_what_matters_and_nothing_else_changes():
    rng = np.random.default_rng(0)
    columns = [rng.normal(0, 1e-5, 500), rng.normal(0, 0.1, 500), rng.normal(0.5, 0.3, 500), np.full(500, 2.0)]
    rows = np.stack(columns, axis=1).astype(np.float32)
    held, own = (np.asarray(of(columns, floor=floor)(rows)) for floor in (1e-3, 0.0))
    np.testing.assert_allclose(held[:, 0].std(), 0.1, rtol=0.1)  # 1e-5 beside a thousandth of the median, 0.1
    np.testing.assert_allclose(own[:, 0].std(), 1.0, rtol=0.02)
    np.testing.assert_array_equal(held[:, 1:], own[:, 1:])


@pytest.mark.parametrize(
    ("constant", "moved"),
    [
        (np.full(100, 0.08), 0.0),  # a gripper that never closed
        (np.float32(0.1) * (1 + 1e-7 * (np.arange(100) % 3)), 0.2),  # up to rounding
        (np.zeros(100), 0.1),
        (1e-9 * np.arange(100), 0.1),  # at rest in a simulator
        (np.full(100, 400.0), 500.0),
    ],
)
def test_what_is_constant_offline_is_centred_and_not_blown_up_by_what_it_does_online(constant, moved):
    normaliser = of([constant, np.random.default_rng(0).normal(0, 1, 100)])
    still, far = np.asarray(normaliser(np.array([[constant[0], 0], [moved, 0]], np.float32)))[:, 0]
    assert abs(still) < 1e-3 and 1e-3 < abs(far) <= 2


def test_numbers_too_small_for_float32_to_invert_stay_finite():
    columns = [np.array([1e-40, 2e-40, 0, 0]), np.zeros(4)]
    normaliser = of(columns)
    assert np.isfinite(normaliser.scale).all() and np.isfinite(normaliser(np.stack(columns, axis=1).astype(np.float32))).all()
    rewards = example(MIXED, 4).replace(reward=columns[0].astype(np.float32))
    assert np.isfinite(reward_scale(rewards, True)) and np.isfinite(return_scale(rewards, 1000.0))


def test_another_bound_in_the_configuration_that_goes_on_holds_from_there_on(rows):
    warm, fine = (SAC(SACConfig(hidden=(8,), observation_bound=bound), MIXED_NUMBERS) for bound in (20.0, 0.0))
    numbers = rows.replace(observation=without(rows.observation, ("pixels",)))
    state = warm.init(jax.random.key(0), numbers)
    taken = go_on(fine, warm, state)
    assert (state.normaliser.bound, taken.normaliser.bound) == (20.0, 0.0)
    np.testing.assert_array_equal(state.normaliser.scale, taken.normaliser.scale)


def test_rewards_are_divided_by_their_deviation_and_not_shifted(rows):
    np.testing.assert_allclose(reward_scale(rows, True), 1 / rows.reward.std(), rtol=1e-5)
    assert float(reward_scale(rows, False)) == float(reward_scale(example(MIXED, 5), True)) == 1.0
    small = rows.replace(reward=rows.reward * 1e-6)
    np.testing.assert_allclose(reward_scale(small, True) * small.reward.std(), 1.0, rtol=1e-5)
    constant = rows.replace(reward=np.full(100, -0.1, np.float32) * (1 + 1e-7 * (np.arange(100) % 3)).astype(np.float32))
    assert float(reward_scale(constant, True)) == 1.0


def learnt(rows, noise):
    return as_learnt(rows, Normaliser.of(rows, True), jnp.float32(0.5), noise, jax.random.key(0))


def test_losses_see_flat_normalised_observations_and_scaled_rewards(rows):
    got = learnt(rows, 0.0)
    normaliser = Normaliser.of(rows, True)
    np.testing.assert_array_equal(got.observation, normaliser(rows.observation))
    np.testing.assert_array_equal(got.next_observation, normaliser(rows.next_observation))
    np.testing.assert_allclose(got.reward, 0.5 * rows.reward)
    np.testing.assert_array_equal(got.mc_return, rows.mc_return)


def test_noise_of_its_deviation_is_added_to_both_observations_apart(rows):
    clean, noisy = learnt(rows, 0.0), learnt(rows, 0.3)
    here, after = (np.asarray(getattr(noisy, name) - getattr(clean, name)) for name in ("observation", "next_observation"))
    for noise in (here, after):
        np.testing.assert_allclose(noise.std(), 0.3, rtol=0.1)
    assert abs(np.corrcoef(here.ravel(), after.ravel())[0, 1]) < 0.2


@pytest.mark.parametrize(
    "module", [Policy(2, (32,), dropout=0.5), DeterministicPolicy(2, (32,), dropout=0.5), Critic(2, (32,), dropout=0.5)]
)
def test_units_are_dropped_only_where_a_key_says_so(module):
    inputs = (jnp.ones((4, 3)), jnp.ones((4, 2))) if isinstance(module, Critic) else (jnp.ones((4, 3)),)
    params = module.init(jax.random.key(0), *inputs)

    def output(key=None):
        return np.asarray(jax.tree.leaves(apply(module, params, *inputs, dropout=key))[0])

    np.testing.assert_array_equal(output(), output())
    assert not np.array_equal(output(jax.random.key(1)), output(jax.random.key(2)))
    assert not np.array_equal(output(jax.random.key(1)), output())


def test_weight_decay_shrinks_kernels_and_nothing_else():
    params = {
        "params": {"hidden_0": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}, "kernel_1": jnp.ones(3), "norm_scale_0": jnp.ones(3)}
    }
    decayed = adam(0.1, 0.5)
    change, _ = decayed.update(jax.tree.map(jnp.zeros_like, params), decayed.init(params), params)
    changed = change["params"]
    np.testing.assert_allclose(changed["hidden_0"]["kernel"], -0.05)
    np.testing.assert_allclose(changed["kernel_1"], -0.05)
    assert not np.any(changed["hidden_0"]["bias"]) and not np.any(changed["norm_scale_0"])


def test_returns_are_scaled_to_a_span_by_whole_episodes_wherever_their_numbers_repeat():
    spec = Spec((Leaf("", (1,), "float32"),), 1)
    rows = example(spec, 7).replace(
        reward=np.array([1, 1, 1, 5, 5, -2, -2], np.float32),
        episode=np.array([0, 0, 0, 1, 1, 1, 1], np.int32),  # the last two are another file's episode 1
        step=np.array([0, 1, 2, 0, 1, 0, 1], np.int32),
    )
    assert float(jax.jit(return_scale, static_argnums=1)(rows, 1000.0)) == pytest.approx(1000 / (10 + 4))
    alike = rows.replace(reward=np.zeros(7, np.float32))
    assert float(return_scale(alike, 1000.0)) == 1.0
