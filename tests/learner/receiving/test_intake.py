"""The intake: rows exactly once and in order, episodes closed where an actor left, bad rows kept out."""

import json

import numpy as np
import pytest
from wire_rows import EPISODE, SCHEMA, joined, numbers, stream

from warmloop.data.errors import WarmloopError
from warmloop.data.transition import length, take
from warmloop.learner.receiving.intake import Intake, Limits
from warmloop.learner.receiving.sessions import Fenced, UnknownSession


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def intake(clock, tmp_path):
    return Intake(SCHEMA, tmp_path / "quarantine", Limits(queue_rows=100, lease_seconds=30.0, actors=2), clock)


def opened(intake, actor="arm", name="s1", oldest=0):
    return intake.open(actor, name, oldest)[0].id


def test_rows_come_out_once_and_in_order(intake):
    session = opened(intake)
    for first, count in ((0, 7), (7, 5), (12, 8)):
        assert intake.accept(session, first, stream(count, first)).received == first + count
    assert numbers(intake.take(1000)) == list(range(20))
    assert intake.take(1000) == []


def test_neighbouring_rows_of_a_stream_come_as_one_chunk_up_to_the_rows_asked_for(intake):
    session = opened(intake)
    for first in range(0, 20, 4):
        intake.accept(session, first, stream(4, first))
    chunks = intake.take(14)
    assert [(chunk.first, length(chunk.rows)) for chunk in chunks] == [(0, 14)]
    assert numbers(intake.take(14)) == list(range(14, 20))


def test_rows_sent_again_are_dropped_and_acknowledged(intake):
    session = opened(intake)
    intake.accept(session, 0, stream(10))
    assert intake.accept(session, 0, stream(10)).received == 10
    assert intake.accept(session, 5, stream(15, 5)).received == 20  # overlaps by five
    assert numbers(intake.take(1000)) == list(range(20))
    assert intake.statistics()["duplicates"] == 15


def test_a_gap_is_answered_with_the_expected_number_and_nothing_is_taken(intake):
    session = opened(intake)
    intake.accept(session, 0, stream(10))
    assert intake.accept(session, 11, stream(9, 11)).received == 10
    assert numbers(intake.take(1000)) == list(range(10))
    assert intake.statistics()["gaps"] == 1


def test_a_full_queue_takes_nothing_until_the_loop_has_taken(intake):
    session = opened(intake)
    assert intake.accept(session, 0, stream(100)).credits == 0
    progress = intake.accept(session, 100, stream(10, 100))
    assert (progress.received, progress.credits) == (100, 0)
    intake.take(60)
    assert intake.accept(session, 100, stream(10, 100)).received == 110


def test_the_newest_row_of_an_unfinished_episode_is_held_back(intake):
    session = opened(intake)
    assert intake.accept(session, 0, stream(4)).received == 4
    assert numbers(intake.take(1000)) == [0, 1, 2]
    intake.accept(session, 4, stream(1, 4))
    assert numbers(intake.take(1000)) == [3]


@pytest.mark.parametrize("ended", ["truncated", "terminated"])
def test_the_last_row_of_an_episode_is_not_held_back(intake, ended):
    rows = stream(4)
    last = np.arange(4) == 3
    rows = rows.replace(truncated=last) if ended == "truncated" else rows.replace(mask=1 - last.astype(np.float32))
    intake.accept(opened(intake), 0, rows)
    taken = joined(intake.take(1000))
    assert length(taken) == 4
    assert bool(taken.truncated[-1]) == (ended == "truncated")


def leave(intake, clock, session):
    intake.close(session)


def vanish(intake, clock, session):
    clock.now += 31.0


def be_replaced(intake, clock, session):
    intake.open("arm", "s2", 0)


