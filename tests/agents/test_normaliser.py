"""Normalisation: the statistics, what they leave alone, the noise in the losses, and the options against over-fitting."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from warmloop.agents.networks import Critic, DeterministicPolicy, Policy, apply
from warmloop.agents.normaliser import Normaliser, as_learnt, reward_scale
from warmloop.agents.offline import optimizer
from warmloop.data.transition import Leaf, Spec, example

MIXED = Spec((Leaf("pixels", (4, 4, 3), "uint8"), Leaf("pose", (3,), "float32"), Leaf("velocity", (1,), "float32")), 2)


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


def test_observations_are_centred_and_divided_by_their_deviation_plus_a_thousandth(rows):
    got = np.asarray(Normaliser.of(rows, True)(rows.observation))
    for start, leaf in ((0, rows.observation["pose"][:, :2]), (3, rows.observation["velocity"])):
        wanted = (leaf - leaf.mean(0)) / (leaf.std(0) + 1e-3)
        np.testing.assert_allclose(got[:, start : start + leaf.shape[1]], wanted, rtol=1e-3, atol=1e-3)


def test_what_hardly_varies_is_centred_and_not_blown_up(rows):
    normaliser = Normaliser.of(rows, True)
    moved = {name: leaf[0] for name, leaf in rows.observation.items()} | {"pose": jnp.array([5.0, -2.0, 40.5])}
    np.testing.assert_allclose(normaliser(moved)[2], 0.5, atol=1e-3)


def test_images_are_left_out_and_numbers_stay_within_bounds(rows):
    got = Normaliser.of(rows, True)(rows.observation)
    assert got.shape == (100, 4) and 5 < float(jnp.abs(Normaliser.of(rows, False)(rows.observation)).max()) <= 10


def test_without_statistics_observations_are_as_they_came(rows):
    for normaliser in (Normaliser.of(rows, False), Normaliser.of(example(MIXED), True)):
        np.testing.assert_allclose(normaliser(rows.observation)[:, :2], rows.observation["pose"][:, :2].clip(-10, 10), rtol=1e-6)


def test_rewards_are_divided_by_their_deviation_and_not_shifted(rows):
    np.testing.assert_allclose(reward_scale(rows, True), 1 / rows.reward.std(), rtol=1e-5)
    assert float(reward_scale(rows, False)) == float(reward_scale(example(MIXED, 5), True)) == 1.0


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
    decayed = optimizer(0.1, 0.5)
    change, _ = decayed.update(jax.tree.map(jnp.zeros_like, params), decayed.init(params), params)
    changed = change["params"]
    np.testing.assert_allclose(changed["hidden_0"]["kernel"], -0.05)
    np.testing.assert_allclose(changed["kernel_1"], -0.05)
    assert not np.any(changed["hidden_0"]["bias"]) and not np.any(changed["norm_scale_0"])
