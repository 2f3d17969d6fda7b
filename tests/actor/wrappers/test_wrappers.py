"""Wrappers, against plain sums and block means, and what they refuse."""

import enum

import gymnasium as gym
import numpy as np
import pytest
from tool_env import ToolEnv

from warmloop.actor.environment.environment import Environment, EnvironmentConfig, make_environment
from warmloop.actor.wrappers import WRAPPERS, wrap
from warmloop.data.errors import WarmloopError
from warmloop.data.reward import RewardConfig


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
    pytest.importorskip("gym_hil", reason="gym-hil is not installed (extra [robotics])")
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
    with pytest.raises(WarmloopError, match=r'observation "state\.tcp_pose" has shape \(1, 7\).*one axis; .*drop_history'):
        Environment(Chunked(), EnvironmentConfig("x"), RewardConfig())
    with pytest.raises(WarmloopError, match=r'"state\.tcp_pose" has shape \(2, 7\).*one axis; the wrapper as_numbers:state\.tcp_pose'):
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
        ("frame_stak:3", r'wrappers is "frame_stak:3"; it must be .*did you mean frame_stack'),
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


class SerlEnv(gym.Env):
    """What HIL-SERL's environment observes."""

    def __init__(self):
        sizes = {"tcp_pose": 7, "gripper_pose": 1, "tcp_vel": 6}
        self.state = gym.spaces.Dict({name: gym.spaces.Box(-np.inf, np.inf, (size,), np.float32) for name, size in sizes.items()})
        images = gym.spaces.Dict({name: gym.spaces.Box(0, 255, (8, 8, 3), np.uint8) for name in ("wrist_1", "wrist_2")})
        self.observation_space = gym.spaces.Dict({"state": self.state, "images": images})
        self.action_space = gym.spaces.Box(-1, 1, (7,), np.float32)

    def reset(self, *, seed=None, options=None):
        self.seen = self.observation_space.sample()
        return self.seen, {}


@pytest.mark.parametrize("keys", ["", "tcp_pose+gripper_pose"])
def test_a_hil_serl_observation_is_flattened_as_gymnasium_flattens_it_with_the_cameras_beside(keys):
    env = SerlEnv()
    wrapped = wrap(env, (f"serl_observation:{keys}" if keys else "serl_observation",))
    observation, _ = wrapped.reset()
    named = keys.split("+") if keys else list(env.state.spaces)
    part = gym.spaces.Dict({name: env.state[name] for name in named})
    flat = gym.spaces.flatten(part, {name: env.seen["state"][name] for name in named})
    np.testing.assert_array_equal(observation["state"], flat)
    np.testing.assert_array_equal(observation["wrist_2"], env.seen["images"]["wrist_2"])
    assert wrapped.observation_space.contains(observation) and set(observation) == {"state", "wrist_1", "wrist_2"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("serl_observation:tcp_pos", 'finds no part "tcp_pos"'),
        ("serl_observation:tcp_pose+tcp_pose", "each once"),
        ("serl_observation:wrist_1", "parts that are numbers"),
    ],
)
def test_parts_that_are_no_state_are_refused(text, said):
    with pytest.raises(WarmloopError, match=said):
        wrap(SerlEnv(), (text,))
