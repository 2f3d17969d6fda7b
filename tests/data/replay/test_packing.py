"""Packed rows: every bit comes back."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warmloop.data.replay.packing import column_of, pack, unpack
from warmloop.data.transition import Leaf, Spec, example

SPECS = {
    "array": Spec((Leaf("", (5,), "float32"),), 3),
    "slots": Spec((Leaf("frames", (3,), "int32"), Leaf("state", (4,), "float32")), 2),
    "matrix": Spec((Leaf("", (3, 2), "float32"),), 1),
}


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(sorted(SPECS)), st.integers(0, 2**32 - 1))
def test_any_bits_come_back(name, seed):
    spec, rng = SPECS[name], np.random.default_rng(seed)

    def noise(x):
        raw = rng.integers(0, 256, (7, *x.shape[1:], x.dtype.itemsize), np.uint8)
        return raw[..., 0] % 2 == 1 if x.dtype == bool else raw.view(x.dtype)[..., 0]

    rows = jax.tree.map(noise, example(spec, 7))
    back = unpack(pack(rows), spec)
    assert jax.tree.structure(back) == jax.tree.structure(rows)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(np.asarray(a).view(np.uint8), b.view(np.uint8)), back, rows)


@pytest.mark.parametrize("name", ["reward", "mc_return", "quality", "step"])
def test_the_column_of_a_field_holds_it(name):
    rows = example(SPECS["slots"], 4)
    rows = rows.replace(**{name: np.arange(4).astype(getattr(rows, name).dtype)})
    words = np.asarray(pack(rows))[:, column_of(SPECS["slots"], name)]
    np.testing.assert_array_equal(words.view(getattr(rows, name).dtype), np.arange(4))
