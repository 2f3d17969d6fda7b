"""Tokens stand for bins: what they stand for is near, within bounds, and the same again."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from warmloop.agents.models.sequences.discretiser import SPACINGS, Discretiser

numbers = st.floats(-1e3, 1e3, width=32) | st.sampled_from([0.0, 1.0])
columns = arrays(np.float32, (12, 2), elements=numbers)

tokens_of, values_of = jax.jit(Discretiser.tokens), jax.jit(Discretiser.values)


@settings(max_examples=60)
@given(columns, st.integers(1, 12), st.sampled_from([2, 5]), st.sampled_from(SPACINGS))
def test_a_number_comes_back_within_its_bin_and_a_bin_as_itself(rows, count, bins, spacing):
    rows = np.resize(rows[:count], rows.shape)
    found = Discretiser.of(rows, bins, spacing)
    tokens = tokens_of(found, jnp.asarray(rows))
    assert tokens.shape == rows.shape and int(tokens.min()) >= 0 and int(tokens.max()) < bins
    thresholds, near = np.asarray(found.thresholds), np.asarray(values_of(found, tokens))
    assert (np.diff(thresholds, axis=0) >= 0).all()
    width = np.take_along_axis(np.diff(thresholds, axis=0), np.asarray(tokens), axis=0)
    assert (np.abs(near - rows) <= 0.5 * width + 1e-3).all()
    assert (near >= rows.min(axis=0) - 1e-3).all() and (near <= rows.max(axis=0) + 1e-3).all()
    again = np.asarray(tokens_of(found, jnp.asarray(near)))
    assert (again == np.asarray(tokens))[width > 1e-3].all()


def test_quantile_bins_hold_equally_many_rows_and_uniform_ones_are_equally_wide():
    rows = np.random.default_rng(0).exponential(size=(1001, 1)).astype(np.float32)
    counts = np.bincount(np.asarray(Discretiser.of(rows, 10, "quantile").tokens(jnp.asarray(rows)))[:, 0])
    assert counts.min() == 100 and counts.max() == 101
    np.testing.assert_allclose(np.diff(np.asarray(Discretiser.of(rows, 10, "uniform").thresholds)[:, 0]), rows.max() / 10, rtol=1e-2)


def test_the_bins_are_the_references_where_the_rows_are_a_multiple_of_them():
    """thresholds = sorted[::n/N] and the greatest, as the authors' code has them, of n = 1 + a multiple of N rows."""
    rows = np.random.default_rng(1).normal(size=(41, 3)).astype(np.float32)
    expected = np.sort(rows, axis=0)[::4]
    np.testing.assert_array_equal(Discretiser.of(rows, 10, "quantile").thresholds, expected)


def test_what_is_beyond_the_data_is_in_the_outermost_bins_and_what_is_not_finite_makes_none():
    rows = np.array([[0.0, 5.0], [1.0, -np.inf], [2.0, np.nan], [4.0, 7.0]], np.float32)
    found = Discretiser.of(rows, 4, "uniform")
    np.testing.assert_array_equal(found.tokens(jnp.array([[-9.0, 0.0], [9.0, 99.0]])), [[0, 0], [3, 3]])
    np.testing.assert_array_equal(found.thresholds[:, 1], np.linspace(5, 7, 5))
    np.testing.assert_array_equal(found.values(jnp.array([[4, 4]])), found.values(jnp.array([[3, 3]])))
    np.testing.assert_array_equal(found.part(slice(1, 2)).tokens(jnp.array([6.1])), [2])
    np.testing.assert_array_equal(Discretiser.of(rows[:0], 2, "quantile").thresholds, [[-1, -1], [0, 0], [1, 1]])


def test_uniform_bins_tell_a_rare_success_apart_where_quantiles_do_not():
    reward = jnp.zeros((1000, 1)).at[3].set(1.0)
    apart = {spacing: np.ptp(np.asarray(Discretiser.of(np.asarray(reward), 50, spacing).tokens(reward))) for spacing in SPACINGS}
    assert apart == {"quantile": 0, "uniform": 49}


@pytest.mark.parametrize("total", [1.0, 0.5])
def test_an_expectation_is_the_sum_over_the_middles(total):
    found = Discretiser(jnp.array([[0.0, 0.0], [2.0, 1.0], [6.0, 1.0]]))
    chances = total * jnp.array([[[0.25, 0.75], [0.5, 0.5]]])
    np.testing.assert_allclose(found.expected(chances), total * np.array([[0.25 * 1 + 0.75 * 4, 0.5 * 0.5 + 0.5 * 1]]))
    assert len(jax.tree.leaves(found)) == 1 and found.bins == 2
