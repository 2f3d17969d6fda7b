"""A person's words at the operator's page reach the episodes by the rules of a key."""

import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
from hands import LINE, STEPS, LockStep, Told
from looking import PATIENCE, Look
from waiting import until

from warmloop.actor.config import ActorConfig
from warmloop.actor.environment.environment import EnvironmentConfig
from warmloop.actor.intervention import Command
from warmloop.actor.intervention.intervention import Signal
from warmloop.actor.operating.actor_desk import ActorDesk, is_picture
from warmloop.actor.watchdog import Watchdog
from warmloop.data.desk.desk import Desk
from warmloop.data.errors import WarmloopError
from warmloop.data.wire.episode_report import LENGTH, NUMBER, OUTCOME, OUTCOMES

HOLD = ActorConfig(hold_episodes=True)


def say(desk: ActorDesk, word: str, viewer: str = "tablet", **values) -> str:
    return desk.hear(word, values, viewer)


def steps_with(run: LockStep, words: dict[int, str], desk: ActorDesk, episodes: int = 1) -> tuple[list, list[dict]]:
    """Runs episodes, and says words after so many steps; the rows and the reports."""
    steps, rows, ended, count = run.loop.steps(), [], 0, 0
    while ended < episodes:
        next(steps)
        count += 1
        if count in words:
            assert say(desk, words[count]) == ""
        ended += run.loop.at_boundary
        rows += [chunk.rows for chunk in run.intake.take(10_000)]
    steps.close()
    return run.split(rows), [dict(report.scalars) for report in run.intake.reports()]


@pytest.mark.parametrize(("word", "outcome", "success"), [("success", "success", 1.0), ("failure", "failure", 0.0)])
def test_a_word_ends_the_episode_with_the_step_that_is_taken_next(word, outcome, success):
    desk = ActorDesk()
    rows, reports = steps_with(LockStep(desk=desk), {3: word}, desk)
    assert len(rows[0].reward) == 4
    assert reports[0]["actor/success_rate"] == success
    assert OUTCOMES[int(reports[0][OUTCOME])] == outcome and reports[0][NUMBER] == 0 and reports[0][LENGTH] == 4
    last = desk.show()["last"]
    assert (last["episode"], last["outcome"], last["signal"]) == (0, outcome, word)


@pytest.mark.parametrize(("word", "outcome", "number"), [("discard", "discarded", 1), ("rerecord", "recorded again", 0)])
def test_an_episode_that_is_dropped_is_told_and_its_rows_are_not(word, outcome, number):
    desk = ActorDesk()
    run = LockStep(config=HOLD, desk=desk)
    rows, reports = steps_with(run, {3: word}, desk)
    assert rows == [] and run.loop.episode == number
    assert reports == [{NUMBER: 0.0, OUTCOME: float(OUTCOMES.index(outcome)), LENGTH: 4.0}]


def test_what_cannot_be_dropped_is_refused_in_words():
    desk = ActorDesk()
    run = LockStep(desk=desk)
    next(steps := run.loop.steps())
    assert "hold_episodes" in say(desk, "discard") and "hold_episodes" in desk.show()["takes"]["rerecord"]
    steps.close()


def test_a_word_between_two_episodes_is_refused_and_reaches_neither():
    desk = ActorDesk()
    run = LockStep(desk=desk)
    steps = run.loop.steps()
    for _ in range(STEPS):
        next(steps)
    assert run.loop.at_boundary
    assert "No training episode" in say(desk, "success")
    for _ in range(STEPS):
        next(steps)
    assert run.loop.at_boundary and desk.show()["last"]["outcome"] == "no success"
    steps.close()


def test_what_was_said_before_an_episode_began_does_not_count_like_a_key():
    desk = ActorDesk()
    desk.words.signal(Signal.SUCCESS, "tablet")
    rows, _ = steps_with(LockStep(desk=desk), {}, desk)
    assert len(rows[0].reward) == STEPS


def test_the_last_of_several_words_counts_and_those_of_a_viewer_who_is_gone_do_not():
    desk = ActorDesk()
    for signal, viewer in ((Signal.FAILURE, "phone"), (Signal.SUCCESS, "tablet")):
        desk.words.signal(signal, viewer)
    assert desk.words.take() is Signal.SUCCESS and desk.words.take() is None
    for signal, viewer in ((Signal.FAILURE, "phone"), (Signal.SUCCESS, "tablet")):
        desk.words.signal(signal, viewer)
    desk.lost("tablet")
    assert desk.words.take() is Signal.FAILURE


def test_the_page_never_acts_and_whoever_takes_over_at_the_robot_still_does():
    desk, hand = ActorDesk(), Told({1: Command(np.array([0.5, 0.0], np.float32)), 4: Command(None, Signal.FAILURE)})
    rows, reports = steps_with(LockStep(intervener=hand, desk=desk), {4: "success"}, desk)
    assert rows[0].intervened.tolist() == [False, True, False, False, False]
    assert reports[0]["actor/success_rate"] == 0.0, "the word at the robot comes first"