@pytest.mark.parametrize("end", [leave, vanish, be_replaced])
def test_an_open_episode_is_closed_as_truncated_with_its_bootstrap_when_its_actor_is_gone(intake, clock, end):
    session = opened(intake)
    intake.accept(session, 0, stream(4))
    end(intake, clock, session)
    taken = joined(intake.take(1000))
    assert taken.truncated.tolist() == [False, False, False, True]
    assert taken.mask.tolist() == [1, 1, 1, 1]
    assert intake.statistics()["cut"] == 1


def test_any_call_renews_the_lease(intake, clock):
    session = opened(intake)
    intake.accept(session, 0, stream(4))
    for _ in range(5):
        clock.now += 20.0
        intake.touch(session)
    assert numbers(intake.take(1000)) == [0, 1, 2]


def test_an_expired_session_must_say_hello_again_and_goes_on_where_it_was(intake, clock):
    session = opened(intake)
    intake.accept(session, 0, stream(4))
    clock.now += 31.0
    with pytest.raises(UnknownSession):
        intake.accept(session, 4, stream(2, 4))
    session, progress = intake.open("arm", "s1", 0)
    assert progress.received == 4
    intake.accept(session.id, 4, stream(6, 4))
    taken = joined(intake.take(1000))
    assert np.flatnonzero(taken.truncated).tolist() == [3, 9]
    assert taken.observation[:, 0].tolist() == list(range(10))


def test_a_newer_session_of_the_same_actor_fences_the_older(intake):
    old = opened(intake, "arm", "s1")
    new = opened(intake, "arm", "s2")
    with pytest.raises(Fenced, match='"arm"'):
        intake.accept(old, 0, stream(1))
    assert intake.accept(new, 0, stream(1)).received == 1


def test_an_actor_whose_lease_ran_out_cannot_come_back_over_its_successor(intake, clock):
    old = opened(intake, "arm", "s1")
    clock.now += 31.0
    opened(intake, "arm", "s2")
    with pytest.raises(Fenced):
        intake.touch(old)


def test_a_reconnect_with_the_same_stream_does_not_cut_the_episode(intake):
    intake.accept(opened(intake), 0, stream(4))
    intake.accept(opened(intake), 4, stream(6, 4))
    assert np.flatnonzero(joined(intake.take(1000)).truncated).tolist() == [9]


def test_one_actor_too_many_is_refused_until_another_is_gone(intake, clock):
    opened(intake, "a", "s1")
    opened(intake, "b", "s2")
    with pytest.raises(WarmloopError, match="2 actors"):
        opened(intake, "c", "s3")
    clock.now += 31.0
    assert opened(intake, "c", "s3")


def test_two_actors_cannot_send_one_stream(intake):
    opened(intake, "a", "s1")
    with pytest.raises(WarmloopError, match="its own stream"):
        opened(intake, "b", "s1")


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "x" * 65, "line\nbreak"])
def test_names_that_could_not_be_file_names_are_refused(intake, name):
    with pytest.raises(WarmloopError, match="not usable"):
        intake.open("arm", name, 0)
    with pytest.raises(WarmloopError, match="not usable"):
        intake.open(name, "s1", 0)


def spoil_observation(rows, i):
    rows.observation[i, 1] = np.nan


def spoil_next_observation(rows, i):
    rows.next_observation[i, 0] = np.inf


def spoil_reward(rows, i):
    rows.reward[i] = -np.inf


def spoil_action(rows, i):
    rows.action[i, 0] = 1.01


@pytest.mark.parametrize("spoil", [spoil_observation, spoil_next_observation, spoil_reward, spoil_action])
@pytest.mark.parametrize("pushes", [(6,), (2, 4), (3, 3), (1, 1, 1, 1, 1, 1)])
def test_a_bad_row_is_quarantined_and_the_episode_cut_before_it(intake, tmp_path, spoil, pushes):
    rows = stream(6)
    spoil(rows, 2)
    session, first = opened(intake), 0
    for count in pushes:
        assert intake.accept(session, first, take(rows, slice(first, first + count))).received == first + count
        first += count
    taken = joined(intake.take(1000))
    assert taken.observation[:, 0].tolist() == [0, 1, 3, 4]
    assert taken.truncated.tolist() == [False, True, False, False]
    assert intake.statistics()["quarantined"] == 1
    with np.load(tmp_path / "quarantine" / "s1-2.npz", allow_pickle=False) as kept:
        assert kept["number"].tolist() == [2]
        assert "not finite" in kept["reason"][0] or "outside" in kept["reason"][0]
        assert kept["step"].tolist() == [2]


