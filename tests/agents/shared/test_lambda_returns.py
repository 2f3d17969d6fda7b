"""λ-returns against a loop, and the spread of returns against NumPy's percentiles."""

import jax.numpy as jnp
import numpy as np

from warmloop.agents.shared.lambda_returns import lambda_return, spread


def test_they_are_what_a_loop_gives():
    rng = np.random.default_rng(0)
    reward, value, trace = rng.normal(size=(5, 3)), rng.normal(size=(5, 3)), rng.uniform(size=(5, 3))
    going = 0.9 * rng.integers(0, 2, (5, 3))
    expected, following = np.zeros((5, 3)), value[-1]
    for step in reversed(range(5)):
        following = reward[step] + going[step] * ((1 - trace[step]) * value[step] + trace[step] * following)
        expected[step] = following
    found = lambda_return(*(jnp.asarray(x, jnp.float32) for x in (reward, going, value, trace)))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_with_a_trace_of_0_and_1_they_are_one_step_targets_and_discounted_sums():
    reward, value, going = jnp.array([1.0, 2.0, 3.0]), jnp.array([5.0, 6.0, 7.0]), jnp.full(3, 0.5)
    np.testing.assert_allclose(lambda_return(reward, going, value, 0.0), [1 + 2.5, 2 + 3, 3 + 3.5])
    np.testing.assert_allclose(lambda_return(reward, going, value, 1.0), [1 + 1 + 0.75 + 7 / 8, 2 + 1.5 + 7 / 4, 3 + 3.5])


def test_the_spread_follows_the_percentiles_of_the_returns_that_count_and_is_never_below_1():
    returns = np.random.default_rng(0).normal(size=(4, 50)).astype(np.float32) * 100
    there = np.arange(50) < 30
    before = jnp.array(10.0), jnp.array(20.0)
    scale, (low, high) = spread(jnp.asarray(returns), jnp.asarray(there), before, 0.1)
    expected = [0.9 * old + 0.1 * np.percentile(returns[:, :30], at) for old, at in ((10, 5), (20, 95))]
    np.testing.assert_allclose([low, high], expected, rtol=1e-5)
    np.testing.assert_allclose(scale, expected[1] - expected[0], rtol=1e-5)
    other = jnp.asarray(returns).at[:, 30:].set(1e9)
    np.testing.assert_array_equal(spread(other, jnp.asarray(there), before, 0.1)[0], scale)
    assert spread(jnp.asarray(returns), jnp.asarray(there), (jnp.zeros(()), jnp.zeros(())), 1e-4)[0] == 1.0
