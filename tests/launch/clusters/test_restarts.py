"""Which end of a process is followed by which start."""

import pytest

from warmloop.launch.clusters.cluster_spec import Part
from warmloop.launch.clusters.restarts import LOST, WAITS, RestartRule
from warmloop.launch.starting.processes import RESTART_WINDOW, RESTARTS

LEARNER, SIMULATOR, ROBOT = Part("learner", "learner", ()), Part("sim", "actor", ()), Part("left", "actor", (), asks=True)


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.mark.parametrize("part", [LEARNER, SIMULATOR, ROBOT])
def test_what_has_done_its_work_is_not_started_again(part):
    assert RestartRule(part).after(0, 1.0).kind == "done"


@pytest.mark.parametrize("part", [LEARNER, SIMULATOR])
def test_failures_in_a_row_wait_longer_each_time_and_then_end_it(part):
    rule = RestartRule(part, Clock())
    following = [rule.after(-9, 1000.0) for _ in range(RESTARTS + 1)]
    assert [one.kind for one in following] == ["again"] * RESTARTS + ["gave up"]
    assert [one.seconds for one in following[:-1]] == list(WAITS[:RESTARTS])
    rule.forget()
    assert rule.after(-9, 1.0).seconds == WAITS[0]


def test_failures_of_long_ago_do_not_count():
    clock = Clock()
    rule = RestartRule(SIMULATOR, clock)
    for number in range(50):
        clock.now = number * RESTART_WINDOW / RESTARTS
        assert rule.after(1, 1.0).kind == "again"


def test_lost_nodes_are_nobodys_failure():
    rule = RestartRule(SIMULATOR, Clock())
    assert {rule.after(LOST, 1.0).kind for _ in range(50)} == {"again"}


def test_a_first_start_that_ends_with_a_sentence_is_a_mistake_and_a_later_one_a_failure():
    assert RestartRule(LEARNER).after(2, 5.0).kind == "gave up"
    assert RestartRule(SIMULATOR).after(2, 300.0).kind == "again"
    rule = RestartRule(SIMULATOR)
    rule.after(-9, 5.0)
    assert rule.after(2, 5.0).kind == "again"


def test_a_robot_is_never_given_up_since_every_start_of_it_is_a_persons():
    rule = RestartRule(ROBOT, Clock())
    assert {rule.after(code, 1.0).kind for code in (2, 1, -9, 3, LOST) * 5} == {"again"}
    assert "see to the robot first" in rule.after(3, 1.0).why


def test_what_runs_every_so_often_does_so_however_it_ends():
    rule = RestartRule(Part("judge", "evaluator", (), every_minutes=2.0))
    assert {(rule.after(code, 1.0).kind, rule.after(code, 1.0).seconds) for code in (0, 2, 1)} == {("again", 120.0)}