def test_an_unknown_return_is_not_a_fault_but_nan_is(intake):
    rows = stream(10)
    rows.mc_return[:] = -np.inf
    rows.mc_return[9] = np.nan
    intake.accept(opened(intake), 0, rows)
    assert numbers(intake.take(1000)) == list(range(9))


def test_a_quarantine_that_cannot_be_written_does_not_stop_the_stream(tmp_path, caplog):
    blocked = tmp_path / "quarantine"
    blocked.write_text("a file where the folder should be")
    intake, rows = Intake(SCHEMA, blocked), stream(10)
    rows.reward[0] = np.nan
    assert intake.accept(opened(intake), 0, rows).received == 10
    assert "could not be written" in caplog.text


@pytest.mark.parametrize("steps", [[0, 1, 2, 3, 0, 1, 2, 3], list(range(8))], ids=["steps begin anew", "steps go on"])
@pytest.mark.parametrize("pushes", [(8,), (4, 4)])
def test_a_new_episode_without_an_end_of_the_old_one_is_not_spliced_onto_it(intake, steps, pushes):
    rows = stream(8).replace(episode=np.repeat([0, 1], 4).astype(np.int32), step=np.asarray(steps, np.int32))
    session, first = opened(intake), 0
    for count in pushes:
        intake.accept(session, first, take(rows, slice(first, first + count)))
        first += count
    assert np.flatnonzero(joined(intake.take(1000)).truncated).tolist() == [3]


def test_rows_that_no_one_holds_any_more_are_counted_as_lost(intake, caplog):
    intake.accept(opened(intake), 0, stream(4))
    session, progress = intake.open("arm", "s1", 50)
    assert progress.received == 50
    assert intake.statistics()["lost"] == 46
    assert "46 rows" in caplog.text
    intake.accept(session.id, 50, stream(10, 50))
    taken = joined(intake.take(1000))
    assert taken.observation[:, 0].tolist() == [0, 1, 2, 3, *range(50, 60)]
    assert np.flatnonzero(taken.truncated).tolist() == [3, 13]


def test_a_checkpoint_covers_what_was_taken_and_no_more(intake):
    session = opened(intake)
    intake.accept(session, 0, stream(25))
    intake.take(7)
    state = json.loads(json.dumps(intake.state()))
    assert state == {"s1": 7}
    assert intake.touch(session).durable == 0
    intake.take(1000)
    assert intake.state() == {"s1": 24}  # the 25th is held back
    intake.mark_durable(state)
    assert intake.touch(session).durable == 7


def test_a_restored_learner_expects_what_its_checkpoint_does_not_cover(intake):
    session = opened(intake)
    intake.accept(session, 0, stream(25))
    first = numbers(intake.take(13))
    again = Intake(SCHEMA)
    again.restore(intake.state())
    session, progress = again.open("arm", "s1", 0)
    assert (progress.received, progress.durable) == (13, 13)
    again.accept(session.id, 13, stream(27, 13))
    assert first + numbers(again.take(1000)) == list(range(40))


def test_reports_come_once_in_order_with_their_actors_name(intake):
    session = opened(intake)
    for number in (0, 1, 1, 0, 2):
        intake.report(session, number, {"actor/episode_return": float(number)})
    assert [(report.actor, report.scalars["actor/episode_return"]) for report in intake.reports()] == [("arm", 0), ("arm", 1), ("arm", 2)]
    assert intake.reports() == []


def test_waiting_ends_when_rows_come_and_not_before(intake):
    assert not intake.wait(0.01)
    intake.accept(opened(intake), 0, stream(EPISODE))
    assert intake.wait(0.0)
