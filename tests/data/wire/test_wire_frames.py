"""Frames: rows to bytes and back, and everything that is not exactly a frame."""

import dataclasses
import struct

import hypothesis.extra.numpy as arrays
import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wire_rows import SCHEMA, stream

from warmloop.data.errors import WarmloopError
from warmloop.data.transition import Leaf, Spec, concatenate, example, length
from warmloop.data.wire import row_bytes
from warmloop.data.wire.row_schema import Schema, flatten

SPECS = st.builds(
    Spec,
    st.one_of(
        arrays.array_shapes(max_dims=2, max_side=5).map(lambda shape: (Leaf("", shape, "float32"),)),
        st.just((Leaf("front/camera", (2, 3, 3), "uint8"), Leaf("state", (4,), "float32"))),
    ),
    st.integers(1, 5),
)


@st.composite
def schemas_and_rows(draw):
    spec, count = draw(SPECS), draw(st.integers(1, 7))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    rows = jax.tree.map(lambda x: random.integers(0, 2, x.shape).astype(x.dtype), example(spec, count))
    return Schema.of(spec, "any"), rows.replace(reward=random.normal(size=count).astype(np.float32))


@settings(max_examples=60, deadline=None)
@given(schemas_and_rows())
def test_decoding_gives_the_rows_back_bit_for_bit(case):
    schema, rows = case
    again = row_bytes.decode(schema, row_bytes.encode(schema, rows), length(rows))
    for (name, sent), got in zip(flatten(rows).items(), flatten(again).values(), strict=True):
        assert got.dtype == sent.dtype, name
        assert got.flags.aligned, name
        np.testing.assert_array_equal(got, sent, err_msg=name)


def test_a_frame_is_the_leaves_bytes_in_name_order_little_endian():
    rows = stream(2, first=7)
    frame = row_bytes.encode(SCHEMA, rows)
    assert len(frame) == 2 * SCHEMA.row_bytes
    assert frame[:16] == struct.pack("<4f", 0.5, 0.5, 0.5, 0.5)  # action
    assert frame[16:24] == struct.pack("<2i", 0, 0)  # episode
    assert frame[24:26] == b"\0\0"  # intervened


def test_big_endian_rows_are_sent_little_endian():
    rows = stream(3)
    assert row_bytes.encode(SCHEMA, rows.replace(reward=rows.reward.astype(">f4"))) == row_bytes.encode(SCHEMA, rows)


def test_pieces_make_the_same_frame_as_the_whole():
    parts = [stream(3), stream(2, first=3)]
    assert row_bytes.join(SCHEMA, [flatten(part) for part in parts]) == row_bytes.encode(SCHEMA, concatenate(parts))


def test_frames_are_merged_into_the_frame_of_all_their_rows():
    counts = [3, 1, 1, 5]
    parts = [stream(count, first=sum(counts[:place])) for place, count in enumerate(counts)]
    pieces = [(memoryview(row_bytes.encode(SCHEMA, part)), count) for part, count in zip(parts, counts, strict=True)]
    assert row_bytes.merge(SCHEMA, pieces) == row_bytes.encode(SCHEMA, concatenate(parts))


@pytest.mark.parametrize("cut", [lambda frame: frame[:-1], lambda frame: frame + b"\0", lambda frame: b""])
def test_a_frame_of_another_length_is_refused(cut):
    with pytest.raises(WarmloopError, match="bytes"):
        row_bytes.decode(SCHEMA, cut(row_bytes.encode(SCHEMA, stream(4))), 4)


@pytest.mark.parametrize("count", [0, -1, 3, 5])
def test_a_frame_with_another_count_is_refused(count):
    with pytest.raises(WarmloopError, match=r"4|rows"):
        row_bytes.decode(SCHEMA, row_bytes.encode(SCHEMA, stream(4)), count)


def test_a_bool_byte_that_is_neither_true_nor_false_is_refused():
    frame = bytearray(row_bytes.encode(SCHEMA, stream(1)))
    frame[12] = 2  # intervened
    with pytest.raises(WarmloopError, match='"intervened"'):
        row_bytes.decode(SCHEMA, bytes(frame), 1)


def test_rows_of_another_shape_are_not_encoded():
    rows = stream(4)
    with pytest.raises(WarmloopError, match='"action"'):
        row_bytes.encode(SCHEMA, rows.replace(action=rows.action[:, :1]))
    with pytest.raises(WarmloopError, match='"mask"'):
        row_bytes.encode(SCHEMA, dataclasses.replace(rows, mask=rows.mask[:3]))
