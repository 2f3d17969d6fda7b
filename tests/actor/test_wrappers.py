"""Wrappers, against SciPy's rotations, plain sums and block means."""

import enum

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from tool_env import ToolEnv

from warmloop.actor.environment import Environment, EnvironmentConfig, make_environment
from warmloop.actor.intervention import Control
from warmloop.actor.wrappers import WRAPPERS, wrap
from warmloop.actor.wrappers.rotations import euler_of, matrix_of, quaternion_of, six_numbers_of
from warmloop.data.errors import WarmloopError
from warmloop.data.reward import RewardConfig

number = st.floats(-1.0, 1.0)
fours = st.tuples(number, number, number, number).map(np.array).filter(lambda q: np.linalg.norm(q) > 0.1)
quaternions = fours.map(lambda q: q / np.linalg.norm(q))
vectors = st.tuples(number, number, number).map(np.array)
quick = settings(max_examples=60, deadline=None)


def pose_of(position, quaternion) -> np.ndarray:
    return np.concatenate([position, quaternion])


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


class Ending(gym.Wrapper):
    """Ends the episode at each step, and says of it what it is made with."""

    def __init__(self, said):
        super().__init__(ToolEnv())
        self.said = said

    def step(self, action):
        observation, reward, _, truncated, info = self.env.step(action)
        return observation, reward, True, truncated, info | self.said


@pytest.mark.parametrize(
    ("wrapper", "said", "ends"),
    [
        ("past_success", {"succeed": True}, False),
        ("past_success", {"is_success": np.float32(1.0)}, False),
        ("past_success", {"is_success": False}, True),  # it fell
        ("past_success:lifted", {"lifted": True, "succeed": False}, False),
        ("past_success", {enum.Enum("TeleopEvents", {"SUCCESS": "success"}).SUCCESS: True}, False),
    ],
)
def test_an_episode_goes_on_past_its_success_and_past_no_other_end(wrapper, said, ends):
    env = wrap(Ending(said), [wrapper])
    env.reset()
    for _ in range(2):
        _, _, terminated, truncated, info = env.step(np.zeros(7, np.float32))
        assert (terminated, truncated) == (ends, False) and said.items() <= info.items()


def test_an_end_that_says_nothing_of_success_is_an_error_that_names_the_key():
    env = wrap(Ending({"time": 1.0}), ["past_success:lifted"])
    env.reset()
    with pytest.raises(WarmloopError, match=r"finds no lifted .* \(it has: done, time\); name the key"):
        env.step(np.zeros(7, np.float32))


def commands(env, commands, key="grasp_penalty"):
    env.reset()
    return [env.step(np.append(np.zeros(6), command).astype(np.float32))[4][key] for command in commands]


def test_only_what_turns_the_gripper_is_penalised():
    ups = [0.0, 0.9, 1.0, 0.2, -0.2, -0.9, -1.0, 0.6]
    expected = [0.0, -0.1, 0.0, 0.0, 0.0, -0.1, 0.0, -0.1]
    assert commands(wrap(ToolEnv(), ["gripper_penalty:-0.1"]), ups) == expected
    assert commands(wrap(ToolEnv(), ["gripper_penalty:-0.1,closes=-1"]), [-up for up in ups]) == expected
    env = wrap(ToolEnv(), ["gripper_penalty:-0.1"])
    assert commands(env, ups) == commands(env, ups)  # a reset opens it
    flag = enum.Enum("TeleopEvents", {"IS_INTERVENTION": "is_intervention"}).IS_INTERVENTION
    persons = ({"is_intervention": True, "teleop_action": np.ones(7)}, {flag: True, "action_intervention": np.ones(7)})
    for closed in ({"intervene_action": np.ones(7)}, *persons):
        assert commands(wrap(ToolEnv(report=closed), ["gripper_penalty:-0.1"]), [-1.0, -1.0]) == [-0.1, 0.0]
    idle = {"is_intervention": False, "teleop_action": np.ones(7)}
    assert commands(wrap(ToolEnv(report=idle), ["gripper_penalty:-0.1"]), [-1.0, -1.0]) == [0.0, 0.0]


def test_the_penalty_is_in_the_reward_where_asked_for():
    for option, reward in (("", 1.0), (",in_reward=true", 0.9)):
        env = wrap(ToolEnv(), [f"gripper_penalty:-0.1{option}"])
        env.reset()
        assert env.step(np.ones(7))[1] == pytest.approx(reward)


def test_the_penalty_is_gym_hils_where_the_gripper_turns_in_one_step():
    pytest.importorskip("gym_hil", reason="gym-hil is not installed; it is of the extra `robotics`")
    environment = make_environment(EnvironmentConfig("gym_hil/PandaPickCube-v0", wrappers=("gripper_penalty:-0.05",)))
    environment.reset(0)
    infos = [environment.step(np.array([0, 0, 0, command])).info for command in (-1, 1, 0, 1, -1, 0, 1)]
    assert [info["grasp_penalty"] for info in infos] == [info["discrete_penalty"] for info in infos] == [0, -0.05, 0, 0, -0.05, 0, -0.05]
    environment.close()


