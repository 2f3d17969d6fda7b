"""Teleoperators of LeRobot as interveners, on plain objects with LeRobot's interface of a Teleoperator."""

import threading
import time

import numpy as np
import plain_robot
import pytest
from plain_robot import SETTINGS
from waiting import until

from warmloop.actor.environment import EnvironmentConfig
from warmloop.actor.environment.environment import make_environment
from warmloop.actor.intervention.intervention import Signal
from warmloop.actor.robots.lerobot_leader import Leader
from warmloop.actor.teleop import DEVICES
from warmloop.actor.teleop.operator import Reading
from warmloop.data.errors import EnvironmentFault, WarmloopError
from warmloop.data.running import emergency


@pytest.fixture
def led():
    """A robot and a leader."""
    begun = []

    def both(teleoperator="PlainLeader", options=(), **settings):
        environment = make_environment(EnvironmentConfig("LeRobot-v0", SETTINGS | settings, horizon=1_000))
        environment.reset(0)
        leader = Leader(environment, type=f"plain_robot:{teleoperator}", release=0.3, rate=200.0, **dict(options))
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


class Acting:
    """Steps of a policy towards a pose, and who acted in each."""

    def __init__(self, environment, leader, pose):
        self.environment, self.leader = environment, leader
        self.action = environment.limits.scale(np.array(pose, np.float32))

    def __call__(self):
        """One step; whether the leader took it."""
        command = self.leader({}, self.action, 0)
        self.environment.step(self.action if command.action is None else command.action)
        return command.action is not None


def test_a_leader_follows_while_the_policy_acts_until_a_hand_pulls_and_the_takeover_does_not_jump(led):
    environment, leader, device = led("PlainArm", {"follow": "on"})
    act = Acting(environment, leader, (60.0, 80.0))
    until(lambda: [act()] and plain_robot.made[-1].joints["lift.pos"] > 59.0 and abs(device.joints["lift.pos"] - 60.0) < 1.0)
    assert device.bus.torque and device.bus.values["Torque_Limit"] == {"lift": 300, "grip": 300}
    writes = [name for name, _ in device.bus.written]
    assert writes.index("Torque_Limit") < writes.index("Goal_Position") < writes.index("Torque_Enable")
    goals = [values["lift"] for name, values in device.bus.written if name == "Goal_Position"]
    assert goals[0] == 0.0 and len(goals) > 3, "it begins where it is"

    before = dict(plain_robot.made[-1].joints)
    device.hand = {"lift.pos": 45.0, "grip.pos": 80.0}
    until(act)
    assert not device.bus.torque and device.bus.values["Torque_Limit"] == {"lift": 1000, "grip": 1000}
    assert abs(plain_robot.made[-1].joints["lift.pos"] - before["lift.pos"]) <= 5.0 + 1e-3, "one step of max_step"
    until(lambda: [act()] and abs(plain_robot.made[-1].joints["lift.pos"] - 45.0) < 1.0, what="the follower goes where the leader is")

    device.hand = None
    until(lambda: not act() and device.bus.torque, what="it rests, so the policy acts and the leader follows")


def test_a_leader_that_only_lags_or_sags_is_pulled_by_nobody(led):
    environment, leader, device = led("PlainArm", {"follow": True})
    device.bus.sag = 7.0
    act = Acting(environment, leader, (80.0, 20.0))
    for _ in range(40):
        assert not act()
        time.sleep(0.01)
    assert device.joints["lift.pos"] == pytest.approx(73.0, abs=1.0)
    act = Acting(environment, leader, (90.0, 20.0))  # beyond the leader's own end, 87.9
    until(lambda: [act()] and plain_robot.made[-1].joints["lift.pos"] > 89.0)
    time.sleep(0.1)
    assert not act() and max(values["lift"] for name, values in device.bus.written if name == "Goal_Position") < 88.0


def test_a_leader_is_limp_while_nobody_acts_and_after_its_end(led):
    environment, leader, device = led("PlainArm", {"follow": "on"})
    act = Acting(environment, leader, (20.0, 20.0))
    until(lambda: [act()] and device.bus.torque)
    until(lambda: not device.bus.torque, what="nobody acts")
    until(lambda: [act()] and device.bus.torque)
    leader.close()
    assert not device.bus.torque


def test_a_leader_is_limp_where_its_process_ends_at_once(led):
    environment, leader, device = led("PlainArm", {"follow": "on"})
    act = Acting(environment, leader, (20.0, 20.0))
    until(lambda: [act()] and device.bus.torque)
    emergency.bring_to_rest("a test")
    act()
    assert not device.bus.torque


def test_a_leader_whose_motor_lets_go_or_stays_on_is_a_fault_and_no_takeover(led):
    environment, leader, device = led("PlainArm", {"follow": "on"})
    act = Acting(environment, leader, (20.0, 20.0))
    until(lambda: [act()] and device.joints["lift.pos"] > 19.0)
    device.bus.values["Torque_Enable"]["lift"] = 0  # as a motor that is too hot does
    device.hand = {"lift.pos": -30.0, "grip.pos": 20.0}
    with pytest.raises(EnvironmentFault, match="Motor lift of the leader arm has switched its torque off"):
        until(act)
    until(lambda: not any(device.bus.values["Torque_Enable"].values()))

    leader.ready()
    device = plain_robot.leaders[-1]
    leader.begin(0)
    until(lambda: [act()] and device.bus.torque)
    device.bus.stuck = True
    with pytest.raises(EnvironmentFault, match=r"torque of the leader arm's lift, grip cannot be switched off; unplug"):
        until(lambda: [time.sleep(1.5)] and leader({}, act.action, 0).action is not None, 8.0)


@pytest.mark.parametrize(("retries", "fails"), [(2, True), (3, False)])
def test_a_packet_of_the_leader_that_is_lost_is_asked_for_again_so_often(led, retries, fails):
    _, leader, device = led(options={"retries": retries})
    lost = iter([ConnectionError("no answer")] * 3)
    read, begun = device.get_action, threading.Event()

    def get_action():
        if error := next(lost, None):
            raise error
        begun.set()
        return read()

    device.get_action = get_action
    until(lambda: begun.is_set() or leader._failed)
    if fails:
        with pytest.raises(EnvironmentFault, match="failed: ConnectionError: no answer"):
            leader({}, np.zeros(2), 0)
    else:
        assert leader({}, np.zeros(2), 0).action is None


@pytest.mark.parametrize(
    ("teleoperator", "options", "problem"),
    [
        ("PlainLeader", {"follow": "on"}, "follow=on needs a leader arm whose motors have Torque_Limit"),
        ("PlainPad", {"follow": "on"}, "follow=on is for leader arms"),
        ("PlainArm", {"follow": "yes"}, 'follow is "yes"; it must be on or off'),
        ("PlainArm", {"torque": 0}, "torque above 0 and at most 100"),
        ("PlainArm", {"retries": -1}, "retries is -1; it must be 0 or more"),
    ],
)
def test_a_leader_that_cannot_follow_is_refused_in_a_sentence(led, teleoperator, options, problem):
    with pytest.raises(WarmloopError, match=problem):
        led(teleoperator, options)
    assert not any(device.is_connected for device in plain_robot.leaders[-1:])


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
