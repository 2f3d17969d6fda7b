"""What can go wrong with a machine: full disks, slow disks, a clock that is set. The faults are put in by helpers/faults.c."""

import time

import pytest
from actors import Actor, ActorProcess
from learners import finish, resident_bytes
from waiting import until

from warmloop.data.wire import MIB


@pytest.mark.long
def test_without_room_for_the_journal_nothing_is_acknowledged_and_one_line_says_so(learner, faults, tmp_path):
    process = learner(environment=faults.environment)
    actor = Actor(process.port, 0, tmp_path / "spool")
    until(lambda: actor.acknowledged > 100)
    faults.fill(process.folder / "journal")
    time.sleep(3.0)
    assert process.stored_rows() >= actor.acknowledged, "what is acknowledged is on disk"
    before = actor.acknowledged
    until(lambda: actor.end > before + 100)
    assert actor.acknowledged == before
    faults.fill(None)
    until(lambda: actor.acknowledged > before + 100)
    said = [line for line in process.log().splitlines() if "ERROR" in line]
    assert len(said) == 1 and "No space left" in said[0] and "free space" in said[0]
    finish(process, actor)


@pytest.mark.fault
def test_a_learner_killed_while_its_journal_had_no_room_has_lost_nothing(learner, faults, tmp_path):
    process = learner(environment=faults.environment)
    actor = Actor(process.port, 0, tmp_path / "spool")
    until(lambda: actor.acknowledged > 100)
    faults.fill(process.folder / "journal")
    time.sleep(1.5)
    process.kill()
    faults.fill(None)
    process.start()
    finish(process, actor)


@pytest.mark.fault
def test_an_actor_whose_spool_has_no_room_keeps_its_rows_and_goes_on_when_it_has(learner, faults, tmp_path):
    process = learner()
    actor = ActorProcess(process.port, 0, tmp_path / "actor", environment=faults.environment)
    until(lambda: actor.acknowledged > 100)
    faults.fill(tmp_path / "actor" / "spool")
    until(lambda: "cannot be written" in actor.log())
    time.sleep(2.0)
    assert actor.process.poll() is None
    faults.fill(None)
    before = actor.acknowledged
    until(lambda: actor.acknowledged > before + 100)
    assert actor.log().count("free space there") == 1
    finish(process, actor)


@pytest.mark.fault
def test_a_slow_disk_delays_acknowledgements_and_not_the_loop_and_memory_is_bounded(learner, faults, tmp_path):
    process = learner("--queue=20000", environment=faults.environment)
    actors = [Actor(process.port, number, tmp_path / f"spool-{number}", rate=1_000) for number in (0, 1)]
    until(lambda: all(actor.acknowledged > 1_000 for actor in actors))
    before = resident_bytes(process.pid)
    faults.set(fsync=2.0)
    time.sleep(20.0)
    assert resident_bytes(process.pid) - before < 64 * MIB
    assert all(actor.end > 15_000 for actor in actors)
    faults.set(fsync=0.0)
    finish(process, *actors)


@pytest.mark.fault
@pytest.mark.parametrize("hours", [1.0, -1.0], ids=["ahead", "back"])
@pytest.mark.parametrize("whose", ["learner", "actor"])
def test_a_clock_that_is_set_by_an_hour_changes_nothing(hours, whose, learner, faults, tmp_path):
    process = learner("--lease=5", environment=faults.environment if whose == "learner" else None)
    actor = ActorProcess(process.port, 0, tmp_path / "spool", environment=faults.environment if whose == "actor" else None)
    until(lambda: actor.acknowledged > 100)
    faults.set(clock=3600 * hours)
    before = actor.acknowledged
    until(lambda: actor.acknowledged > before + 400)
    assert "counts as gone" not in process.log() and "Waiting for the learner" not in actor.log()
    finish(process, actor)