def test_stacked_frames_have_the_newest_last_and_the_first_repeated():
    env = wrap(ToolEnv(), ["frame_stack:3"])
    assert env.observation_space["images"]["front"].shape == (3, 6, 8, 3)
    for _ in range(2):  # a reset forgets
        observation = env.reset()[0]
        seen = [observation["images"]["front"]] + [env.step(np.zeros(7))[0]["images"]["front"] for _ in range(4)]
        assert [frames[:, 0, 0, 0].tolist() for frames in seen] == [[0, 0, 0], [0, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 4]]
        assert env.observation_space.contains(observation) and observation["state"]["tcp_pose"].shape == (7,)


class Chunked(gym.ObservationWrapper):
    """A history of `steps` in front of every observation, as HIL-SERL's ChunkingWrapper has it."""

    def __init__(self, steps=1):
        super().__init__(ToolEnv())
        self.steps = steps
        states, cameras = ([*self.env.observation_space[name].spaces.items()] for name in ("state", "images"))
        spaces = {name: gym.spaces.Box(box.low[None].repeat(steps, 0), box.high[None].repeat(steps, 0)) for name, box in states}
        images = {name: gym.spaces.Box(0, 255, (steps, *box.shape), np.uint8) for name, box in cameras}
        self.observation_space = gym.spaces.Dict({"state": gym.spaces.Dict(spaces), **images})

    def observation(self, observation):
        stacked = lambda leaf: np.stack([leaf] * self.steps)  # noqa: E731
        state = {name: stacked(leaf) for name, leaf in observation["state"].items()}
        return {"state": state} | {name: stacked(leaf) for name, leaf in observation["images"].items()}


def test_a_history_of_one_step_is_dropped_and_numbers_in_rows_are_refused_with_a_sentence():
    env = wrap(Chunked(), ["drop_history", "relative_frame"])
    environment = Environment(env, EnvironmentConfig("x"), RewardConfig("environment", terminate_on_success=False))
    plain = {"front": (6, 8, 3), "state.tcp_pose": (7,), "state.tcp_vel": (6,), "wrist": (6, 8, 1)}
    assert {leaf.name: leaf.shape for leaf in environment.spec.observation} == plain
    observation = environment.reset(0)
    assert {name: leaf.shape for name, leaf in observation.items()} == plain
    np.testing.assert_allclose(observation["state.tcp_pose"], [0, 0, 0, 0, 0, 0, 1], atol=1e-6)
    with pytest.raises(WarmloopError, match=r'observations "state\.tcp_pose" of shape \(1, 7\).*one axis; the wrapper drop_history'):
        Environment(Chunked(), EnvironmentConfig("x"), RewardConfig())
    with pytest.raises(WarmloopError, match=r'"state\.tcp_pose" of shape \(2, 7\).*one axis\.$'):
        Environment(Chunked(2), EnvironmentConfig("x"), RewardConfig())
    for chunked, says in ((Chunked(2), r'a single step, and observation "front" has shape \(2, 6, 8, 3\)'), (ToolEnv(), "a single step")):
        with pytest.raises(WarmloopError, match=says):
            wrap(chunked, ["drop_history"])


def pictured(image: np.ndarray) -> gym.Env:
    env = ToolEnv()
    env.observation_space["images"].spaces["front"] = gym.spaces.Box(0, 255, image.shape, np.uint8)
    env._observation = lambda: {"state": {}, "images": {"front": image, "wrist": np.zeros((6, 8, 1), np.uint8)}}
    return env


def test_resizing_by_a_whole_number_takes_the_mean_of_blocks():
    image = np.random.default_rng(0).integers(0, 256, (12, 8, 3), np.uint8)
    small = wrap(pictured(image), ["resize:6,4,camera=front"]).reset()[0]["images"]
    expected = image.reshape(6, 2, 4, 2, 3).mean(axis=(1, 3))
    assert np.abs(small["front"] - expected).max() <= 1.0 and small["front"].dtype == np.uint8
    assert small["wrist"].shape == (6, 8, 1)
    env = wrap(pictured(image), ["resize:5"])
    assert {name: leaf.shape for name, leaf in env.reset()[0]["images"].items()} == {"front": (5, 5, 3), "wrist": (5, 5, 1)}
    assert env.observation_space["images"]["wrist"].shape == (5, 5, 1)


