"""Wrappers that are there twice, once for each arm."""

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given
from pose_cases import pose_of, quaternions, quick, vectors
from scipy.spatial.transform import Rotation
from tool_env import ToolEnv

from warmloop.actor.wrappers import wrap
from warmloop.data.errors import WarmloopError


class TwoArms(gym.Env):
    """Two ToolEnvs side by side, actions [14]: the left one's, and the right one's."""

    def __init__(self, left=None, right=None):
        self.arms = {"left": left or ToolEnv(), "right": right or ToolEnv()}
        self.observation_space = gym.spaces.Dict({name: arm.observation_space["state"] for name, arm in self.arms.items()})
        self.action_space = gym.spaces.Box(-1.0, 1.0, (14,))

    def reset(self, *, seed=None, options=None):
        return {name: arm.reset(options=(options or {}).get(name))[0]["state"] for name, arm in self.arms.items()}, {}

    def step(self, action):
        infos = [arm.step(part)[4] for arm, part in zip(self.arms.values(), np.split(np.asarray(action), 2), strict=True)]
        done = {"done": np.concatenate([info["done"] for info in infos])}
        return {name: arm._observation()["state"] for name, arm in self.arms.items()}, 1.0, False, False, done


LEFT, RIGHT = "relative_frame:left.tcp_pose,numbers=0:6", "relative_frame:right.tcp_pose,numbers=7:13"


@quick
@given(quaternions, quaternions, vectors, vectors)
def test_each_of_two_arms_is_turned_by_its_own_pose(left, right, move, turn):
    env = wrap(TwoArms(ToolEnv(10.0), ToolEnv(10.0)), [LEFT, RIGHT])
    poses = {"left": {"pose": pose_of([1, 2, 3], left)}, "right": {"pose": pose_of([4, 5, 6], right)}}
    first = env.reset(options=poses)[0]
    action = np.concatenate([0.5 * move, 0.5 * turn, [0.5], -0.5 * turn, 0.5 * move, [-0.5]]).astype(np.float32)
    observation, *_, info = env.step(action)
    for name, quaternion, own, done in zip(poses, (left, right), np.split(action, 2), np.split(info["done"], 2), strict=True):
        base = Rotation.from_quat(quaternion)
        np.testing.assert_allclose(done, np.concatenate([base.apply(own[:3]), base.apply(own[3:6]), own[6:]]), atol=1e-5)
        np.testing.assert_allclose(first[name]["tcp_pose"], [0, 0, 0, 0, 0, 0, 1], atol=1e-6)
        np.testing.assert_allclose(observation[name]["tcp_pose"][:3], own[:3], atol=1e-5)
        np.testing.assert_allclose(observation[name]["tcp_vel"], own[:6], atol=1e-5)


def test_each_of_two_grippers_has_its_penalty():
    env = wrap(TwoArms(), ["gripper_penalty:-0.1,number=6,in_reward=true", "gripper_penalty:-0.25,number=13,in_reward=true"])
    env.reset()
    action, penalties = np.zeros(14, np.float32), []
    for left, right in [(1, 0), (1, 1), (-1, -1), (-1, 0)]:
        action[6], action[13] = left, right
        _, reward, *_, info = env.step(action)
        assert reward == pytest.approx(1.0 + info["grasp_penalty"])
        penalties.append(info["grasp_penalty"])
    assert penalties == pytest.approx([-0.1, -0.25, -0.35, 0.0])


@pytest.mark.parametrize(
    ("wrappers", "says"),
    [
        (
            ["relative_frame:left.tcp_pose", "relative_frame:right.tcp_pose"],
            r"Two wrappers relative_frame are about numbers 0 to 5 .*=7:13",
        ),
        ([LEFT, "frame", "relative_frame:right.tcp_pose,numbers=4:10"], "about numbers 4 to 5 of the action"),
        ([LEFT, "relative_frame:left.tcp_pose,numbers=7:13"], r'have the pose "left\.tcp_pose"'),
        (["gripper_penalty", "gripper_penalty:number=13"], r"Two wrappers gripper_penalty are about number 13 .* number=6 and number=13"),
        (["gripper_penalty:number=14"], "with a number 14 that has bounds"),
        (["gripper_penalty:number=-2"], "has bounds"),
        (["relative_frame:left.tcp_pose,numbers=7:15"], r"numbers=7:15; it must be FROM:TO, of an action's 14 numbers"),
        (["relative_frame:left.tcp_pose,numbers=6"], r"numbers=6; it must be FROM:TO"),
        (["relative_frame:left.tcp_pose,numbers=0:7"], "takes 3 or 6 of the action's numbers, around 0, not 0:7"),
    ],
)
def test_a_second_wrapper_of_the_same_numbers_and_numbers_that_are_none_are_refused(wrappers, says):
    env = TwoArms()
    with pytest.raises(WarmloopError, match=says):
        for text in wrappers:
            env = gym.Wrapper(env) if text == "frame" else wrap(env, [text])
