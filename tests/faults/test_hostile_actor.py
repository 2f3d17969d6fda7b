"""One actor that means harm beside two honest ones: every honest row is acknowledged, once and unaltered, in time; and the machine's room
stays bounded."""

import signal
import time
from pathlib import Path

import learners
import numpy as np
import pytest
from actors import Actor
from hostile import Hostile
from learners import SCRIPT, assert_each_once, finish, resident_bytes
from secrets_folder import make_credentials
from waiting import until

from warmloop.data.running.threads import DIED
from warmloop.data.wire import MIB


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def attacked(process, actors, seconds, seed, secrets=None):
    """Attacks a learner for some seconds; returns the longest that a honest row stayed unacknowledged, and the attacks by name."""
    hostile, waits, deadline = Hostile(process.port, seed, secrets), [0.0], time.monotonic() + seconds
    marks = {actor.number: (time.monotonic(), actor.end) for actor in actors}
    while time.monotonic() < deadline:
        for actor in actors:
            assert actor.failure is None, actor.failure
            since, end = marks[actor.number]
            if actor.acknowledged >= end:
                marks[actor.number] = (time.monotonic(), actor.end)
            waits.append(time.monotonic() - since)
        time.sleep(0.05)
    hostile.stop()
    return max(waits), hostile.done


@pytest.mark.fault
@pytest.mark.parametrize("secured", [False, True])
@pytest.mark.parametrize("seconds", [8, pytest.param(90, marks=pytest.mark.fault)])
def test_every_honest_row_is_acknowledged_while_a_hostile_actor_does_what_it_can(tmp_path, learner, chance, seconds, secured):
    secrets = make_credentials(tmp_path / "credentials", "actor-0", "actor-1", "mallory") if secured else None
    process = learner("--save-every=2000", "--ring=20000", "--segment=1000000", *([f"--credentials={secrets}"] if secrets else []))
    actors = [Actor(process.port, number, tmp_path / f"spool-{number}", rate=100, secrets=secrets) for number in (0, 1)]
    until(lambda: all(actor.acknowledged for actor in actors))
    attacked(process, actors, seconds / 3, chance.randrange(10**6), secrets)  # threads keep what their largest message took
    memory, disk = resident_bytes(process.pid), size_of(process.folder)
    longest, done = attacked(process, actors, seconds, chance.randrange(10**6), secrets)
    grown = resident_bytes(process.pid) - memory
    written = size_of(process.folder) - disk
    print(f"{sum(done.values())} attacks {dict(done)}; honest rows waited {longest:.1f} s at most; memory {grown / MIB:+.1f} MiB, "
          f"disk {written / MIB:+.1f} MiB")  # fmt: skip
    ends = {actor.number: actor.finish() for actor in actors}
    process.stop()
    assert_each_once(process.pool(), ends)
    assert min(ends.values()) > 50 * seconds and "Traceback" not in process.log()
    assert longest < 15.0  # of a busy machine
    assert memory + grown < 900 * MIB  # 32 threads for actors without tokens, each of which keeps the room of its largest message
    assert written < 40 * MIB + 200_000 * seconds
    assert len(process.log()) < 200_000 and "Exception calling application" not in process.log()


@pytest.mark.fault
def test_a_learner_that_was_stopped_for_longer_than_a_lease_keeps_its_actors_sessions(tmp_path, learner):
    process = learner("--lease=10")
    actors = [Actor(process.port, number, tmp_path / f"spool-{number}", rate=50) for number in (0, 1)]
    until(lambda: all(actor.acknowledged for actor in actors))
    process.process.send_signal(signal.SIGSTOP)
    time.sleep(25.0)
    process.process.send_signal(signal.SIGCONT)
    before = [actor.acknowledged for actor in actors]
    until(lambda: all(actor.acknowledged > start + 100 for actor, start in zip(actors, before, strict=True)))
    finish(process, *actors)
    assert "did not run for" in process.log() and "counts as gone" not in process.log()


BROKEN = """
import warmloop.learner.journal.journal as journal
def die(self, batch):
    raise OverflowError("as a number near 2**63 once did")
journal.Journal._write = die
import sys
sys.path.insert(0, {helpers!r})
import learner_process
learner_process.main()
"""


@pytest.mark.fault
def test_a_learner_whose_journal_thread_dies_ends_loudly_and_its_successor_has_every_row(tmp_path, learner, monkeypatch):
    process = learner()
    actor = Actor(process.port, 0, tmp_path / "spool", rate=100)
    until(lambda: actor.acknowledged > 50)
    process.kill()
    broken = tmp_path / "broken.py"
    broken.write_text(BROKEN.format(helpers=str(SCRIPT.parent)))
    monkeypatch.setattr(learners, "SCRIPT", broken)
    process.start(wait=False)
    assert process.process.wait(120) == DIED
    assert 'The thread "journal", which writes the journal, died: OverflowError' in process.log()
    monkeypatch.undo()
    process.start()
    end = actor.finish()
    process.stop()
    numbers = process.pool()["number"]
    assert np.array_equal(numbers, np.arange(end))
