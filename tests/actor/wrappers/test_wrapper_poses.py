"""Poses in wrappers, against SciPy's rotations: relative to the tool, and told otherwise."""

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pose_cases import pose_of, quaternions, quick, vectors
from scipy.spatial.transform import Rotation
from tool_env import ToolEnv

from warmloop.actor.environment.environment import Environment, EnvironmentConfig
from warmloop.actor.intervention.intervention import Control
from warmloop.actor.wrappers import wrap
from warmloop.actor.wrappers.rotations import euler_of, matrix_of, quaternion_of, six_numbers_of
from warmloop.data.reward import RewardConfig


@quick
@given(quaternions)
@example(np.array([1.0, 1e-5, 1.0, 0.0]) / np.sqrt(2.0 + 1e-10))  # beside the pole
def test_rotations_are_scipys(quaternion):
    expected = Rotation.from_quat(quaternion)
    matrix = matrix_of(quaternion)
    np.testing.assert_allclose(matrix, expected.as_matrix(), atol=1e-9)
    back = quaternion_of(matrix)
    np.testing.assert_allclose(np.sign(back @ quaternion) * back, quaternion, atol=1e-7)
    assert back[3] >= 0
    six = six_numbers_of(matrix)
    np.testing.assert_allclose(np.column_stack([six[:3], six[3:], np.cross(six[:3], six[3:])]), expected.as_matrix(), atol=1e-9)
    np.testing.assert_allclose(Rotation.from_euler("xyz", euler_of(matrix)).as_matrix(), expected.as_matrix(), atol=1e-6)


def test_eulers_angles_are_scipys_away_from_the_pole_and_a_rotation_at_it():
    for angles in ([0.3, -1.2, 2.9], [-3.0, 0.0, 0.1], [0.0, 1.5, -2.0]):
        np.testing.assert_allclose(euler_of(Rotation.from_euler("xyz", angles).as_matrix()), angles, atol=1e-9)
    for y in (np.pi / 2, -np.pi / 2):
        pole = Rotation.from_euler("xyz", [0.4, y, 0.7]).as_matrix()
        angles = euler_of(pole)
        assert angles[2] == 0.0
        np.testing.assert_allclose(Rotation.from_euler("xyz", angles).as_matrix(), pole, atol=1e-7)


@quick
@given(vectors, quaternions, vectors, vectors, st.sampled_from(["reset", "current"]))
def test_poses_velocities_and_actions_are_relative_to_the_tool(start, quaternion, move, turn, actions):
    env = wrap(ToolEnv(10.0), [f"relative_frame:actions={actions}"])
    first = env.reset(options={"pose": pose_of(start, quaternion)})[0]["state"]["tcp_pose"]
    np.testing.assert_allclose(first, [0, 0, 0, 0, 0, 0, 1], atol=1e-6)
    observation, *_, info = env.step(pose_of(np.concatenate([move, turn]), [0.5]).astype(np.float32))
    base = Rotation.from_quat(quaternion)
    np.testing.assert_allclose(info["done"], np.concatenate([base.apply(move), base.apply(turn), [0.5]]), atol=1e-5)
    pose = observation["state"]["tcp_pose"]
    np.testing.assert_allclose(pose[:3], move, atol=1e-5)  # in its own frame the tool went where it was told
    np.testing.assert_allclose(Rotation.from_quat(pose[3:]).as_matrix(), Rotation.from_rotvec(turn).as_matrix(), atol=1e-5)
    frame = base if actions == "reset" else Rotation.from_rotvec(base.apply(turn)) * base
    velocity = np.concatenate([frame.inv().apply(base.apply(part)) for part in (move, turn)])
    np.testing.assert_allclose(observation["state"]["tcp_vel"], velocity, atol=1e-5)


def test_a_policys_way_is_the_same_wherever_the_tool_starts():
    rng, ways = np.random.default_rng(0), []
    actions = rng.uniform(-0.1, 0.1, (10, 7)).astype(np.float32)
    for _ in range(2):
        env = wrap(ToolEnv(), ["relative_frame:actions=current"])
        env.reset(options={"pose": pose_of(rng.normal(size=3), Rotation.random(rng=rng).as_quat())})
        ways.append([env.step(action)[0]["state"]["tcp_pose"] for action in actions])
    np.testing.assert_allclose(*ways, atol=1e-5)


