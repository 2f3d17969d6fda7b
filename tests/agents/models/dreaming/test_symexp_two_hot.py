"""Symexp two-hot coding: exact at zero, its own inverse, and of two neighbouring bins."""

import jax.numpy as jnp
import numpy as np
import pytest

from warmloop.agents.models.dreaming.symexp_two_hot import BINS, bins_of, mean_of, two_hot, two_hot_loss
from warmloop.agents.models.symlog import symexp, symlog


def test_even_logits_mean_exactly_nothing():
    assert (np.asarray(mean_of(jnp.zeros((4, BINS)))) == 0).all()
    assert (np.asarray(mean_of(jnp.full((4, BINS), 1.7))) == 0).all()


def test_bins_are_odd_in_number_symmetric_to_the_bit_and_evenly_spaced_in_symlog():
    bins = bins_of()
    assert len(bins) == BINS and (bins == -bins[::-1]).all() and bins[BINS // 2] == 0
    np.testing.assert_allclose(np.diff(np.asarray(symlog(bins))), 40 / (BINS - 1), rtol=1e-3)


def test_numbers_of_all_sizes_come_back():
    size = np.exp(np.linspace(-8, 10, 100)).astype(np.float32)
    values = np.concatenate([-size, [0.0], size]).astype(np.float32)
    np.testing.assert_allclose(symexp(symlog(values)), values, rtol=1e-5)
    weights = np.asarray(two_hot(values, bins_of()), np.float64)
    np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-6)
    np.testing.assert_allclose(weights @ bins_of().astype(np.float64), values, rtol=1e-4, atol=1e-6)
    places = [np.flatnonzero(row) for row in weights]
    assert all(len(place) <= 2 and np.ptp(place) <= 1 for place in places)
    np.testing.assert_allclose(mean_of(jnp.log(jnp.asarray(weights, jnp.float32) + 1e-30)), values, rtol=1e-4, atol=1e-6)


def test_what_lies_beyond_the_bins_is_the_last_bin():
    bins = bins_of()
    far = two_hot(jnp.array([2 * bins[-1], 2 * bins[0], bins[-1], bins[0]]), bins)
    assert np.asarray(far.argmax(-1)).tolist() == [BINS - 1, 0, BINS - 1, 0] and (np.asarray(far.max(-1)) == 1).all()


def test_the_loss_is_the_cross_entropy_and_least_at_the_value():
    value = jnp.array([3.7])
    target = np.asarray(two_hot(value, bins_of()), np.float64)[0]
    entropy = -sum(p * np.log(p) for p in target if p)
    assert two_hot_loss(jnp.log(jnp.asarray(target, jnp.float32) + 1e-30)[None], value)[0] == pytest.approx(entropy, rel=1e-4)
    assert two_hot_loss(jnp.zeros((1, BINS)), value)[0] == pytest.approx(np.log(BINS), rel=1e-6)
