"""The journal: what was acknowledged is there after a crash, in its order; what is broken is said and never believed."""

import contextlib
import logging
import os
import shutil
import struct
import subprocess
import threading
import time
import zlib
from typing import Any

import numpy as np
import pytest
from journals import after_a_crash, journaled, no_file_may_grow_beyond, parse, recovered
from waiting import until
from wire_rows import SCHEMA, SPEC, numbers, stream

from warmloop.data.errors import WarmloopError
from warmloop.data.transition import length
from warmloop.data.wire.row_schema import Schema
from warmloop.learner.journal import records
from warmloop.learner.journal.journal import Journal
from warmloop.learner.journal.records import Kind, segments
from warmloop.learner.journal.streams import LOST
from warmloop.learner.receiving.intake import Intake, Limits

SMALL = 2000  # bytes after which a segment ends: about forty rows


def opened(intake, actor="arm", name="s1", oldest=0):
    return intake.open(actor, name, oldest)[0].id


def fill(intake, count, first=0, each=7, name="s1", session=None):
    """Rows `first` … in pushes of `each`; returns the session."""
    session = session or opened(intake, name=name)
    for start in range(first, first + count, each):
        intake.accept(session, start, stream(min(each, first + count - start), start))
    return session


@pytest.fixture
def said(caplog):
    caplog.set_level(logging.INFO)
    return caplog


def test_rows_are_acknowledged_once_they_are_on_disk_and_a_later_learner_has_them(tmp_path):
    intake = journaled(tmp_path)
    session = fill(intake, 25)
    until(lambda: intake.touch(session).durable == 25)
    with after_a_crash(tmp_path, tmp_path.with_name("copy")) as (again, pool):
        assert pool == []
        assert numbers(again.take(1000)) == list(range(24))  # the 25th is held back
        session, progress = again.open("arm", "s1", 0)
        assert (progress.received, progress.durable) == (25, 25)
        again.accept(session.id, 25, stream(5, 25))
        assert numbers(again.take(1000)) == list(range(24, 30))
    intake.journal.close()


@pytest.mark.parametrize("position", [0, 1, 13, 24])
def test_rows_before_the_checkpoint_go_to_the_pool_under_their_numbers_and_the_others_are_learnt_from(tmp_path, position):
    intake = journaled(tmp_path, segment_bytes=SMALL)
    fill(intake, 25, each=4)
    intake.journal.close()
    again, pool = recovered(tmp_path, position)
    assert [number for number, chunk in pool] == [chunk.first for _, chunk in pool]
    assert numbers([chunk for _, chunk in pool]) == list(range(position))
    assert numbers(again.take(1000)) == list(range(position, 24))
    again.journal.close()


def test_ends_of_episodes_gaps_and_reports_are_remembered(tmp_path):
    intake = journaled(tmp_path)
    session = fill(intake, 4)
    intake.report(session, 7, {})
    intake.close(session)  # closes the episode at row 3
    session = opened(intake, oldest=20)  # 4 to 19 are nowhere any more
    fill(intake, 3, 20, session=session)
    opened(intake, name="s2")  # a newer process takes over: row 22 is the last of s1
    before = intake.take(1000)
    intake.journal.close()
    again, _ = recovered(tmp_path)
    after = again.take(1000)
    assert [(chunk.stream, chunk.first, chunk.rows.truncated.tolist()) for chunk in after] == [
        (chunk.stream, chunk.first, chunk.rows.truncated.tolist()) for chunk in before
    ]
    session, progress = again.open("arm", "s1", 0)
    assert progress.received == 23
    again.report(session.id, 7, {})
    assert again.reports() == []
    again.journal.close()


