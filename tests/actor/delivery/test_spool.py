"""The spool on a real disk: killed, torn, damaged, full, shared, and measured."""

import os
import re
import signal
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from spools import append, filled, held, opened, started, written
from wire_rows import SCHEMA, stream

from warmloop.actor.delivery import segments
from warmloop.actor.delivery.spool import Spool
from warmloop.data.errors import WarmloopError
from warmloop.data.transition import Leaf, Spec, example, take
from warmloop.data.wire.row_schema import Schema


@pytest.fixture
def memory(tmp_path):
    """A folder in memory where there is one, for tests that open a spool a thousand times: flushing costs nothing there."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else tmp_path) as folder:
        yield Path(folder)


WRITER = """
    import sys
    from wire_rows import SCHEMA, stream
    from warmloop.actor.delivery.spool import Spool
    spool = Spool(sys.argv[1], SCHEMA, segment_bytes=100_000)
    number = spool.rows.end
    while True:
        with spool.rows.changed:
            spool.rows.append(stream(7, number))
            spool.rows.changed.wait_for(lambda: spool.rows.written > number)
            print(spool.rows.stream_id, spool.rows.opening, spool.rows.written, flush=True)
        number += 7
    """


@pytest.mark.long
def test_a_process_killed_while_it_wrote_loses_no_written_row_and_the_stream_goes_on(tmp_path):
    streams, openings, safe = set(), [], 0
    for _ in range(3):
        process = started(WRITER, tmp_path)
        lines = [process.stdout.readline() for _ in range(150)]
        process.send_signal(signal.SIGKILL)
        rest, said = process.communicate()
        lines += rest.splitlines(keepends=True)
        assert process.returncode == -signal.SIGKILL, said
        stream_id, opening, last = [line for line in lines if line.endswith("\n")][-1].split()
        streams.add(stream_id)
        openings.append(int(opening))
        assert int(last) > safe
        safe = int(last)
    with opened(tmp_path) as spool:
        streams.add(spool.rows.stream_id)
        assert len(streams) == 1 and [*openings, spool.rows.opening] == sorted({*openings, spool.rows.opening})
        assert spool.rows.end >= safe
        assert held(spool) == list(range(spool.rows.end))
        append(spool, stream(5, spool.rows.end))
        assert held(spool) == list(range(spool.rows.end))


def test_a_torn_tail_is_cut_wherever_it_was_torn(memory, caplog):
    (path,) = filled(memory / "whole")
    data, ends = path.read_bytes(), {segments.HEADER_BYTES: 0}
    for record in segments.read(path, SCHEMA).records:
        ends[max(ends) + segments.RECORD_BYTES + len(record.frame)] = record.first + record.count
    for size in range(len(data) + 1):
        folder = memory / f"torn{size}"
        folder.mkdir()
        (folder / path.name).write_bytes(data[:size])
        caplog.clear()
        with opened(folder) as spool:
            whole = max((end for end in ends if end <= size), default=0)
            assert spool.rows.stream_id in path.name
            assert held(spool) == list(range(ends.get(whole, 0)))
            assert ("not written whole" in caplog.text) == (size not in ends and size > 0)


def spoilt(data):
    """A file's bytes with each byte flipped, each of its blocks zeroed, and cut at each length, in turn."""
    for position in range(len(data)):
        yield data[:position] + bytes([data[position] ^ 0x40]) + data[position + 1 :]
    for start in range(0, len(data), 64):
        size = min(64, len(data) - start)
        if any(data[start : start + size]):
            yield data[:start] + bytes(size) + data[start + size :]
    for size in range(len(data)):
        yield data[:size]


def test_every_flipped_byte_zeroed_block_and_truncation_of_a_segment_is_detected_and_no_altered_row_comes_back(memory, caplog):
    first, second, *others = filled(memory, counts=(2, 1, 2, 1, 2, 1), segment_bytes=250)
    everything, total = {path: path.read_bytes() for path in (first, second, *others)}, 9
    for spoilt_path in (first, second):
        for data in spoilt(everything[spoilt_path]):
            for path in memory.glob("*.rows"):
                path.unlink()
            for path, content in everything.items():
                path.write_bytes(data if path == spoilt_path else content)
            caplog.clear()
            with opened(memory) as spool:
                lost = total - len(held(spool))
                assert spool.rows.end == total and lost <= 3
                said = re.findall(r"ERROR .*: (\d+) bytes are damaged, and (\d+) rows missing", caplog.text)
                assert said and (sum(int(missing) for _, missing in said) == lost or spool.rows.first > 0)
    assert list(memory.glob("*.rows")), "rows that the learner lacks stay"


