"""kill -9 of learners and actors: what was acknowledged is in the pool, once, in order and unaltered; and so is all else in the end."""

import os
import time

import pytest
from actors import Actor, ActorProcess
from learners import finish
from marked_rows import CAMERA
from proxy import Proxy
from waiting import until

SMALL = ("--save-every=50", "--segment=65536", "--ring=2000", "--lease=5")


def kill_repeatedly(process, kills, chance):
    """Kills a learner at random points: within a save, while it serves, and while it starts. Returns how many saves were interrupted."""
    interrupted = 0
    for kill in range(kills):
        kind = ("save", "serving", "start")[kill % 3]
        if kind == "save":
            until(lambda: list((process.folder / "checkpoints").glob("*.partial")), 60, "no save began")
        else:
            time.sleep(chance.uniform(0.0, 4.0 if kind == "start" else 1.2))
        process.kill()
        for partial in (process.folder / "checkpoints").glob("*.partial"):
            partial.unlink()
            interrupted += 1
        process.start(wait=kind != "serving")  # the kill after the next is then of one that may still be starting
    process.wait_until_ready()
    return interrupted


@pytest.mark.long
@pytest.mark.parametrize("kills", [2, pytest.param(30, marks=pytest.mark.fault)])
def test_what_a_killed_learner_acknowledged_was_inserted_exactly_once(kills, tmp_path, learner, chance):
    process = learner(*SMALL)
    actors = [Actor(process.port, number, tmp_path / f"spool-{number}", rate=300) for number in (0, 1)]
    until(lambda: all(actor.acknowledged for actor in actors))
    interrupted = kill_repeatedly(process, kills, chance)
    ends = finish(process, *actors)
    print(f"{kills} kills, {interrupted} of them within a save; {ends} rows of the actors")
    assert len(list((process.folder / "checkpoints").glob("*.json"))) == 2


@pytest.mark.fault
def test_rows_in_the_journal_whose_acknowledgement_was_lost_with_the_learner_are_not_inserted_again(tmp_path, learner):
    process = learner()
    with Proxy(process.port) as proxy:
        actor = Actor(proxy.port, 0, tmp_path / "spool", rate=300)
        until(lambda: actor.acknowledged > 100)
        proxy.hold_answers()
        time.sleep(0.5)  # in which what is under way reaches the journal, and no word of it the actor
        process.kill()
        unheard = process.stored_rows() - actor.acknowledged
        assert unheard > 0
        proxy.cut()
        process.start()
        proxy.resume()
        finish(process, actor)


@pytest.mark.fault
def test_rows_that_a_killed_learner_had_received_but_not_stored_are_sent_again(tmp_path, learner, faults):
    process = learner(environment=faults.environment)
    actor = Actor(process.port, 0, tmp_path / "spool", rate=300)
    until(lambda: actor.acknowledged > 100)
    faults.set(fsync=5.0)
    time.sleep(1.0)
    acknowledged = actor.acknowledged
    process.kill()
    assert actor.end > acknowledged + 100, "the actor went on while the disk was slow"
    faults.set(fsync=0.0)
    process.start()
    finish(process, actor)


@pytest.mark.fault
def test_an_actor_killed_within_its_episodes_goes_on_where_its_spool_ends(tmp_path, learner, chance):
    process = learner(*SMALL)
    actor = ActorProcess(process.port, 0, tmp_path / "spool", rate=300)
    for _ in range(5):
        before = actor.end
        until(lambda before=before: actor.end > before + 100)
        time.sleep(chance.uniform(0.0, 1.0))
        actor.kill()
        acknowledged = actor.acknowledged
        time.sleep(chance.choice((0.0, 6.0)))  # 6 s: the lease runs out
        actor.start()
        until(lambda acknowledged=acknowledged: actor.acknowledged > acknowledged)
    finish(process, actor)
    assert actor.log().count("rows of an earlier process") <= 5


@pytest.mark.fault
@pytest.mark.parametrize("more", [{}, CAMERA], ids=["states", "camera"])
def test_learner_and_actors_killed_in_any_order_lose_and_double_nothing(more, tmp_path, learner, chance):
    environment = os.environ | more
    process = learner(*SMALL, environment=environment)
    actors = [ActorProcess(process.port, number, tmp_path / f"spool-{number}", rate=200, environment=environment) for number in (0, 1)]
    for _ in range(12):
        time.sleep(chance.uniform(0.2, 3.0))
        victims = chance.sample([process, *actors], chance.randint(1, 3))
        for victim in victims:
            victim.kill()
        for victim in chance.sample(victims, len(victims)):
            time.sleep(chance.uniform(0.0, 1.0))
            victim.start()
    ends = finish(process, *actors)
    assert min(ends.values()) > 200