def test_a_bad_row_is_left_out_again_and_its_file_written_if_the_crash_came_first(tmp_path):
    intake, rows = journaled(tmp_path), stream(6)
    rows.reward[2] = np.nan
    intake.accept(opened(intake), 0, rows)
    intake.journal.close()
    kept = tmp_path / "quarantine" / "s1-2.npz"
    kept.unlink()
    again, _ = recovered(tmp_path)
    assert kept.exists()
    assert [int(x) for chunk in again.take(100) for x in chunk.rows.step] == [0, 1, 3, 4]
    again.journal.close()


def test_an_open_episode_is_closed_when_its_actor_does_not_come_back_after_a_restart(tmp_path):
    intake = journaled(tmp_path)
    fill(intake, 4)
    intake.journal.close()
    now = [0.0]
    again: Any = Intake(SCHEMA, clock=lambda: now[0], journal=Journal(tmp_path / "journal"))
    assert list(again.recover(0, {})) == []
    assert numbers(again.take(100)) == [0, 1, 2]
    now[0] = 31.0
    (last,) = again.take(100)
    assert last.first == 3 and last.rows.truncated.tolist() == [True]
    again.journal.close()


@pytest.mark.parametrize("background", [True, False])
def test_segments_are_deleted_only_when_all_their_rows_are_below_the_number(tmp_path, background):
    intake = journaled(tmp_path, segment_bytes=SMALL, background=background)
    fill(intake, 400, each=5)
    assert intake.journal.sync()
    before = [path for _, path in segments(tmp_path / "journal")]
    assert len(before) > 5
    starts = [parse(path.read_bytes())[0][0].released for path in before]
    intake.journal.discard(starts[3] - 1)
    assert [path for _, path in segments(tmp_path / "journal")] == before[2:]
    intake.journal.discard(starts[3])
    assert [path for _, path in segments(tmp_path / "journal")] == before[3:]
    intake.journal.discard(10**9)
    assert [path for _, path in segments(tmp_path / "journal")] == before[-1:]
    intake.journal.close()
    again, pool = recovered(tmp_path, 395, since=starts[-1])
    assert pool[0][0] == starts[-1], "the numbers go on where the kept segments begin"
    assert numbers([chunk for _, chunk in pool]) + numbers(again.take(1000)) == list(range(starts[-1], 400))
    again.journal.close()


def test_another_learner_on_the_same_journal_is_refused(tmp_path):
    intake = journaled(tmp_path)
    with pytest.raises(WarmloopError, match="another learner"):
        journaled(tmp_path)
    intake.journal.close()
    journaled(tmp_path).journal.close()


