"""Pictures that occur once in the bytes of rows: the rows come back bit for bit, however they were cut into pieces."""

import itertools

import hypothesis.strategies as st
import numpy as np
import pytest
from camera_rows import Film, assert_same, camera_schema, camera_spec
from hypothesis import given, settings
from wire_rows import SCHEMA, stream

from warmloop.data.errors import WarmloopError
from warmloop.data.transition import concatenate, example, take
from warmloop.data.wire import row_bytes, shared_pictures
from warmloop.data.wire.row_schema import flatten
from warmloop.data.wire.shared_pictures import Packer, decode, encode, fits, last, merge, whole

PIECES = st.lists(st.integers(1, 7), min_size=1, max_size=6)


def packed(schema, rows, counts):
    """The bytes of each piece; pieces after the first lean on those before them."""
    packer, starts = Packer(schema), [0, *itertools.accumulate(counts)]
    return [packer.pack(at, n, [flatten(take(rows, slice(at, at + n)))]) for at, n in zip(starts, counts, strict=False)]


def unpacked(schema, pieces, counts):
    before, found = None, []
    for data, count in zip(pieces, counts, strict=True):
        assert fits(schema, len(data), count)
        piece = decode(schema, data, count, before)
        assert piece.missing == 0
        found.append(piece.rows)
        before = last(schema, piece.rows)
    return concatenate(found)


@settings(max_examples=60, deadline=None)
@given(counts=PIECES, stack=st.integers(1, 4), kinds=st.integers(1, 4), seed=st.integers(0, 2**32 - 1))
def test_rows_of_any_pictures_come_back_bit_for_bit_in_any_pieces(counts, stack, kinds, seed):
    """Of few kinds of pictures in any order, so that equal ones turn up wherever a code can and cannot point."""
    random, schema, n = np.random.default_rng(seed), camera_schema(stack), sum(counts)
    rows = example(camera_spec(stack), n).replace(reward=random.normal(size=n).astype(np.float32))
    for field in ("observation", "next_observation"):
        kept = {leaf.name: random.integers(0, 256, (kinds, *leaf.shape[stack > 1 :]), np.uint8) for leaf in camera_spec(stack).cameras}
        shape = (n, stack) if stack > 1 else (n,)
        views = {name: pictures[random.integers(0, kinds, shape)] for name, pictures in kept.items()}
        rows = rows.replace(**{field: getattr(rows, field) | views})
    pieces = packed(schema, rows, counts)
    assert_same(unpacked(schema, pieces, counts), rows)
    merged = merge(schema, list(zip(pieces, counts, strict=True)))
    assert merged == encode(schema, [flatten(rows)])[0], "pieces joined are the bytes of all rows at once"
    assert_same(decode(schema, merged, n).rows, rows)
    assert_same(decode(schema, whole(schema, rows).data, n).rows, rows)


@settings(max_examples=40, deadline=None)
@given(counts=PIECES, stack=st.integers(1, 3), still=st.floats(0, 1), seed=st.integers(0, 2**32 - 1))
def test_a_piece_whose_predecessor_is_lost_says_how_many_rows_lack_pictures_and_the_others_are_right(counts, stack, still, seed):
    random, film, schema = np.random.default_rng(seed), Film(seed, stack), camera_schema(stack)
    for _ in range(sum(counts)):
        film.step(ends=random.random() < 0.2, still=random.random() < still, jumps=random.random() < 0.1)
    rows, at = film.part(0, sum(counts)), 0
    for data, count in zip(packed(schema, rows, counts), counts, strict=True):
        mine, found = take(rows, slice(at, at + count)), decode(schema, data, count)
        assert (found.missing > 0) == found.leans and found.missing <= count
        for row in range(count):
            if row >= found.missing:
                assert_same(take(found.rows, slice(row, row + 1)), take(mine, slice(row, row + 1)))
        pictures = tuple(leaf.observation for leaf in schema.cameras) + tuple(leaf.next_observation for leaf in schema.cameras)
        assert_same(found.rows, mine, but=pictures if found.missing else ())
        at += count


@pytest.mark.parametrize("stack", [1, 3])
@pytest.mark.parametrize("each", [1, 4])
def test_each_picture_of_an_episode_is_in_the_bytes_once(stack, each):
    schema, film, episode = camera_schema(stack), Film(0, stack).play(24, length=24), 24
    size = sum(map(len, packed(schema, film.part(0, episode), [each] * (episode // each))))
    pictures = (episode + 1) * sum(camera.size for camera in schema.cameras)
    assert size == pictures + episode * (schema.without_pictures.row_bytes + 4 * stack)


def test_a_piece_that_does_not_follow_the_one_before_refers_to_no_row():
    schema, film, packer = camera_schema(), Film(1).play(9), Packer(camera_schema())
    packer.pack(0, 3, film.parts(0, 3))
    assert not decode(schema, packer.pack(4, 2, film.parts(4, 2)), 2).leans
    assert decode(schema, packer.pack(6, 1, film.parts(6, 1)), 1).missing == 1
    packer.restart()
    assert not decode(schema, packer.pack(7, 1, film.parts(7, 1)), 1).leans


def test_a_schema_without_cameras_has_rows_as_ever():
    assert SCHEMA.cameras == () and whole(SCHEMA, stream(3)) == (row_bytes.encode(SCHEMA, stream(3)), False, False)


def test_a_camera_that_only_one_of_the_observations_has_is_no_camera():
    schema = camera_schema()
    leaves = tuple(leaf for leaf in schema.leaves if leaf.name != "next_observation/front")
    assert [camera.observation for camera in type(schema)(leaves, "x").cameras] == ["observation/wrist"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: data[:-1], "3 rows with shared pictures has"),
        (lambda data: data + b"\0", "3 rows with shared pictures has"),
        (lambda data: b"", "3 rows with shared pictures has"),
        (lambda data: data[: 3 * SIZE] + b"\2" + data[3 * SIZE + 1 :], '"observation/front" refers to one further back'),
        (lambda data: data[: 3 * SIZE] + b"\1" + data[3 * SIZE + 1 :], "3 rows with shared pictures has"),
        (lambda data: data[:INTERVENED] + b"\7" + data[INTERVENED + 1 :], '"intervened" holds bytes'),
    ],
)
def test_bytes_that_are_no_rows_are_refused(change, words):
    data = whole(camera_schema(), Film(2).play(3).part(0, 3)).data
    with pytest.raises(WarmloopError, match=words):
        decode(camera_schema(), change(data), 3)


SIZE = camera_schema().without_pictures.row_bytes
INTERVENED = 3 * (2 * 4 + 4)  # after the columns of action and episode


@settings(max_examples=80, deadline=None)
@given(data=st.binary(max_size=400), count=st.integers(-2, 5), stack=st.integers(1, 2))
def test_any_bytes_are_rows_or_refused_with_a_sentence(data, count, stack):
    try:
        found = decode(camera_schema(stack), data, count)
    except WarmloopError:
        return
    assert len(found.rows.reward) == count and fits(camera_schema(stack), len(data), count)


def test_rows_of_another_shape_are_not_packed():
    rows = Film(3).play(2).part(0, 2)
    with pytest.raises(WarmloopError, match='"observation/front"'):
        shared_pictures.whole(camera_schema(), rows.replace(observation=rows.observation | {"front": rows.observation["front"][:, :2]}))
