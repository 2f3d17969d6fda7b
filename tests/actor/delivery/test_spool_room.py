"""A spool takes the room of what the learner lacks, and no more."""

import contextlib
import errno
import os

import pytest
from spools import append, held, opened, written
from waiting import until
from wire_rows import SCHEMA, agent, row, stream

from warmloop.actor.delivery import segments, spool
from warmloop.actor.delivery.buffer import RowBuffer
from warmloop.actor.delivery.client import Client, Introduction
from warmloop.data.errors import WarmloopError
from warmloop.data.wire.direct import DirectStub
from warmloop.learner.receiving.intake import Intake
from warmloop.learner.receiving.service import Servicer


def size(folder):
    total = 0
    for path in folder.glob("*.rows"):
        with contextlib.suppress(FileNotFoundError):  # the spool's thread has just removed it
            total += path.stat().st_size
    return total


def acknowledge(one, below):
    with one.rows.lock:
        one.rows.forget(below)


@pytest.mark.parametrize("segment_bytes", [5_000, spool.SEGMENT_BYTES])
def test_the_disk_is_free_soon_after_the_learner_has_the_rows_though_no_further_row_comes(tmp_path, monkeypatch, segment_bytes):
    monkeypatch.setattr(spool, "FREE_BYTES", 4_000)
    with opened(tmp_path, segment_bytes=segment_bytes) as one:
        for first in range(0, 700, 7):
            append(one, stream(7, first))
            written(one, first + 7)
        assert size(tmp_path) > 40_000
        acknowledge(one, 700)
        until(lambda: size(tmp_path) < 5_000)
        append(one, stream(7, 700))
        written(one, 707)
        name = one.rows.stream_id
    with opened(tmp_path) as again:
        assert again.rows.stream_id == name and held(again)[-7:] == list(range(700, 707)) and len(held(again)) < 100


def test_a_disk_full_of_rows_that_the_learner_has_takes_new_ones(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(spool, "RETRY_SECONDS", 0.05)
    whole = segments.Segment._write

    def write(segment, pieces):
        if size(tmp_path) + sum(map(len, pieces)) > 30_000:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        whole(segment, pieces)

    monkeypatch.setattr(segments.Segment, "_write", write)
    with opened(tmp_path, segment_bytes=5_000) as one:
        for first in range(0, 700, 7):
            append(one, stream(7, first))
            until(lambda first=first: one.rows.written == first + 7 or bool(one.rows.trouble))
        assert one.rows.trouble
        stored = one.rows.written
        assert 100 < stored < 700
        acknowledge(one, stored)  # what was written was sent, and the learner has it
        until(lambda: one.rows.written > stored)

        def acknowledged_to_the_end():
            acknowledge(one, one.rows.written)
            return one.rows.written == 700 and not one.rows.trouble

        until(acknowledged_to_the_end)
    assert caplog.text.count("cannot be written") <= 5


@pytest.mark.parametrize("error", [MemoryError("no memory"), SystemExit(3), ValueError("too large")])
def test_a_thread_that_dies_reaches_the_control_loop_whatever_it_died_of(tmp_path, monkeypatch, error):
    def die(self):
        raise error

    monkeypatch.setattr(spool.Spool, "_write", die)
    with opened(tmp_path) as one:
        until(lambda: one.rows.failure is error)
        client = Client(DirectStub(Servicer(Intake(SCHEMA))), Introduction(SCHEMA, agent(), "arm"), rows=one.rows, background=False)
        with pytest.raises(WarmloopError, match="The thread that writes the spool broke"):
            client.record(row(0))


def test_a_buffer_without_a_spool_forgets_without_one():
    rows = RowBuffer(SCHEMA)
    with rows.lock:
        rows.append(stream(5))
        rows.forget(3)
    assert len(rows) == 2 and len(rows.frame(3, 1)) == SCHEMA.row_bytes