@quick
@given(quaternions, vectors, vectors)
def test_a_persons_action_is_recorded_in_the_policys_terms(quaternion, move, turn):
    done = np.concatenate([move, turn, [0.2]]).astype(np.float32)
    done_as = ("intervene_action", "teleop_action", "action_intervention")
    env = wrap(ToolEnv(report=dict.fromkeys(done_as, done)), ["relative_frame"])
    env.reset(options={"pose": pose_of(np.zeros(3), quaternion)})
    *_, info = env.step(np.zeros(7, np.float32))
    for name in done_as:
        np.testing.assert_allclose(env.action(info[name]), done, atol=1e-6)
        np.testing.assert_allclose(env.inverse_action(env.action(info[name])), info[name], atol=1e-6)
    assert "intervene_action" not in wrap(ToolEnv(), ["relative_frame"]).reset()[1]


def test_a_persons_action_beyond_the_policys_terms_is_recorded_at_them_with_a_sentence(caplog):
    eighth = Rotation.from_euler("z", 45, degrees=True).as_quat()
    env = ToolEnv(report={"intervene_action": np.array([1, 1, 0, 0, 0, 0, 1], np.float32)})
    wrapped = wrap(env, ["relative_frame"])
    control = Control(Environment(wrapped, EnvironmentConfig("x"), RewardConfig("environment", terminate_on_success=False)))
    control.begin(0)
    wrapped.reset(options={"pose": pose_of(np.zeros(3), eighth)})
    taken = control.step(None, np.zeros(7, np.float32), 0)
    assert taken.intervened and taken.result.info["intervene_action"][:3] == pytest.approx(
        [np.sqrt(2), 0, 0], abs=1e-6
    )  # as long as it was
    np.testing.assert_allclose(taken.action, [1, 0, 0, 0, 0, 0, 1], atol=1e-6)
    assert "lies beyond the limits" in caplog.text and "let the device ask for less" in caplog.text


def test_an_action_that_is_turned_out_of_its_bounds_is_shortened_not_bent():
    env = wrap(ToolEnv(), ["relative_frame"])
    env.reset(options={"pose": pose_of(np.zeros(3), Rotation.from_euler("z", 45, degrees=True).as_quat())})
    *_, info = env.step(np.array([1, 1, 0.5, 0, 0, 0, 1], np.float32))
    np.testing.assert_allclose(info["done"], [0, 1, 0.5 / np.sqrt(2), 0, 0, 0, 1], atol=1e-6)


def test_a_position_alone_is_relative_without_turning_anything():
    class Arm(gym.ObservationWrapper):
        def __init__(self, env):
            super().__init__(env)
            self.observation_space = gym.spaces.Box(-np.inf, np.inf, (5,), np.float32)

        def observation(self, observation):
            return np.concatenate([[9.0, 8.0], observation["state"]["tcp_pose"][:3]]).astype(np.float32)

    env = wrap(Arm(ToolEnv()), ["relative_frame:[2:5]"])
    np.testing.assert_array_equal(env.reset()[0], [9.0, 8.0, 0.0, 0.0, 0.0])
    np.testing.assert_allclose(env.step(np.array([0.1, 0.2, 0.3, 0, 0, 0, 0]))[0], [9, 8, 0.1, 0.2, 0.3], atol=1e-6)


@pytest.mark.parametrize(("wrapper", "width"), [("quaternion_to_euler", 6), ("quaternion_to_6d", 9)])
@quick
@given(quaternions)
def test_a_pose_tells_its_rotation_otherwise_and_its_space_says_so(wrapper, width, quaternion):
    for order in ("xyzw", "wxyz"):
        env = wrap(ToolEnv(), [f"{wrapper}:order={order}"])
        given = quaternion if order == "xyzw" else np.roll(quaternion, -1)  # ToolEnv's numbers, read as w, x, y, z
        observation = env.reset(options={"pose": pose_of([1, 2, 3], quaternion)})[0]
        assert env.observation_space["state"]["tcp_pose"].shape == (width,) and env.observation_space.contains(observation)
        pose, expected = observation["state"]["tcp_pose"], Rotation.from_quat(given).as_matrix()
        np.testing.assert_array_equal(pose[:3], [1, 2, 3])
        if width == 9:
            np.testing.assert_allclose(pose[3:], expected[:, :2].T.ravel(), atol=1e-5)
        else:
            np.testing.assert_allclose(Rotation.from_euler("xyz", pose[3:]).as_matrix(), expected, atol=1e-3)