def in_background(run: LockStep):
    """Runs the loop on a thread of its own until it is told to stop."""

    def loop():
        for _ in run.loop.steps():
            time.sleep(0.001)

    thread = threading.Thread(target=loop)
    thread.start()
    return thread


def test_a_pause_comes_after_the_episode_and_outlives_the_page_and_resume_ends_it():
    desk = ActorDesk()
    run = LockStep(desk=desk)
    thread = in_background(run)
    try:
        until(lambda: desk.doing == "acting")
        assert say(desk, "pause") == ""
        until(lambda: desk.doing == "paused")
        steps, _ = run.loop.steps_taken, desk.lost("tablet")
        assert steps % STEPS == 0
        time.sleep(0.1)
        assert run.loop.steps_taken == steps and desk.show()["pause"]
        assert say(desk, "resume", "phone") == ""
        until(lambda: run.loop.steps_taken > steps)
    finally:
        run.client.stop()
        thread.join(PATIENCE)


def test_a_paused_actor_leaves_when_it_is_stopped():
    desk = ActorDesk()
    run = LockStep(desk=desk)
    desk.stop = run.client.stop
    say(desk, "pause")
    thread = in_background(run)
    until(lambda: desk.doing == "paused")
    assert say(desk, "stop") == ""
    thread.join(PATIENCE)
    assert not thread.is_alive() and run.loop.steps_taken == 0


def test_an_evaluation_is_of_as_many_episodes_as_were_asked_for_and_none_of_a_lost_page():
    desk = ActorDesk()
    run = LockStep(desk=desk)
    assert say(desk, "evaluate", episodes=3) == "" and desk.show()["evaluation"] == 3
    desk.lost("tablet")
    assert desk.show()["evaluation"] == 0
    assert say(desk, "evaluate", episodes=2) == ""
    _, reports = steps_with(run, {}, desk)
    assert [report["evaluation/episodes"] for report in reports if "evaluation/episodes" in report] == [2.0]


@pytest.mark.parametrize("episodes", [0, 501, "3", None, True, 2.5])
def test_an_evaluation_of_no_sensible_size_is_refused(episodes):
    desk = ActorDesk()
    LockStep(desk=desk)
    assert "1 to 500 episodes" in say(desk, "evaluate", episodes=episodes)


def test_an_evaluation_that_no_person_hears_is_refused_where_only_a_person_tells_success():
    desk = ActorDesk()
    LockStep(environment=EnvironmentConfig(LINE, success="operator"), desk=desk)
    assert "a person" in say(desk, "evaluate", episodes=2)


def test_a_run_without_the_page_has_no_person_at_it():
    run = LockStep()
    assert run.loop._control._intervener is None


def test_a_word_over_the_desks_socket_ends_the_episode(tmp_path):
    desk = ActorDesk()
    run = LockStep(desk=desk, settings={"terminates_at": 10**9})
    with Desk(tmp_path, "actor-0", desk):
        look = Look(tmp_path, "actor-0")
        thread = in_background(run)
        try:
            until(lambda: desk.doing == "acting")
            while (refused := look.say("success")) and "No training episode" in refused:
                pass
            until(lambda: any(dict(report.scalars).get("actor/success_rate") == 1.0 for report in run.intake.reports()))
        finally:
            run.client.stop()
            thread.join(PATIENCE)


def test_late_steps_are_counted_where_the_environment_tells_them_by_true_alone():
    desk = ActorDesk()
    steps_with(
        LockStep(settings={"said": {1: {"late": True}, 2: {"late": np.True_}, 3: {"late": 0.4}, 4: {"late": np.zeros(3)}}}, desk=desk),
        {},
        desk,
    )
    assert desk.show()["late"] == 2


def test_what_is_a_picture():
    assert is_picture(np.zeros((8, 8, 3), np.uint8)) and is_picture(np.zeros((2, 8, 8, 1), np.uint8))
    assert not is_picture(np.zeros((8, 8, 3), np.float32)) and not is_picture(np.zeros((8, 8), np.uint8)) and not is_picture([1])


def test_a_pause_that_a_person_wanted_makes_no_weights_stale():
    client = SimpleNamespace(interrupted=False, newest_version=3, weights_age=400.0)
    watchdog = Watchdog(client, ActorConfig(max_weights_age=300.0))
    with pytest.raises(WarmloopError, match="No new weights have come for 400 s"):
        watchdog.check(3)
    watchdog.stood(60.0)
    watchdog.stood(60.0)
    watchdog.check(3)
    client.newest_version = 4
    with pytest.raises(WarmloopError, match="No new weights"):
        watchdog.check(4)