def test_a_journal_of_another_environment_is_refused(tmp_path):
    intake = journaled(tmp_path)
    fill(intake, 4)
    intake.journal.close()
    other: Any = Intake(Schema.of(SPEC, "Other-v0"), journal=Journal(tmp_path / "journal"))
    with pytest.raises(WarmloopError, match="another environment"):
        list(other.recover(0, {}))
    other.journal.close()


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A small journal of a hundred rows, and its segments."""
    folder = tmp_path_factory.mktemp("sound")
    intake = journaled(folder, segment_bytes=SMALL, background=False)
    session = fill(intake, 100, each=10)
    intake.report(session, 0, {})
    intake.journal.close()
    found = segments(folder / "journal")
    assert len(found) == 4
    return folder, [path for _, path in found]


def read_again(sound, tmp_path, place, change):
    """The journal with the content of one segment changed, and read again: the intake, and the hundred rows of the pool."""
    folder, paths = sound
    shutil.rmtree(tmp_path / "copy", ignore_errors=True)
    shutil.copytree(folder, tmp_path / "copy")
    path = tmp_path / "copy" / "journal" / paths[place].name
    path.write_bytes(change(bytearray(path.read_bytes())))
    intake, pool = recovered(tmp_path / "copy", 100)
    intake.journal.close()
    assert sum(length(chunk.rows) for _, chunk in pool) == 100, "every row has its number, or is lost"
    return intake, pool


def believed(pool):
    """The numbers of the rows that are not marked lost, checked to be what was sent."""
    rows = []
    for number, chunk in pool:
        if chunk.stream == LOST:
            assert not chunk.rows.quality.any()
            continue
        sent = stream(length(chunk.rows), chunk.first)
        np.testing.assert_array_equal(chunk.rows.observation, sent.observation)
        np.testing.assert_array_equal(chunk.rows.step, sent.step)
        assert number == chunk.first
        rows += range(chunk.first, chunk.end)
    return rows


def flipped(at):
    def change(content):
        content[at] ^= 1 << at % 8
        return content

    return change


def zeroed(at):
    def change(content):
        content[at : at + 512] = bytes(len(content[at : at + 512]))
        return content

    return change


def cut_short(at):
    return lambda content: content[:at]


def test_a_flip_of_any_byte_ends_what_is_believed_of_a_segment_before_it(sound):
    for path in sound[1]:
        content = bytearray(path.read_bytes())
        whole, end = parse(bytes(content))
        assert end == len(content)
        ends = np.cumsum([record.size for record in whole])
        for at in range(len(content)):
            content[at] ^= 1 << at % 8
            found, end = parse(bytes(content))
            content[at] ^= 1 << at % 8
            assert len(found) == np.searchsorted(ends, at, side="right") and end <= at


@pytest.mark.parametrize("change", [flipped, zeroed, cut_short])
def test_damage_anywhere_is_said_and_no_altered_row_is_believed(sound, tmp_path, change, said):
    rng = np.random.default_rng(0)
    for place, path in enumerate(sound[1]):
        size = path.stat().st_size
        for at in sorted({0, 1, 16, size - 1, *rng.integers(0, size, 12).tolist()}):
            said.clear()
            _, pool = read_again(sound, tmp_path, place, change(at))
            rows = believed(pool)
            assert rows == sorted(set(rows))
            loud = [record.message for record in said.records if record.levelno >= logging.WARNING]
            nothing_missed = change is cut_short and len(rows) == 100  # but the report's number, behind the last row
            assert nothing_missed or any("damaged" in text or "unfinished" in text or "lost" in text for text in loud), (place, at)
            if place > 0:
                assert rows[:10] == list(range(10)), "what is before the damage stays"
            if change is not cut_short and place < 3:
                assert rows[-1] == 99, "what is after the damage stays"
                assert len(rows) >= (90 if change is flipped else 70), "and only what it hit is lost"
                assert list((tmp_path / "copy" / "journal").glob("*.damaged")), "the damaged file is kept"


def test_a_flip_in_the_newest_segment_costs_one_record_and_streams_that_it_did_not_hit_lose_nothing(tmp_path, said):
    intake = journaled(tmp_path, background=False)
    a, b = opened(intake, "a", "a"), opened(intake, "b", "b")
    for first in range(0, 60, 4):
        intake.accept(a, first, stream(4, first))
        intake.accept(b, first, stream(4, first))
    before = [(chunk.stream, number) for chunk in intake.take(1000) for number in range(chunk.first, chunk.end)]
    intake.journal.close()
    ((_, path),) = segments(tmp_path / "journal")
    whole, _ = parse(path.read_bytes())
    for hit in range(1, len(whole) - 1):
        copy = tmp_path / f"copy{hit}"
        shutil.copytree(tmp_path / "journal", copy / "journal")
        content = bytearray(path.read_bytes())
        content[sum(record.size for record in whole[: hit + 1]) - 1] ^= 1
        (copy / "journal" / path.name).write_bytes(content)
        again, _ = recovered(copy)
        after = [(chunk.stream, number) for chunk in again.take(1000) for number in range(chunk.first, chunk.end)]
        again.journal.close()
        assert len(after) in (len(before), len(before) - 1), "the lost rows keep their numbers"
        kept = [row for row in after if row[0] != LOST]
        other = "b" if whole[hit].stream == "a" else "a"
        assert [row for row in kept if row[0] == other] == [row for row in before if row[0] == other]
        lost = set(before) - set(kept)
        if whole[hit].kind == Kind.OWNER:  # which says only whose stream it is
            assert not lost
            continue
        begin = whole[hit].number
        assert lost and lost <= {(whole[hit].stream, number) for number in range(begin - 1, begin + 4)}
        assert sum(1 for place, row in enumerate(after) if row[0] != LOST and before[place] != row) == 0, "nor do the others change theirs"


def test_a_missing_segment_is_said_with_the_rows_that_it_held(sound, tmp_path, said):
    folder, paths = sound
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / "journal" / paths[1].name).unlink()
    intake, pool = recovered(tmp_path / "copy", 100)
    intake.journal.close()
    lost = [chunk for _, chunk in pool if chunk.stream == LOST]
    assert len(lost) == 1 and len(believed(pool)) == 100 - length(lost[0].rows)
    assert "are missing" in said.text and f"{length(lost[0].rows)} rows of the online pool are lost" in said.text
    assert intake.statistics()["lost"] == length(lost[0].rows)


def test_lost_rows_keep_their_numbers_when_the_journal_is_read_once_more(sound, tmp_path):
    _, pool = read_again(sound, tmp_path, 1, flipped(700))
    intake, again = recovered(tmp_path / "copy", 100)
    assert believed(again) == believed(pool) and len(believed(pool)) < 100
    session, progress = intake.open("arm", "s1", 0)
    assert progress.received == 100
    intake.accept(session.id, 100, stream(10, 100))
    assert numbers(intake.take(100)) == list(range(100, 110))
    intake.journal.close()


def test_a_torn_tail_is_cut_and_writing_goes_on_after_it(sound, tmp_path, said):
    read_again(sound, tmp_path, 3, lambda content: content[:-3])
    assert "unfinished" in said.text and not list((tmp_path / "copy" / "journal").glob("*.damaged"))
    said.clear()
    intake, _ = recovered(tmp_path / "copy", 0)
    assert "unfinished" not in said.text, "it was cut from the file too"
    session, progress = intake.open("arm", "s1", 0)
    fill(intake, 130 - progress.received, progress.received, session=session.id)
    intake.journal.close()
    again, _ = recovered(tmp_path / "copy", 0)
    assert numbers(again.take(1000)) == list(range(130))
    again.journal.close()


def test_rows_cut_off_the_end_are_missed_when_their_actor_says_that_it_forgot_them(sound, tmp_path, said):
    intake, _ = read_again(sound, tmp_path, 3, cut_short(0))
    intake, _ = recovered(tmp_path / "copy", 0)
    received = intake.open("arm", "s1", 100)[1].received
    assert received == 100 and intake.statistics()["lost"] > 0 and "lost" in said.text
    intake.journal.close()


def test_a_full_disk_acknowledges_nothing_stops_the_credits_and_loses_nothing(tmp_path, said, monkeypatch):
    monkeypatch.setattr("warmloop.learner.journal.journal.RETRY_SECONDS", 0.05)
    intake = journaled(tmp_path)
    session = fill(intake, 20)
    assert intake.journal.sync()
    with no_file_may_grow_beyond(100):
        intake.accept(session, 20, stream(10, 20))  # accepted before anyone knows
        until(lambda: intake.journal.failing)
        assert not intake.journal.sync()
        time.sleep(0.2)  # a few tries
        progress = intake.accept(session, 30, stream(10, 30))
        assert (progress.received, progress.durable, progress.credits) == (30, 20, 0)
        assert numbers(intake.take(1000)) == list(range(30)), "learning goes on"
        assert intake.metrics()["journal/failing"] == 1
    until(lambda: intake.touch(session).durable == 30)
    assert said.text.count("cannot be written") == 1 and "free space" in said.text and "written again" in said.text
    fill(intake, 10, 30, session=session)
    intake.journal.close()
    said.clear()
    again, _ = recovered(tmp_path)
    assert numbers(again.take(1000)) == list(range(40))
    assert "damaged" not in said.text and "unfinished" not in said.text
    again.journal.close()


def test_a_disk_that_is_really_full_behaves_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr("warmloop.learner.journal.journal.RETRY_SECONDS", 0.05)
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here (that takes root)")
    try:
        intake = journaled(disk)
        session = fill(intake, 50)
        assert intake.journal.sync()
        ballast = disk / "ballast"
        with open(ballast, "wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(1024))
        intake.accept(session, 50, stream(500, 50))
        until(lambda: intake.journal.failing == "No space left on device")
        assert intake.touch(session).durable == 50
        ballast.unlink()
        until(lambda: intake.touch(session).durable == 550)
        intake.journal.close()
        again, _ = recovered(disk)
        assert numbers(again.take(1000)) == list(range(550))
        again.journal.close()
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_rows_written_before_a_failed_fsync_are_written_again(tmp_path, said, monkeypatch):
    monkeypatch.setattr("warmloop.learner.journal.journal.RETRY_SECONDS", 0.05)
    intake = journaled(tmp_path)
    session = fill(intake, 20)
    assert intake.journal.sync()
    reader, writer = os.pipe()  # takes what is written to it, and cannot be synced
    os.dup2(writer, intake.journal._file)
    intake.accept(session, 20, stream(10, 20))
    until(lambda: intake.journal.failing)
    assert intake.touch(session).durable == 20
    os.close(reader)
    os.close(writer)
    os.dup2(os.open(segments(tmp_path / "journal")[-1][1], os.O_WRONLY), intake.journal._file)  # the disk is back
    until(lambda: intake.touch(session).durable == 30)
    intake.journal.close()
    again, _ = recovered(tmp_path)
    assert numbers(again.take(1000)) == list(range(30))
    again.journal.close()


def test_a_slow_disk_takes_the_credits_away_so_that_memory_stays_bounded(tmp_path):
    intake = journaled(tmp_path, Limits(queue_rows=100), background=False)  # nothing is written before `sync`
    session = opened(intake)
    for first in range(0, 300, 10):
        intake.accept(session, first, stream(10, first))
        intake.take(1000)
    progress = intake.touch(session)
    assert (progress.received, progress.credits) == (100, 0)
    intake.journal.sync()
    assert (intake.touch(session).durable, intake.touch(session).credits) == (100, 100)
    intake.journal.close()


def test_control_calls_are_answered_at_once_while_rows_pour_in(tmp_path):
    intake = journaled(tmp_path, Limits(actors=9))
    sessions = [opened(intake, f"arm{n}", f"s{n}") for n in range(8)]
    quiet, over = opened(intake, "quiet", "s8"), threading.Event()

    def pour(session):
        first = 0
        while not over.is_set():
            intake.accept(session, first, stream(64, first))
            first += 64
            intake.take(64)

    threads = [threading.Thread(target=pour, args=(session,)) for session in sessions]
    for thread in threads:
        thread.start()
    delays = []
    for _ in range(50):
        began = time.monotonic()
        intake.touch(quiet)
        delays.append(time.monotonic() - began)
        time.sleep(0.005)
    over.set()
    for thread in threads:
        thread.join()
    intake.journal.close()
    assert np.median(delays) < 1.0  # nine threads share what a busy machine leaves


def test_a_record_of_a_newer_version_is_a_sentence(tmp_path):
    intake = journaled(tmp_path)
    fill(intake, 5)
    intake.journal.close()
    ((_, path),) = segments(tmp_path / "journal")
    body = records.BODY.pack(99, 0, 0, 0, 0, 4)
    head = struct.pack("<4sII", b"wlj1", len(body), zlib.crc32(body, len(body)))
    path.write_bytes(path.read_bytes() + head + body)
    with pytest.raises(WarmloopError, match="a record of kind 99, which this version of warmloop does not know"):
        recovered(tmp_path)