def test_a_crop_is_a_slice():
    image = np.random.default_rng(0).integers(0, 256, (12, 8, 3), np.uint8)
    env = wrap(pictured(image), ["crop:2,1,6,5,camera=images.front"])
    np.testing.assert_array_equal(env.reset()[0]["images"]["front"], image[2:8, 1:6])
    assert env.observation_space["images"]["front"].shape == (6, 5, 3)


def test_wrappers_are_applied_in_order_to_the_environment_of_a_config(tmp_path, monkeypatch):
    (tmp_path / "own_wrapper_of_test.py").write_text(
        "import gymnasium as gym\n"
        "def double(env):\n"
        "    return gym.wrappers.TransformReward(env, lambda reward: 2.0 * reward)\n"
        "def nothing(env):\n"
        "    return None\n"
        "def broken(env):\n"
        "    raise RuntimeError('no camera')\n"
    )
    monkeypatch.chdir(tmp_path)
    gym.register("ToolOfTest-v0", lambda **_: ToolEnv(), max_episode_steps=5)
    wrappers = ("relative_frame", "quaternion_to_euler", "gripper_penalty:-0.25,in_reward=True", "own_wrapper_of_test:double", "resize:2")
    environment = make_environment(EnvironmentConfig("ToolOfTest-v0", wrappers=wrappers))
    assert {leaf.name: leaf.shape for leaf in environment.spec.observation} == {
        "images.front": (2, 2, 3),
        "images.wrist": (2, 2, 1),
        "state.tcp_pose": (6,),
        "state.tcp_vel": (6,),
    }
    environment.reset(0)
    assert environment.step(np.ones(7)).raw_reward == pytest.approx(1.5)
    with pytest.raises(WarmloopError, match=r"own_wrapper_of_test:nothing returned None"):
        wrap(ToolEnv(), ["own_wrapper_of_test:nothing"])
    with pytest.raises(WarmloopError, match=r"own_wrapper_of_test:broken.*RuntimeError: no camera"):
        wrap(ToolEnv(), ["own_wrapper_of_test:broken"])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("frame_stak:3", r'no wrapper "frame_stak" .*did you mean frame_stack'),
        ("resize", r'"resize" needs height; it takes height, width, camera'),
        ("resize:128,64,front,9", r'given "9"; it takes height, width, camera'),
        ("resize:wide", "height=wide; it must be a whole number"),
        ("resize:64,hight=3", r'given "hight=3".*did you mean height'),
        ("resize:64,height=3", r'given "height=3"'),
        ("gripper_penalty:cheap", "penalty=cheap; it must be a number"),
        ("gripper_penalty:-0.1,in_reward=perhaps", "must be true or false"),
        ("quaternion", r"quaternion_to_euler|quaternion_to_6d"),
    ],
)
def test_a_mistaken_wrapper_is_refused_with_the_config(text, says):
    with pytest.raises(WarmloopError, match=says):
        EnvironmentConfig("Pendulum-v1", wrappers=(text,))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("relative_frme:actions", r'there is no module "relative_frme".*did you mean relative_frame'),
        ("math:sqroot", r'no "sqroot" in math'),
        ("relative_frame:tcp_poze", r'no observation "tcp_poze".*state\.tcp_pose'),
        ("relative_frame:tcp_pose[0:5]", r"pose of 3 or 7 numbers"),
        ("relative_frame:actions=base", "actions=reset or current"),
        ("quaternion_to_euler:state.tcp_pose[0:8]", r"no part of observation \"state\.tcp_pose\", whose shape is \(7,\)"),
        ("quaternion_to_euler:order=zyx", "order=xyzw or wxyz"),
        ("gripper_penalty:0.1", "penalty of at most 0"),
        ("frame_stack:0", "at least 1"),
        ("resize:8,camera=side", r'no camera "side" .*images\.front \(6, 8, 3\) uint8'),
        ("crop:0,0,7,7", r"rows 0 to 7 and columns 0 to 7 out of camera"),
    ],
)
def test_a_wrapper_that_does_not_fit_the_environment_is_refused(text, says):
    with pytest.raises(WarmloopError, match=says):
        wrap(ToolEnv(), [text])


def test_images_are_needed_where_images_are_wrapped():
    with pytest.raises(WarmloopError, match=r"resize finds no image .* array \(3,\) float32"):
        make_environment(EnvironmentConfig("Pendulum-v1", wrappers=("resize:8",)))


def test_safe_stop_reaches_the_robot_through_the_wrappers():
    env, stopped = ToolEnv(), []
    env.safe_stop = lambda: stopped.append(True)
    wrapped = wrap(env, ["relative_frame", "frame_stack:2"])
    assert Environment(wrapped, EnvironmentConfig("x"), RewardConfig()).safe_stop() and stopped == [True]


def test_every_wrapper_has_a_docstring():
    assert all(wrapper.__doc__ for wrapper in WRAPPERS.values())