def test_a_byte_that_changed_in_the_newest_rows_is_told_from_a_torn_tail_and_the_file_is_kept(memory, caplog):
    (path,) = filled(memory / "whole", counts=(2, 3))
    data, row = path.read_bytes(), SCHEMA.row_bytes
    last = segments.HEADER_BYTES + segments.RECORD_BYTES + 2 * row
    for position in [*range(last, last + segments.RECORD_BYTES + 8), len(data) - 1]:
        folder = memory / f"flipped{position}"
        folder.mkdir()
        (folder / path.name).write_bytes(data[:position] + bytes([data[position] ^ 0x40]) + data[position + 1 :])
        caplog.clear()
        with opened(folder) as spool:
            assert held(spool) == [0, 1]
        assert f"{path.name}: {len(data) - last} bytes are damaged" in caplog.text and "not written whole" not in caplog.text
        assert (folder / path.name).stat().st_size == len(data)


WRITTEN = bytes.fromhex(
    "574c53504f4f4c316162616261626162616261626162616261626162616261626162616261626162"
    "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f030000000000000028000000000000009f17ec27"
    "89524f5703000000a29914e3280000000000000001000000726f77"
    "89524f570600000014201db829000000000000000200000074776f726f77"
)


def test_a_segment_is_read_and_written_byte_for_byte_as_by_earlier_versions(tmp_path):
    header = segments.Header("ab" * 16, bytes(range(32)), 3, 40)
    segment = segments.Segment(tmp_path / "new.rows", header)
    segment.append(40, 1, b"row")
    segment.append(41, 2, b"tworow")
    segment.close()
    assert segment.path.read_bytes() == WRITTEN and segment.size == len(WRITTEN)
    found = segments.read(segment.path, Schema((Leaf("x", (3,), "uint8"),), "any"))
    assert (found.header, found.damaged, found.end, found.torn) == (header, 0, len(WRITTEN), False)
    assert [(record.first, record.count, bytes(record.frame)) for record in found.records] == [(40, 1, b"row"), (41, 2, b"tworow")]


@pytest.mark.long
def test_one_process_at_a_time_uses_a_spool(tmp_path):
    with opened(tmp_path), pytest.raises(WarmloopError, match=f"spool .* in use by process {os.getpid()}: .*--actor_id"):
        Spool(tmp_path, SCHEMA)
    process = started(WRITER, tmp_path)
    process.stdout.readline()
    with pytest.raises(WarmloopError, match=f"in use by process {process.pid}"):
        Spool(tmp_path, SCHEMA)
    process.kill()
    process.wait()
    Spool(tmp_path, SCHEMA).close()


def test_rows_of_another_schema_are_neither_sent_nor_lost(tmp_path):
    filled(tmp_path)
    other = Schema.of(Spec((Leaf("", (4,), "float32"),), 2), "Rows-v0")
    with pytest.raises(WarmloopError, match="rows of another environment"):
        Spool(tmp_path, other)
    with opened(tmp_path) as spool:
        assert held(spool) == list(range(23))


def test_segments_go_when_the_learner_has_their_rows_and_the_folder_is_empty_after_the_last(tmp_path):
    spool = Spool(tmp_path, SCHEMA, segment_bytes=1000)
    for first in range(0, 200, 10):
        append(spool, stream(10, first))
        written(spool, first + 10)
    paths = sorted(tmp_path.glob("*.rows"))
    assert len(paths) == 10
    with spool.rows.lock:
        spool.rows.forget(95)
    append(spool, stream(1, 200))
    written(spool, 201)
    assert sorted(tmp_path.glob("*.rows"))[:6] == paths[4:], "what holds row 95 stays"
    with spool.rows.lock:
        spool.rows.forget(201)
    spool.close()
    assert not list(tmp_path.glob("*.rows"))


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WarmloopError, match=r"spool .* cannot be used: Not a directory"):
        Spool(tmp_path / "file" / "spool", SCHEMA)


@pytest.mark.slow
@pytest.mark.bench
def test_a_row_costs_the_control_loop_microseconds_and_blocks_are_written_at_150_000_rows_a_second(tmp_path):
    spec = Spec((Leaf("", (39,), "float32"),), 28)
    spool = Spool(tmp_path, Schema.of(spec, "Door"), max_rows=1_000_000)
    rows = example(spec, 1024)
    one, count, spent = take(rows, 0), 0, []
    began = time.perf_counter()
    while count < 300 * 1024:
        append(spool, rows)
        count += 1024
    written(spool, count)
    rate = count / (time.perf_counter() - began)
    for _ in range(20_000):
        began = time.thread_time()
        append(spool, one)
        spent.append(time.thread_time() - began)
    with spool.rows.lock:
        spool.rows.forget(spool.rows.end)
    spool.close()
    print(f"{rate:,.0f} rows/s in blocks; one row {1e6 * float(np.median(spent)):.1f} µs")
    assert rate >= 150_000 and np.median(spent) < 20e-6
