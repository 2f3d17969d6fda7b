"""A spool of rows with cameras: each picture once in a file, files that need no other, damage, and files of earlier versions."""

import itertools

import pytest
from camera_rows import Film, assert_same, camera_schema
from hypothesis import given, settings
from hypothesis import strategies as st
from spools import written

from warmloop.actor.delivery import segments
from warmloop.actor.delivery.spool import Spool
from warmloop.data.transition import length, take
from warmloop.data.wire import row_bytes
from warmloop.data.wire.shared_pictures import Packer

SCHEMA = camera_schema()


def filled(folder, film, counts, **limits):
    """A spool's folder after one process wrote one record for each count; its files."""
    with Spool(folder, SCHEMA, **limits) as spool:
        for first, count in zip([0, *itertools.accumulate(counts)], counts, strict=False):
            with spool.rows.changed:
                spool.rows.append(film.part(first, count))
            written(spool, first + count)
    return sorted(folder.glob("*.rows"))


def held(spool):
    """Rows that a spool holds outside its gaps, by number."""
    rows = spool.rows
    numbers = [number for number in range(rows.first, rows.end) if not any(number in gap for gap in rows.gaps)]
    return {number: row_bytes.decode(SCHEMA, rows.frame(number, 1), 1) for number in numbers}


@settings(max_examples=15, deadline=None)
@given(counts=st.lists(st.integers(1, 6), min_size=1, max_size=6), seed=st.integers(0, 2**32 - 1), small=st.booleans())
def test_a_later_process_finds_the_rows_as_they_were(tmp_path_factory, counts, seed, small):
    folder, film = tmp_path_factory.mktemp("spool"), Film(seed).play(sum(counts), length=7)
    filled(folder, film, counts, **({"segment_bytes": 2 * SCHEMA.row_bytes} if small else {}))
    with Spool(folder, SCHEMA) as spool:
        found = held(spool)
        assert list(found) == list(range(sum(counts)))
        for number, row in found.items():
            assert_same(row, film.rows[number])


def test_a_picture_is_written_once(tmp_path):
    film = Film(0).play(20, length=20)
    (path,) = filled(tmp_path, film, [1] * 20)
    pictures = 21 * sum(camera.size for camera in SCHEMA.cameras)
    each = SCHEMA.without_pictures.row_bytes + 4 + segments.RECORD_BYTES
    assert path.stat().st_size == segments.HEADER_BYTES + pictures + 20 * each


@pytest.mark.parametrize("header", [False, True])
def test_damage_costs_its_own_rows_and_the_one_after_them_and_the_others_are_sent(tmp_path, header, caplog):
    film = Film(1).play(14, length=14)
    (path,) = filled(tmp_path, film, [4, 2, 4, 4])
    data, record = path.read_bytes(), segments.read(path, SCHEMA).records[1]
    data = data.replace(bytes(record.frame), bytes(len(record.frame)))
    path.write_bytes(bytes(8) + data[8:] if header else data)
    with Spool(tmp_path, SCHEMA) as spool:
        found = held(spool)
        assert list(found) == [0, 1, 2, 3, 7, 8, 9, 10, 11, 12, 13]
        for number, row in found.items():
            assert_same(row, film.rows[number])
        assert "3 rows missing" in caplog.text


def test_files_of_earlier_versions_are_read_and_gone_on_with(tmp_path):
    film = Film(2).play(12)
    name = "ab" * 16
    old = segments.Segment(tmp_path / f"0000000001-{name}.rows", segments.Header(name, SCHEMA.hash, 1, 0))
    old.append(0, 3, row_bytes.encode(SCHEMA, film.part(0, 3)))
    old.append(3, 4, row_bytes.encode(SCHEMA, film.part(3, 4)))
    old.close()
    with Spool(tmp_path, SCHEMA) as spool, spool.rows.changed:
        spool.rows.append(film.part(7, 5))
    assert [segments.read(path, SCHEMA).shared for path in sorted(tmp_path.glob("*.rows"))] == [False, True]
    with Spool(tmp_path, SCHEMA) as spool:
        found = held(spool)
        assert list(found) == list(range(12)) and spool.rows.stream_id == name
        for number, row in found.items():
            assert_same(row, film.rows[number])


def test_rows_that_two_files_hold_are_there_once(tmp_path):
    """As after a disk that failed: what of the older file is on it is not known, and the newer one begins with it again."""
    film = Film(3).play(12, length=12)
    name = "cd" * 16
    for serial, (first, counts) in enumerate([(0, (3, 4)), (2, (2, 5, 3))], 1):
        header = segments.Header(name, SCHEMA.hash, serial, first, shared=True)
        file, packer = segments.Segment(tmp_path / f"{serial:010d}-{name}.rows", header), Packer(SCHEMA)
        for count in counts:
            file.append(first, count, packer.pack(first, count, film.parts(first, count)))
            first += count
        file.close()
    with Spool(tmp_path, SCHEMA) as spool:
        found = held(spool)
        assert list(found) == list(range(12))
        for number, row in found.items():
            assert_same(row, take(film.part(number, 1), slice(0, 1)))
            assert length(row) == 1
