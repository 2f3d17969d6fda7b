"""From a hand's motions to the environment's actions."""

from types import SimpleNamespace

import numpy as np
import pytest

from warmloop.actor.intervention.intervention import Signal
from warmloop.actor.teleop import Axes, Operator, OperatorConfig
from warmloop.actor.teleop import operator as operator_module
from warmloop.actor.teleop.operator import Reading
from warmloop.data.errors import WarmloopError

MOTIONS = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, -1.0], np.float32)


class Hand:
    """A device that says what it is told to."""

    def __init__(self):
        self.reading, self.cleared, self.closed = Reading(np.zeros(7), False), 0, 0

    def clear(self):
        self.cleared += 1

    def read(self):
        return self.reading

    def close(self):
        self.closed += 1


def operator(action_dim, hands=1, **config):
    devices = [Hand() for _ in range(hands)]
    made = Operator(devices, action_dim, OperatorConfig(**config))
    made.begin(0)
    return made, *devices


def act(made, policy=None, dims=4):
    return made(np.zeros(3), np.zeros(dims) if policy is None else policy, 0)


@pytest.mark.parametrize(
    ("dims", "wanted"),
    [
        (1, [0.1]),
        (2, [0.1, 0.2]),
        (3, [0.1, 0.2, 0.3]),
        (4, [0.1, 0.2, 0.3, -1.0]),
        (6, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]),
        (7, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, -1.0]),
        (8, [0.1, 0.2, 0.3, -1.0, 0, 0, 0, 0]),
        (14, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, -1.0, *[0] * 7]),
    ],
)
def test_the_usual_dimensions(dims, wanted):
    action = Axes.parse("", dims).action(MOTIONS, 0)
    np.testing.assert_allclose(action, wanted, rtol=1e-6)
    assert action.dtype == np.float32


def test_axes_of_ones_own():
    axes = Axes.parse("-y/-/gripper/x", 4)
    np.testing.assert_allclose(axes.action(MOTIONS, 0), [-0.2, 0, -1, 0.1], rtol=1e-6)
    two = Axes.parse("x/y/x/-y", 4)
    assert two.arms == 2
    np.testing.assert_allclose([two.action(MOTIONS, 0), two.action(MOTIONS, 1)], [[0.1, 0.2, 0, 0], [0, 0, 0.1, -0.2]], rtol=1e-6)


@pytest.mark.parametrize(
    ("text", "dims", "says"),
    [
        ("", 5, r"5 action dimensions is not known; .*axes=x/y/z/gripper/-\."),
        ("x/y", 3, "names 2 motions, and the environment's actions have 3"),
        ("x/y/yow", 3, 'no motion "yow"; did you mean yaw'),
        ("x/x/x", 3, "x more than twice"),
    ],
)
def test_axes_that_do_not_fit_are_refused(text, dims, says):
    with pytest.raises(WarmloopError, match=says):
        Axes.parse(text, dims)


@pytest.mark.parametrize(("config", "says"), [({"speed": 0.0}, "speed of a device is 0"), ({"gripper": "firm"}, "momentary or sticky")])
def test_a_config_that_makes_no_sense_is_refused(config, says):
    with pytest.raises(WarmloopError, match=says):
        OperatorConfig(**config)


def test_while_nobody_acts_the_policy_does_and_words_count_all_the_same():
    made, hand = operator(4)
    assert act(made) == (None, None)
    hand.reading = Reading(MOTIONS, False, 0, Signal.FAILURE)
    assert act(made) == (None, Signal.FAILURE)


def test_the_speed_slows_all_but_the_gripper():
    made, hand = operator(4, speed=0.5)
    hand.reading = Reading(MOTIONS, True)
    np.testing.assert_allclose(act(made).action, [0.05, 0.1, 0.15, -1.0], rtol=1e-6)


def test_the_motions_of_several_devices_add_up_within_bounds_and_any_may_speak():
    made, one, other = operator(4, hands=2)
    one.reading = Reading(np.array([0.75, 0, 0, 0, 0, 0, 0.0]), True)
    other.reading = Reading(np.array([0.75, 0.5, 0, 0, 0, 0, 1.0]), False, 0, Signal.SUCCESS)
    action, signal = act(made)
    np.testing.assert_allclose(action, [1, 0.5, 0, 1])
    assert signal is Signal.SUCCESS
    made.close()
    assert (one.cleared, one.closed, other.closed) == (1, 1, 1)


def test_a_key_goes_over_to_the_other_arm_and_an_episode_begins_with_the_first():
    made, hand = operator(8)
    still, moving = Reading(np.zeros(7), True), np.array([1, 0, 0, 0, 0, 0, 0.0])
    hand.reading = still._replace(motions=moving, switches=1)
    assert np.asarray(act(made, dims=8).action).tolist() == [0, 0, 0, 0, 1, 0, 0, 0]
    hand.reading = still._replace(motions=moving)
    assert np.asarray(act(made, dims=8).action).tolist() == [0, 0, 0, 0, 1, 0, 0, 0]
    made.begin(1)
    assert np.asarray(act(made, dims=8).action).tolist() == [1, 0, 0, 0, 0, 0, 0, 0]
    alone, hand = operator(4)
    hand.reading = still._replace(motions=moving, switches=1)
    assert np.asarray(act(alone).action).tolist() == [1, 0, 0, 0]


def test_a_sticky_gripper_keeps_the_policys_command_until_it_gets_another():
    made, hand = operator(4, gripper="sticky")
    open_, nothing = np.array([0, 0, 0, 0, 0, 0, -1.0]), np.zeros(7)
    hand.reading = Reading(nothing, True)
    policy = np.array([0.5, 0.5, 0.5, 0.8])
    np.testing.assert_allclose(act(made, policy).action, [0, 0, 0, 0.8])
    np.testing.assert_allclose(act(made, -policy).action, [0, 0, 0, 0.8])
    hand.reading = Reading(open_, True)
    np.testing.assert_allclose(act(made, policy).action, [0, 0, 0, -1])
    hand.reading = Reading(nothing, True)
    np.testing.assert_allclose(act(made, policy).action, [0, 0, 0, -1])
    hand.reading = Reading(nothing, False)
    assert act(made, policy).action is None
    hand.reading = Reading(nothing, True)
    np.testing.assert_allclose(act(made, policy).action, [0, 0, 0, 0.8])


def test_a_simulator_is_held_to_a_persons_pace(monkeypatch):
    now = [100.0]
    clock = SimpleNamespace(monotonic=lambda: now[0], sleep=lambda seconds: now.__setitem__(0, now[0] + seconds))
    monkeypatch.setattr(operator_module, "time", clock)
    made, _ = operator(4, rate=100.0)
    for _ in range(20):
        act(made)
        now[0] += 0.002  # for the step
    assert now[0] - 100.0 == pytest.approx(0.192)
    now[0] += 5.0  # in which the machine did something else: that is not caught up with
    for _ in range(20):
        act(made)
    assert now[0] - 105.192 == pytest.approx(0.19)
