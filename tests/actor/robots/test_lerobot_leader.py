"""Teleoperators of LeRobot as interveners, on plain objects with LeRobot's interface of a Teleoperator."""

import time

import numpy as np
import plain_robot
import pytest
from plain_robot import SETTINGS

from warmloop.actor.environment import EnvironmentConfig
from warmloop.actor.environment.environment import make_environment
from warmloop.actor.intervention.intervention import Signal
from warmloop.actor.robots.lerobot_leader import Leader
from warmloop.actor.teleop import DEVICES
from warmloop.actor.teleop.operator import Reading
from warmloop.data.errors import EnvironmentFault, WarmloopError


@pytest.fixture
def led():
    """A robot and a leader."""
    begun = []

    def both(teleoperator="PlainLeader", **settings):
        environment = make_environment(EnvironmentConfig("LeRobot-v0", SETTINGS | settings, horizon=1_000))
        environment.reset(0)
        leader = Leader(environment, type=f"plain_robot:{teleoperator}", release=0.3, rate=200.0)
        begun.extend([leader.close, environment.close])
        leader.begin(0)
        return environment, leader, plain_robot.leaders[-1]

    yield both
    for end in begun:
        end()


@pytest.mark.parametrize("actions", ["absolute", "delta"])
def test_a_leader_takes_over_while_it_is_moved_and_the_follower_goes_where_it_is(led, actions):
    environment, leader, device = led(actions=actions)
    policy = np.zeros(2, np.float32)
    time.sleep(0.1)
    assert leader({}, policy, 0).action is None
    device.joints = {"lift.pos": 12.0, "grip.pos": 40.0}
    time.sleep(0.1)
    for step in range(3):
        command = leader({}, policy, step)
        environment.step(command.action)
    assert plain_robot.made[-1].joints == pytest.approx({"lift.pos": 12.0, "grip.pos": 40.0}, abs=1e-3)
    time.sleep(0.5)
    assert leader({}, policy, 4).action is None, "it rests again"


def test_a_leader_that_is_unplugged_costs_the_episode_and_is_connected_again(led):
    _, leader, device = led()
    device.error = OSError("gone")
    time.sleep(0.1)
    with pytest.raises(EnvironmentFault, match="failed: OSError: gone"):
        leader({}, np.zeros(2), 0)
    leader.ready()
    assert plain_robot.leaders[-1] is not device and leader({}, np.zeros(2), 0).action is None


def test_the_outcomes_of_a_device_beside_the_leader_count(led, monkeypatch):
    class Device:
        def clear(self): ...
        def close(self): ...

        def read(self):
            return Reading(np.zeros(7), False, signal=Signal.SUCCESS)

    monkeypatch.setitem(DEVICES, "terminal", lambda: (Device, ""))
    environment, _, _ = led()
    leader = Leader(environment, type="plain_robot:PlainLeader", keys="terminal")
    leader.begin(0)
    assert leader({}, np.zeros(2), 0) == (None, Signal.SUCCESS)
    leader.close()
    with pytest.raises(WarmloopError, match='keys is "mouse"'):
        Leader(environment, type="plain_robot:PlainLeader", keys="mouse")


def test_a_teleoperator_that_moves_the_tool_is_refused_where_joints_are_moved(led, monkeypatch):
    _, leader, device = led("PlainPad")
    assert leader({}, np.zeros(2), 0).action is None
    monkeypatch.setattr(device, "events", {"is_intervention": True}, raising=False)
    with pytest.raises(WarmloopError, match=r'set environment.kwargs.actions to "effector"'):
        leader({}, np.zeros(2), 0)
