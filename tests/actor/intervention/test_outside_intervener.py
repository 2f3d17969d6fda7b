"""Interveners of the user's own, and devices that are lost and come back."""

import numpy as np
import pytest
from hands import LockStep

from warmloop.actor.environment import faults
from warmloop.actor.environment.environment import EnvironmentConfig, make_environment
from warmloop.actor.intervention.intervention import Signal
from warmloop.actor.intervention.outside_intervener import OutsideIntervener, outside_intervener
from warmloop.actor.teleop import Operator
from warmloop.actor.teleop.operator import Reading
from warmloop.actor.teleop.plugged import Plugged
from warmloop.data.errors import EnvironmentFault, WarmloopError
from warmloop.launch.flags.interveners import choose_intervention

LAB = EnvironmentConfig("lab_environment:Lab/Reach-v0", horizon=30)


def made(text, environment=None):
    hand = choose_intervention(text)(environment or make_environment(LAB))
    assert isinstance(hand, OutsideIntervener)
    return hand


def test_a_class_gets_the_environment_and_the_options_of_the_flag():
    leader = made("own_hand:Leader:speed=0.5,success_at=4")
    leader.ready()
    leader.begin(3)
    command = leader(np.zeros(4), np.zeros(2), 0)
    np.testing.assert_array_equal(command.action, [0.5, 0.5])
    assert leader(np.zeros(4), np.zeros(2), 1).action is None
    assert leader(np.zeros(4), np.zeros(2), 4).signal is Signal.SUCCESS
    leader.close()
    assert leader._intervener.said == ["ready", "begin", "close"]


def test_a_function_of_observation_action_and_step_may_take_over_too():
    hand = made("own_hand:always_left")
    hand.begin(0)
    np.testing.assert_array_equal(hand(np.zeros(4), np.zeros(2), 0).action, [-1, 0])


def test_a_hand_is_a_persons_unless_it_says_otherwise():
    assert choose_intervention("own_hand:always_left").personal and not choose_intervention("own_hand:Leader").personal
    assert choose_intervention("keyboard").personal and choose_intervention("terminal:rate=10").personal
    assert not choose_intervention("teacher").personal and not choose_intervention("none").personal
    assert "sha256" in choose_intervention("own_hand:Leader").identity


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("own_hand:too_far", r"own_hand:too_far gave \[3.0, 0.0\] at step 0; return None, a Command, or an action of shape \(2,\)"),
        ("own_hand:a_word", r"own_hand:a_word gave 'left' at step 0"),
        ("own_hand:number", "own_hand:number is 7; an object with __call__"),
        ("own_hand:Leeder", 'there is no "Leeder" in own_hand; did you mean Leader'),
        ("no_such_module:Leader", 'there is no module "no_such_module"'),
        ("own_hand:Leader:speed", '"speed" is no option; write NAME=VALUE'),
        ("own_hand:Leader:fast=1", "called with the environment, failed: TypeError.*fast"),
        ("own_hand:always_left:speed=1", "takes no options"),
        ("keybord", '"keybord"; it must be none.*MODULE:NAME.*did you mean keyboard'),
    ],
)
def test_what_is_no_intervener_is_a_sentence(text, says):
    with pytest.raises(WarmloopError, match=says) as error:
        hand = made(text)
        hand(np.zeros(4), np.zeros(2), 0)
    assert not isinstance(error.value, EnvironmentFault)


def test_a_hand_that_fails_where_it_worked_costs_an_episode(monkeypatch):
    monkeypatch.setattr(faults, "WAITS", (0.0,))
    run = LockStep(environment=LAB)
    leader = outside_intervener("own_hand:Leader", run.environment, {"lost_at": 5})
    run.loop._control._intervener = leader
    episodes, reports = run.run(3)
    assert len(episodes[0].step) == 5 and episodes[0].truncated[-1] and sum(report["actor/faults"] for report in reports) == 1
    assert leader._intervener.said.count("ready") >= 3


class Pad:
    """A device that can be pulled out."""

    there = True

    def __init__(self):
        if not Pad.there:
            raise WarmloopError("No gamepad is connected.")

    def clear(self):
        pass

    def read(self):
        if not Pad.there:
            raise WarmloopError("The gamepad is gone; connect it and start again.")
        return Reading(np.zeros(7), False)

    def close(self):
        pass


def test_a_device_that_is_unplugged_costs_episodes_until_it_is_back(monkeypatch):
    monkeypatch.setattr(Pad, "there", True)
    operator = Operator([Plugged("gamepad", Pad)], 2)
    operator.begin(0)
    assert operator(np.zeros(4), np.zeros(2), 0).action is None
    Pad.there = False
    with pytest.raises(EnvironmentFault, match="The gamepad was lost: The gamepad is gone"):
        operator(np.zeros(4), np.zeros(2), 1)
    with pytest.raises(EnvironmentFault, match="The gamepad is not back: No gamepad is connected"):
        operator.ready()
    Pad.there = True
    operator.ready()
    operator.begin(1)
    assert operator(np.zeros(4), np.zeros(2), 0).action is None


def test_a_device_that_is_not_there_at_first_is_a_mistake(monkeypatch):
    monkeypatch.setattr(Pad, "there", False)
    with pytest.raises(WarmloopError, match="No gamepad") as error:
        Plugged("gamepad", Pad)
    assert not isinstance(error.value, EnvironmentFault)
