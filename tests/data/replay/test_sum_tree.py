"""The sum tree against numpy.cumsum."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warmloop.data.replay import sum_tree

write, find = jax.jit(sum_tree.write), jax.jit(sum_tree.find)


def filled(capacity, seed):
    values = np.random.default_rng(seed).uniform(0, 5, capacity).astype(np.float32)
    return values, write(sum_tree.create(capacity), np.arange(capacity), values)


@pytest.mark.parametrize("capacity", [1, 16, 17, 300, 70_000])
def test_every_level_sums_the_one_below(capacity):
    values, tree = filled(capacity, 0)
    np.testing.assert_array_equal(tree.leaves[:capacity], values)
    for below, above in zip(tree.levels, tree.levels[1:], strict=False):
        sums = np.asarray(below).reshape(-1, 16).sum(1)
        np.testing.assert_allclose(above[: len(sums)], sums, rtol=1e-5)
    np.testing.assert_allclose(tree.total, values.sum(dtype=np.float64), rtol=1e-5)


@pytest.mark.parametrize("capacity", [1, 16, 17, 300, 70_000])
def test_a_tree_built_at_once_is_the_one_that_is_written(capacity):
    values, tree = filled(capacity, 2)
    built = jax.jit(sum_tree.build)(values)
    assert [level.shape for level in built.levels] == [level.shape for level in tree.levels]
    for mine, theirs in zip(built.levels, tree.levels, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-6)


@pytest.mark.parametrize("capacity", [1, 16, 17, 300, 70_000])
def test_find_agrees_with_cumsum(capacity):
    values, tree = filled(capacity, 1)
    edges = np.cumsum(values, dtype=np.float64)
    mass = (np.arange(1000) + 0.5) / 1000 * float(tree.total)
    got, priority = map(np.asarray, find(tree, mass.astype(np.float32)))
    np.testing.assert_array_equal(priority, values[got])
    # float32 sums may move a mass that lies on an edge to the neighbour, never further
    slack = 1e-4 * edges[-1]
    before = np.where(got > 0, edges[got - 1], 0.0)
    assert np.all(before <= mass + slack) and np.all(mass <= edges[got] + slack)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 299), st.floats(0, 100, width=32)), min_size=8, max_size=8), st.integers(0, 2**16))
def test_any_writes_leave_the_sums_of_an_array(writes, seed):
    values, tree = filled(300, seed)
    for index, value in writes:
        values[index] = value
    last = {index: value for index, value in writes}
    index = np.array([*last, *[10**6] * (8 - len(last))], np.int32)
    priority = np.array([*last.values(), *[1.0] * (8 - len(last))], np.float32)
    tree = write(tree, index, priority)
    np.testing.assert_array_equal(tree.leaves[:300], values)
    np.testing.assert_allclose(tree.total, values.sum(dtype=np.float64), rtol=1e-5)


def test_a_leaf_of_zero_priority_is_never_found():
    values = np.zeros(70_000, np.float32)
    stored = np.random.default_rng(0).choice(70_000, 50, replace=False)
    values[stored] = np.random.default_rng(1).uniform(1e-6, 1e4, 50)
    tree = write(sum_tree.create(70_000), np.arange(70_000), values)
    mass = np.linspace(0, float(tree.total), 2000).astype(np.float32)
    assert set(np.asarray(find(tree, mass)[0]).tolist()) <= set(stored.tolist())
