"""The tool's motion by damped least squares, on arms whose kinematics are known."""

import numpy as np
import plain_robot
import pytest

from warmloop.actor.environment import EnvironmentConfig
from warmloop.actor.environment.environment import make_environment
from warmloop.actor.robots.effector import Effector
from warmloop.actor.robots.joint_commands import JointCommands
from warmloop.actor.robots.lerobot_config import LeRobotConfig
from warmloop.actor.robots.lerobot_leader import Leader
from warmloop.data.errors import WarmloopError

ARM = """<mujoco><worldbody>
  <body><joint name="lift" axis="0 0 1" range="-180 180"/><geom size="0.01"/>
    <body pos="0.3 0 0"><joint name="bend" axis="0 0 1"/><geom size="0.01"/>
      <body pos="0.2 0 0"><joint name="turn" axis="0 0 1"/><geom size="0.01"/><site name="tool" pos="0.1 0 0"/></body>
    </body>
  </body>
</worldbody></mujoco>"""
JOINTS = ("lift.pos", "bend.pos", "turn.pos", "grip.pos")


@pytest.fixture
def arm(tmp_path):
    """Three hinges in a plane, with links of 0.3, 0.2 and 0.1 m, and a gripper."""
    (tmp_path / "arm.xml").write_text(ARM)
    common = {"joints": JOINTS, "low": (-170.0,) * 3 + (0.0,), "high": (170.0,) * 3 + (100.0,), "max_step": (10.0,) * 3 + (20.0,)}
    common |= {"start": (20.0, 40.0, -30.0, 50.0), "gripper": "grip.pos", "actions": "effector"}
    return lambda **changed: LeRobotConfig(**(common | {"model": str(tmp_path / "arm.xml"), "frame": "tool"} | changed))


def forward(joints):
    """Place and heading of the tool, by hand."""
    angles = np.cumsum(np.radians(joints[:3]))
    links = np.array([0.3, 0.2, 0.1])
    return np.array([links @ np.cos(angles), links @ np.sin(angles)]), angles[-1]


def test_the_place_of_the_tool_is_that_of_the_links(arm):
    joints = np.array([20.0, 40.0, -30.0, 50.0])
    np.testing.assert_allclose(Effector(arm()).place(joints)[:2], forward(joints)[0], atol=1e-9)


@pytest.mark.parametrize("motion", [[0.02, 0, 0, 0, 0, 0], [-0.01, 0.02, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0.1], [0.01, -0.01, 0, 0, 0, -0.1]])
def test_the_tool_moves_as_it_is_told_and_the_gripper_stays(arm, motion):
    effector, joints = Effector(arm()), np.array([20.0, 40.0, -30.0, 50.0])
    moved = effector.moved(joints, np.array(motion, float))
    (place, heading), (now, turned) = forward(joints), forward(moved)
    np.testing.assert_allclose(now - place, motion[:2], atol=3e-4)
    assert turned - heading == pytest.approx(motion[5], abs=5e-3) and moved[3] == 50.0
    np.testing.assert_array_equal(effector.moved(joints, np.zeros(6)).round(9), joints)


def test_the_tool_stays_within_the_workspace(arm):
    joints = np.array([20.0, 40.0, -30.0, 50.0])
    place = Effector(arm()).place(joints)
    effector = Effector(arm(workspace_low=tuple(place - 0.05), workspace_high=tuple(np.add(place, (0.05, 0.03, 0.05)))))
    for _ in range(10):
        joints = effector.moved(joints, np.array([0.0, 0.01, 0, 0, 0, 0]))
    np.testing.assert_allclose(effector.place(joints), np.add(place, (0.0, 0.03, 0.0)), atol=1e-3)
    for _ in range(12):
        joints = effector.moved(joints, np.array([0.0, -0.01, 0, 0, 0, 0]))
    np.testing.assert_allclose(effector.place(joints), np.subtract(place, (0.0, 0.05, 0.0)), atol=1e-3)


def test_a_motion_out_of_reach_stretches_the_arm_and_stays_finite(arm):
    effector, joints = Effector(arm()), np.array([0.0, 5.0, 0.0, 50.0])
    for _ in range(40):
        joints = effector.moved(joints, np.array([0.05, 0, 0, 0, 0, 0]))
    assert np.isfinite(joints).all() and np.linalg.norm(forward(joints)[0]) == pytest.approx(0.6, abs=0.01)
    limited = Effector(arm(low=(-170.0, 30.0, -170.0, 0.0)))
    assert limited.moved(np.array([20.0, 30.0, -30.0, 50.0]), np.array([0.05, 0, 0, 0, 0, 0]))[1] >= 30.0 - 1e-9


def test_an_action_is_a_shift_a_turn_and_the_gripper_within_the_joints_steps(arm):
    config = arm(max_shift=0.01, max_turn=0.2)
    commands, start = JointCommands(config), np.array(config.start)
    commands.begin(start)
    assert commands.space.shape == (7,)
    joints = commands.next(np.array([1.0, 0, 0, 0, 0, 0, -0.5]), start)
    np.testing.assert_allclose(forward(joints)[0] - forward(start)[0], [0.01, 0.0], atol=3e-4)
    assert joints[3] == 40.0
    fast = JointCommands(arm(max_shift=0.5))
    fast.begin(start)
    assert (np.abs(fast.next(np.array([0, 1.0, 0, 0, 0, 0, 0]), start) - start)[:3] <= 10.0 + 1e-9).all()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"frame": "hand"}, 'has no site or body "hand"'),
        ({"joints": ("lift.pos", "knee.pos", "turn.pos", "grip.pos")}, 'has no joint "knee"'),
        ({"model": "/no/such.xml"}, r"there is no file /no/such.xml"),
        ({"model": "no_such_package:arm.xml"}, "there is no package no_such_package"),
        ({"model": __file__}, "is no MJCF"),
    ],
)
def test_a_model_that_does_not_fit_is_told(arm, changed, said):
    with pytest.raises(WarmloopError, match=said):
        Effector(arm(**changed))


def test_a_gamepad_of_lerobot_moves_the_tool_and_ends_episodes(tmp_path, monkeypatch):
    (tmp_path / "arm.xml").write_text(ARM)
    settings = {
        "robot": "plain_robot:PlainRobot", "joints": ("lift.pos", "grip.pos"), "low": (-90.0, 0.0), "high": (90.0, 100.0),
        "max_step": (5.0, 20.0), "start": (0.0, 20.0), "gripper": "grip.pos", "speed": 200.0, "actions": "effector",
        "model": str(tmp_path / "arm.xml"), "frame": "tool",
    }  # fmt: skip
    environment = make_environment(EnvironmentConfig("LeRobot-v0", settings, horizon=100))
    environment.reset(0)
    leader = Leader(environment, type="plain_robot:PlainPad")
    assert leader({}, np.zeros(7), 0) == (None, None)
    monkeypatch.setattr(plain_robot.PlainPad, "events", {"is_intervention": True, "success": True})
    command = leader({}, np.zeros(7), 0)
    np.testing.assert_array_equal(command.action, [1.0, 0.0, -0.5, 0.0, 0.0, 0.0, 1.0])
    assert command.signal is not None and command.signal.value == "success"
    environment.step(command.action)
    assert plain_robot.made[-1].joints["grip.pos"] == 40.0
    leader.close()
    environment.close()
