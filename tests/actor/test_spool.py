"""The spool on a real disk: killed, torn, damaged, full, shared, and measured."""

import contextlib
import logging
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from wire_rows import SCHEMA, row, stream

from warmloop.actor import segments
from warmloop.actor.spool import Spool
from warmloop.data.errors import WarmloopError
from warmloop.data.transition import Leaf, Spec, example, take
from warmloop.data.wire import frames
from warmloop.data.wire.schema import Schema

HELPERS = Path(__file__).parents[1] / "helpers"


def append(spool, rows):
    with spool.rows.changed:
        spool.rows.append(rows)


def written(spool, number, seconds=20.0):
    """Waits until the rows below a number are written."""
    with spool.rows.changed:
        assert spool.rows.changed.wait_for(lambda: spool.rows.written >= number, seconds), spool.rows.trouble


def held(spool):
    """The numbers of the rows that a spool holds outside its gaps, each row found to be what it was."""
    rows, numbers = spool.rows, []
    for number in range(rows.first, rows.end):
        if not any(number in gap for gap in rows.gaps):
            assert rows.frame(number, 1) == frames.encode(SCHEMA, stream(1, number)), f"row {number} was altered"
            numbers.append(number)
    return numbers


def filled(folder, counts=(1, 3, 16, 2, 1), **limits):
    """A spool's folder after one process wrote one record per count; its segments' paths."""
    spool, first = Spool(folder, SCHEMA, **limits), 0
    for count in counts:
        append(spool, stream(count, first))
        first += count
        written(spool, first)
    spool.close()
    return sorted(folder.glob("*.rows"))


@pytest.fixture
def memory(tmp_path):
    """A folder in memory where there is one, for tests that open a spool a thousand times: flushing costs nothing there."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else tmp_path) as folder:
        yield Path(folder)


@contextlib.contextmanager
def opened(folder, **limits):
    spool = Spool(folder, SCHEMA, **limits)
    try:
        yield spool
    finally:
        spool.close()


def started(code, *arguments):
    """A Python process that runs `code` with the package and the helpers at hand."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HELPERS), *filter(None, sys.path)]), "JAX_PLATFORMS": "cpu"}
    line = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


WRITER = """
    import sys
    from wire_rows import SCHEMA, stream
    from warmloop.actor.spool import Spool
    spool = Spool(sys.argv[1], SCHEMA, segment_bytes=100_000)
    number = spool.rows.end
    while True:
        with spool.rows.changed:
            spool.rows.append(stream(7, number))
            spool.rows.changed.wait_for(lambda: spool.rows.written > number)
            print(spool.rows.stream_id, spool.rows.opening, spool.rows.written, flush=True)
        number += 7
    """


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
    for record in segments.read(path, SCHEMA.row_bytes).records:
        ends[max(ends) + segments.RECORD.size + len(record.frame)] = record.first + record.count
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
                numbers = held(spool)
                lost = total - len(numbers)
                assert spool.rows.end == total and set(numbers) <= set(range(total)) and lost <= 3
                said = re.findall(r"ERROR .*: (\d+) bytes are damaged, and (\d+) rows missing", caplog.text)
                assert said and (sum(int(missing) for _, missing in said) == lost or spool.rows.first > 0)
    assert list(memory.glob("*.rows")), "rows that the learner lacks stay"
