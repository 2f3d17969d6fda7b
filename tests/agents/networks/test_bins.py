"""Histograms of returns: a target's has its mean, also at the bounds; the least loss is at the mean of all targets; values stay within the
bounds and come back from them; a fresh critic is at the low one."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from warmloop.agents.networks.bins import Bins
from warmloop.agents.networks.networks import Critic, apply, initialise

BINS = Bins(0.0, 1.0)
WIDE = Bins(-100.0, 0.0, 25, 1.5)
EACH = pytest.mark.parametrize("bins", [BINS, WIDE, Bins(-2.0, 3.0, 2, 0.5)])


def normal(x):
    return 0.5 * (1 + math.erf(x / math.sqrt(2)))


def span(bins):
    return bins.high - bins.low


@EACH
@pytest.mark.parametrize("share", [0.0, 0.013, 0.5, 0.77, 1.0])
def test_a_targets_histogram_is_its_gaussians_mass_in_each_bin(bins, share):
    y = bins.low + share * span(bins)
    below = np.array([normal((edge - y) / (bins.sigma * bins.width)) for edge in bins.edges])
    expected = np.diff(below) / (below[-1] - below[0])
    found = np.asarray(bins.probabilities(jnp.float32(y)))
    np.testing.assert_allclose(found, expected, atol=2e-6)
    assert found.sum() == pytest.approx(1, abs=1e-5)


@EACH
def test_the_mean_of_a_targets_histogram_is_the_target_also_at_the_bounds(bins):
    y = jnp.linspace(bins.low, bins.high, 101)
    np.testing.assert_allclose(bins.probabilities(y) @ bins.centres, y, atol=3e-3 * bins.width)


@EACH
def test_the_bins_lie_evenly_between_the_bounds_and_as_far_beyond_both_as_the_gaussian_reaches(bins):
    inside = (bins.edges >= bins.low - 1e-9) & (bins.edges <= bins.high + 1e-9)
    assert inside.sum() == bins.count + 1
    assert len(bins.centres) == bins.count + 2 * bins.beyond
    np.testing.assert_allclose(np.diff(bins.edges), span(bins) / bins.count)
    assert bins.low - bins.edges[0] == pytest.approx(bins.edges[-1] - bins.high)
    assert bins.low - bins.edges[0] >= 4 * bins.sigma * bins.width


def test_what_has_the_least_loss_on_two_targets_has_their_mean():
    y, share = jnp.array([0.1, 0.9]), jnp.array([0.7, 0.3])

    def loss(logits):
        return jnp.sum(share * BINS.cross_entropy(logits[None], y))

    least = jnp.log(share @ BINS.probabilities(y) + 1e-12)
    np.testing.assert_allclose(jax.grad(loss)(least), 0, atol=1e-6)
    assert float(BINS.mean(least)) == pytest.approx(0.34, abs=1e-4)
    assert all(loss(least) < loss(least + 0.1 * jax.random.normal(jax.random.key(seed), least.shape)) for seed in range(20))


def test_a_value_of_nothing_stays_nothing_however_often_it_is_bootstrapped():
    """Bins that end at the bound raise it to about two of their widths: what a Gaussian loses there moves its mean inside."""
    edges = BINS.edges[BINS.beyond : -BINS.beyond]

    def cut(y):
        below = jax.scipy.special.ndtr((edges - y) / (BINS.sigma * BINS.width))
        return jnp.diff(below) / (below[-1] - below[0]) @ (0.5 * (edges[1:] + edges[:-1]))

    def bootstrapped(mean, y):
        return jax.lax.fori_loop(0, 2_000, lambda _, y: mean(0.99 * y), jnp.float32(y))

    def kept(y):
        return BINS.probabilities(y) @ jnp.asarray(BINS.centres, jnp.float32)

    assert float(bootstrapped(kept, 0.0)) < 0.05 * BINS.width and float(bootstrapped(kept, 0.5)) < 0.05 * BINS.width
    assert float(bootstrapped(cut, 0.0)) > 1.5 * BINS.width


@EACH
def test_values_lie_within_the_bounds_whatever_the_logits_are(bins):
    logits = 30 * jax.random.normal(jax.random.key(0), (500, len(bins.centres)))
    ends = 50 * jnp.eye(len(bins.centres))
    q = np.asarray(bins.mean(jnp.concatenate([logits, ends])))
    assert q.min() >= bins.low and q.max() <= bins.high and q.min() == bins.low and q.max() == bins.high


@pytest.mark.parametrize(("at", "rises"), [(0, True), (-1, False)])
def test_a_value_at_a_bound_can_leave_it_inward_alone(at, rises):
    logits = jnp.zeros(len(BINS.centres)).at[at].set(12.0)
    up, down = (jax.grad(lambda x, sign=sign: sign * BINS.mean(x))(logits) for sign in (-1.0, 1.0))  # what descent raises, and lowers
    assert (bool(jnp.any(up != 0)), bool(jnp.any(down != 0))) == (rises, not rises)


@EACH
def test_a_fresh_critic_values_everything_at_the_low_bound_and_no_bin_is_out_of_reach(bins):
    assert float(bins.mean(bins.untrained())) - bins.low < 2e-3 * span(bins)
    assert float(jax.nn.softmax(bins.untrained()).min()) >= 0.9e-3 / len(bins.centres)
    module = Critic(3, (16,), bins=bins)
    seen, action = jax.random.normal(jax.random.key(1), (2, 40, 2))
    logits = apply(module, initialise(module, jax.random.key(0), seen, action), seen, action)
    assert logits.shape == (3, 40, len(bins.centres))
    assert float(bins.mean(logits).max()) - bins.low < 0.01 * span(bins)


def test_logits_of_several_actions_are_those_of_each():
    module, key = Critic(2, (16,), bins=BINS), jax.random.key(0)
    seen, actions = jax.random.normal(key, (4, 3)), jax.random.normal(key, (4, 5, 2))
    params = initialise(module, key, seen, actions[:, 0])
    together = apply(module, params, seen, actions)
    assert together.shape == (2, 4, 5, len(BINS.centres))
    for n in range(5):
        np.testing.assert_allclose(together[:, :, n], apply(module, params, seen, actions[:, n]), rtol=1e-4, atol=1e-5)
