"""Numbers come back from their bins, and equal bins are exactly 0."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmloop.agents.models.latents.two_hot import TwoHot
from warmloop.agents.models.symlog import symexp, symlog

CODE = TwoHot()
LARGEST = float(np.expm1(10.0))


@given(st.floats(-LARGEST, LARGEST))
def test_a_number_comes_back_from_its_bins(x):
    assert float(CODE.mean(CODE.encode(jnp.float32(x)))) == pytest.approx(x, rel=1e-5, abs=1e-5)


def test_all_weight_is_on_the_two_bins_about_a_number_and_sums_to_one():
    p = np.asarray(CODE.encode(jnp.array([-LARGEST, -3.0, 0.0, 0.5, 1.0, LARGEST])))
    np.testing.assert_allclose(p.sum(-1), 1.0, atol=1e-5)
    assert ((p > 1e-6).sum(-1) <= 2).all()
    assert (np.asarray(p[2]) == np.eye(101)[50]).all(), "0 has a bin of its own"


def test_numbers_beyond_the_bins_count_as_the_nearest_end():
    np.testing.assert_allclose(CODE.mean(CODE.encode(jnp.array([-1e9, 1e9]))), [-LARGEST, LARGEST], rtol=1e-4)


def test_equal_logits_are_exactly_zero():
    assert float(CODE.decode(jnp.full(101, 0.3))) == 0.0


def test_the_cross_entropy_is_least_where_the_softmax_is_the_code():
    x = jnp.array([2.5])
    logits = jnp.log(CODE.encode(x) + 1e-9)
    gradient = jax.grad(lambda logits: CODE.cross_entropy(logits, x).sum())(logits)
    np.testing.assert_allclose(gradient, 0.0, atol=1e-5)
    assert float(CODE.cross_entropy(logits, x)[0]) < float(CODE.cross_entropy(jnp.zeros((1, 101)), x)[0])


def test_symexp_is_the_inverse_of_symlog():
    x = jnp.array([-700.0, -1.0, -1e-4, 0.0, 1e-4, 1.0, 700.0])
    np.testing.assert_allclose(symexp(symlog(x)), x, rtol=1e-5)
