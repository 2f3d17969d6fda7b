"""Framed records: of a damaged file every record that the damage did not touch is found, and nothing else."""

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmloop.data.files.framed_records import HEAD, Framing

SPOOL, JOURNAL = Framing(b"\x89ROW", least=3, uncounted=3), Framing(b"wlj1", least=3, hashed_length=False)
FRAMINGS = st.sampled_from([SPOOL, JOURNAL])
BYTES = st.lists(st.sampled_from([b"\x89ROW", b"wlj1", bytes(8), b"\xff\xff\xff\xff"]) | st.binary(max_size=8), max_size=4).map(b"".join)
BODIES = st.lists(st.tuples(st.binary(min_size=3, max_size=3), BYTES), max_size=6).map(
    lambda bodies: [fields + bytes([place]) + content for place, (fields, content) in enumerate(bodies)]  # no two alike
)


def written(framing, bodies):
    """A file of records with these bodies, and where each begins, with the file's end."""
    records = [b"".join(framing.framed(body[:3], memoryview(body)[3:])) for body in bodies]
    return b"".join(records), [sum(map(len, records[:place])) for place in range(len(records) + 1)]


def found(framing, data, start=0):
    """Start and body of every record that is found in a file, where each is checked to be what the stretches say."""
    records, before = [], start - 1
    for stretch in framing.stretches(data, start):
        assert before < stretch.start, "stretches neither touch nor overlap"
        at = stretch.start
        for body in stretch.bodies:
            records.append((at, bytes(body)))
            at += HEAD.size + len(body)
        assert at == stretch.end
        before = at
    return records


@pytest.mark.parametrize(
    ("framing", "record"),
    [
        (SPOOL, struct.pack("<4sII", b"\x89ROW", 4, zlib.crc32(b"\x04\0\0\0abcdefg")) + b"abcdefg"),
        (JOURNAL, struct.pack("<4sII", b"wlj1", 7, zlib.crc32(b"abcdefg", 7)) + b"abcdefg"),
    ],
)
def test_a_record_is_a_mark_a_length_and_a_crc32_before_its_body(framing, record):
    content = memoryview(b"defg")
    head, rest = framing.framed(b"abc", content)
    assert head + bytes(rest) == record and rest is content
    assert found(framing, record) == [(0, b"abcdefg")]


@given(FRAMINGS, BODIES, st.binary(max_size=5))
def test_a_sound_file_is_one_stretch_of_all_its_records_from_any_start(framing, bodies, before):
    data, starts = written(framing, bodies)
    assert found(framing, before + data, len(before)) == [(len(before) + at, body) for at, body in zip(starts, bodies, strict=False)]
    assert len(list(framing.stretches(data))) == bool(bodies)


@pytest.mark.parametrize("framing", [SPOOL, JOURNAL])
@pytest.mark.parametrize("junk", [b"", b"\x89", b"wlj1\x89ROW"])
def test_the_shortest_records_are_found_beside_anything(framing, junk):
    one, start = written(framing, [b"abc"])[0], len(junk)
    step = len(one) + len(junk)
    assert found(framing, junk + one + junk + one) == [(start, b"abc"), (start + step, b"abc")]


@given(FRAMINGS, BODIES.filter(bool), st.data())
def test_a_flip_of_any_byte_costs_the_record_that_it_hit_and_no_other(framing, bodies, data):
    content, starts = written(framing, bodies)
    at, flip = data.draw(st.integers(0, len(content) - 1)), data.draw(st.integers(1, 255))
    spoilt = content[:at] + bytes([content[at] ^ flip]) + content[at + 1 :]
    kept = [(start, body) for start, end, body in zip(starts, starts[1:], bodies, strict=False) if not start <= at < end]
    assert found(framing, spoilt) == kept


@pytest.mark.parametrize("framing", [SPOOL, JOURNAL])
def test_a_flip_of_each_single_bit_of_a_file_costs_the_record_that_it_hit(framing):
    bodies = [b"one\x89ROW", b"two", b"threewlj1" + bytes(9)]
    content, starts = written(framing, bodies)
    for bit in range(8 * len(content)):
        spoilt = bytearray(content)
        spoilt[bit // 8] ^= 1 << bit % 8
        hit = sum(start <= bit // 8 for start in starts[1:])
        assert found(framing, bytes(spoilt)) == [(starts[place], bodies[place]) for place in range(3) if place != hit]


@given(FRAMINGS, BODIES, st.data())
def test_a_truncation_anywhere_leaves_the_records_before_it_and_is_told_from_a_sound_end(framing, bodies, data):
    content, starts = written(framing, bodies)
    size = data.draw(st.integers(0, len(content)))
    whole = [start for start in starts if start <= size]
    assert found(framing, content[:size]) == list(zip(whole, bodies[: len(whole) - 1], strict=False))
    tail = content[max(whole) : size]
    assert framing.is_cut_off(tail) == (tail != b"")


@given(FRAMINGS, BODIES, BYTES, st.data())
def test_whatever_takes_the_place_of_a_part_the_records_outside_it_are_found_and_none_is_wrong(framing, bodies, junk, data):
    content, starts = written(framing, bodies)
    low, high = sorted(data.draw(st.integers(0, len(content))) for _ in range(2))
    records = found(framing, content[:low] + junk + content[high:])
    shift = len(junk) - (high - low)
    outside = {
        (start if end <= low else start + shift, body)
        for start, end, body in zip(starts, starts[1:], bodies, strict=False)
        if end <= low or start >= high
    }
    assert outside <= set(records)
    bodies_found = [body for _, body in records]
    assert bodies_found == [body for body in bodies if body in bodies_found], "in their order, each as it was written"


@given(FRAMINGS, st.binary(max_size=64))
def test_no_record_is_found_in_bytes_that_are_none(framing, data):
    assert found(framing, data) == []
    assert found(framing, framing.mark + data) == []


@given(framing=FRAMINGS, bodies=BODIES.filter(bool), data=st.data())
def test_the_first_body_is_read_alone_and_only_where_it_is_whole(tmp_path_factory, framing, bodies, data):
    path = tmp_path_factory.mktemp("first") / "file"
    content, starts = written(framing, bodies)
    size = data.draw(st.integers(0, len(content)))
    path.write_bytes(content[:size])
    first = framing.first_body(path)
    assert (None if first is None else bytes(first)) == (bodies[0] if size >= starts[1] else None)


def test_a_body_that_does_not_fit_is_no_record_and_a_changed_length_is_no_cut():
    def fits(body, length):
        return body[0] == length

    content, starts = written(SPOOL, [b"\x02abcd", b"\x09abcd", b"\x02efgh"])
    assert [bytes(body) for stretch in SPOOL.stretches(content, 0, fits) for body in stretch.bodies] == [b"\x02abcd", b"\x02efgh"]
    record = content[starts[2] :]
    for size in range(1, len(record)):
        assert SPOOL.is_cut_off(record[:size], fits)
        if size > HEAD.size + SPOOL.least:
            longer = record[:4] + b"\x09" + record[5:size]
            assert not SPOOL.is_cut_off(longer, fits) and SPOOL.is_cut_off(longer)
    assert not SPOOL.is_cut_off(record, fits) and not SPOOL.is_cut_off(b"wlj1" + record[4:-1], fits)
