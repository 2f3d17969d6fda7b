"""A Franka behind HIL-SERL's HTTP interface: a real server, real requests, and an arm that follows."""

import sys
import threading
import time
from pathlib import Path

import gymnasium as gym
import jax
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import warmloop.actor.robots  # noqa: F401  # registers the environment
from warmloop.actor.robots.franka_config import read_config
from warmloop.actor.robots.newest_frame import scaled
from warmloop.actor.robots.pace import Pace
from warmloop.configs import load
from warmloop.data.errors import EnvironmentFault, WarmloopError

FOLDER = Path(__file__).resolve().parents[3] / "docs" / "robot"
SPEED = 50.0
DOWN = np.array([np.pi, 0.0, 0.0])


@pytest.fixture(autouse=True)
def beside(monkeypatch):
    """The task's module is found, as it is from the folder where a command starts."""
    monkeypatch.syspath_prepend(str(FOLDER))


@pytest.fixture
def start(monkeypatch):
    """Starts servers and environments, and ends them."""
    sys.path.insert(0, str(FOLDER))
    from fake_franka import Robot  # pyright: ignore[reportMissingImports]

    begun = []

    def both(config="reach_task:EnvConfig", camera="fake_franka:Camera", timeout=5.0, **options):
        robot = Robot(0, SPEED, **options)
        threading.Thread(target=robot.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{robot.server_port}/"
        env = gym.make(
            "FrankaServer-v0", config=config, url=url, speed=SPEED, camera=camera, timeout=timeout, max_episode_steps=1_000
        ).unwrapped
        begun.extend([env.close, robot.shutdown, robot.server_close])
        return env, robot

    yield both
    for end in begun:
        end()
    sys.path.remove(str(FOLDER))


def own_task(folder, monkeypatch, name, body):
    """A module with the class `EnvConfig`, derived from the example's."""
    (folder / f"{name}.py").write_text(
        f"import numpy as np\nfrom reach_task import EnvConfig as Base\nclass EnvConfig(Base):\n    {body}\n"
    )
    monkeypatch.syspath_prepend(str(folder))
    return f"{name}:EnvConfig"


def test_an_action_moves_the_commanded_pose_from_where_the_tool_is_by_the_configurations_scale(start):
    env, robot = start()
    observation, _ = env.reset(seed=0)
    here = env._state["tcp_pose"]
    env.step(np.array([0.5, -0.5, 0.25, 0.0, 0.0, 1.0, 0.0], np.float32))
    sent = np.array(robot.poses[-1])
    np.testing.assert_allclose(sent[:3], here[:3] + 0.015 * np.array([0.5, -0.5, 0.25]), atol=1e-6)
    turned = (Rotation.from_quat(sent[3:]) * Rotation.from_quat(here[3:]).inv()).as_rotvec()
    np.testing.assert_allclose(turned, [0.0, 0.0, 0.1], atol=1e-5)
    assert observation["state"]["tcp_pose"].dtype == np.float32 and env.observation_space.contains(observation)


def test_no_pose_beyond_the_box_is_ever_commanded(start):
    env, robot = start()
    env.reset(seed=0)
    for _ in range(40):
        env.step(np.array([1, 1, 1, 1, 1, 1, 0], np.float32))
    sent, config = np.array(robot.poses), env.config
    low, high = config.abs_pose_limit_low, config.abs_pose_limit_high
    assert (sent[:, :3] >= low[:3] - 1e-6).all() and (sent[:, :3] <= high[:3] + 1e-6).all()
    angles = np.abs(Rotation.from_quat(sent[:, 3:]).as_euler("xyz") - DOWN * 0)
    assert (angles[:, 0] >= low[3] - 1e-5).all() and (angles[:, 2] <= high[5] + 1e-5).all()
    assert sent[-1, 0] == pytest.approx(high[0], abs=1e-6), "the box was reached"


def test_a_reset_brings_the_arm_to_the_start_that_the_seed_decides_with_the_parameters_for_it(start):
    env, robot = start()
    asked = []
    for seed in (3, 4, 3):
        observation, _ = env.reset(seed=seed)
        asked.append(np.array(robot.poses[-1]))
        assert np.abs(observation["state"]["tcp_pose"][:3] - asked[-1][:3]).max() < 0.03, "the arm is about there"
    np.testing.assert_array_equal(asked[0], asked[2])
    assert np.abs(asked[0][:2] - asked[1][:2]).max() > 0.01
    reset, reach = env.config.reset_pose, env.config.random_xy_range
    assert np.abs(asked[0][:2] - reset[:2]).max() <= reach + 1e-6
    assert robot.arm.parameters == env.config.compliance_param
    assert robot.counts["update_param"] == 9 and "jointreset" not in robot.counts


def test_joints_are_reset_every_so_many_episodes(start, tmp_path, monkeypatch):
    env, robot = start(own_task(tmp_path, monkeypatch, "often_reset", "JOINT_RESET_PERIOD = 2"))
    for seed in range(4):
        env.reset(seed=seed)
    assert robot.counts["jointreset"] == 2


def test_an_episode_ends_by_success_at_the_target_and_is_cut_at_its_length(start, tmp_path, monkeypatch):
    env, _ = start()
    env.reset(seed=1)
    terminated, truncated, reward, info = False, False, 0.0, {}
    while not (terminated or truncated):
        towards = env.config.target_pose[:3] - env._state["tcp_pose"][:3]
        action = np.append(np.clip(towards / env.config.action_scale[0], -1, 1), np.zeros(4))
        _, reward, terminated, truncated, info = env.step(action)
    assert terminated and not truncated and info["succeed"] and reward == 1.0
    short, _ = start(own_task(tmp_path, monkeypatch, "short_task", "MAX_EPISODE_LENGTH = 3"))
    short.reset(seed=1)
    ends = [short.step(np.zeros(7))[1:4] for _ in range(3)]
    assert ends == [(0.0, False, False), (0.0, False, False), (0.0, False, True)]


def test_the_gripper_turns_once_for_decided_commands_and_the_arm_waits_for_it(start):
    env, robot = start()
    env.reset(seed=0)
    time.sleep(0.05)  # seconds of the arm's since the reset: more than the gripper needs
    for command in (-0.4, -0.6, -0.6, -1.0):
        env.step(np.append(np.zeros(6), command))
        time.sleep(0.05)
    assert robot.counts["close_gripper"] == 1 and "open_gripper" not in robot.counts
    observation = env.step(np.zeros(7))[0]
    assert observation["state"]["gripper_pose"][0] < 0.1
    env.step(np.append(np.zeros(6), 1.0))
    assert robot.counts["open_gripper"] == 1


def test_safe_stop_holds_the_arm_where_it_is_and_one_that_was_never_reached_does_not_move(start):
    env, robot = start()
    env.safe_stop()
    assert robot.requests == 0
    env.reset(seed=0)
    env.step(np.array([1, 0, 0, 0, 0, 0, 0], np.float32))
    env.safe_stop()
    before = np.array(robot.poses[-1][:3])
    time.sleep(0.1)
    np.testing.assert_allclose(robot.arm.place, before, atol=2e-3)


def test_a_server_that_answers_late_ends_the_episode_and_the_next_reset_goes_on(start):
    env, robot = start(timeout=1.0)
    env.reset(seed=0)
    robot.late_after, robot.lateness = robot.requests + 2, 3.0
    with pytest.raises(EnvironmentFault, match=r"did not answer \"\w+\" within 1 s"):
        for _ in range(3):
            env.step(np.zeros(7))
    robot.late_after = 0
    observation, _ = env.reset(seed=0)
    assert env.observation_space.contains(observation)


def test_a_server_that_is_not_there_is_told_in_a_sentence(start):
    env, robot = start()
    robot.shutdown()
    robot.server_close()
    with pytest.raises(WarmloopError, match=r"There is no robot server at http://127.0.0.1"):
        env.reset()


def test_an_answer_without_its_numbers_is_a_fault(start, monkeypatch):
    env, robot = start()
    env.reset(seed=0)
    told = robot.arm.state()
    monkeypatch.setattr(robot.arm, "state", lambda: told | {"pose": told["pose"][:6]})
    with pytest.raises(EnvironmentFault, match=r'answered "getstate" without 7 numbers as pose'):
        env.step(np.zeros(7))


CAMERAS = """REALSENSE_CAMERAS = {"wrist": {"url": "%s"}}
    IMAGE_CROP = {"wrist": lambda picture: picture[10:110, 20:140]}"""


def test_pictures_are_cropped_scaled_and_turned_to_rgb(start, tmp_path, monkeypatch):
    probe, robot = start()
    task = own_task(tmp_path, monkeypatch, "seeing_task", CAMERAS % probe._url)
    env, _ = start(task)
    observation, _ = env.reset(seed=0)
    robot._last[..., 0] = 200  # blue
    robot.frozen = True
    time.sleep(0.3)
    picture = env.step(np.zeros(7))[0]["images"]["wrist"]
    expected = jax.image.resize(np.float32(robot._last[10:110, 20:140]), (128, 128, 3), "linear", antialias=False)
    assert np.abs(np.float32(picture) - np.asarray(expected)[..., ::-1]).max() <= 0.51
    assert picture.dtype == np.uint8 and (picture[..., 2] == 200).all()
    assert env.render().shape == (128, 128, 3) and env.observation_space.contains(observation)


def test_a_camera_that_freezes_or_fails_ends_the_episode(start, tmp_path, monkeypatch):
    (tmp_path / "bad_cameras.py").write_text(
        "import time\nimport numpy as np\n"
        "class Frozen:\n"
        "    def __init__(self, name): self.first = True\n"
        "    def read(self):\n"
        "        if not self.first: time.sleep(30)\n"
        "        self.first = False\n"
        "        return np.zeros((8, 8, 3), np.uint8)\n"
        "    def close(self): pass\n"
        "class Broken(Frozen):\n"
        "    def read(self): raise RuntimeError('no device connected')\n"
    )
    task = own_task(tmp_path, monkeypatch, "frozen_task", 'REALSENSE_CAMERAS = {"side": {}}')
    monkeypatch.setattr("warmloop.actor.robots.franka_env.CAMERA_SECONDS", 0.5)
    frozen, _ = start(task, camera="bad_cameras:Frozen")
    frozen.reset(seed=0)
    time.sleep(0.6)
    with pytest.raises(EnvironmentFault, match=r"Camera side has given no picture for 0.5 s"):
        frozen.step(np.zeros(7))
    broken, _ = start(task, camera="bad_cameras:Broken")
    with pytest.raises(EnvironmentFault, match=r"Camera side failed: RuntimeError: no device connected"):
        broken.reset(seed=0)


@pytest.mark.parametrize("size", [(50, 70), (128, 200), (300, 128)])
def test_pictures_are_scaled_between_the_nearest_pixels(size):
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    expected = jax.image.resize(np.float32(picture), (128, 128, 3), "linear", antialias=False)
    assert np.abs(np.float32(scaled(picture, 128, 128)) - np.asarray(expected)).max() <= 0.51


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("RESET_POSE = np.zeros(7)", r"RESET_POSE is .*: it must be 6 numbers"),
        ("ACTION_SCALE = np.zeros(3)", "an action of 1 must move the arm"),
        ("ABS_POSE_LIMIT_HIGH = Base.ABS_POSE_LIMIT_LOW - 1", "there is no room"),
        ("ABS_POSE_LIMIT_LOW = Base.TARGET_POSE - np.array([0.1, 0.1, 0.05, 4, 0.3, 0.5])", "must not be negative"),
        ("RESET_POSE = Base.TARGET_POSE + 1.0", "RESET_POSE .* is beyond ABS_POSE_LIMIT"),
        ("MAX_EPISODE_LENGHT = 3", "MAX_EPISODE_LENGHT, which HIL-SERL's configuration does not know"),
        ("MAX_EPISODE_LENGTH = 0", "MAX_EPISODE_LENGTH must be at least 1"),
        ('IMAGE_CROP = {"wrist": None}', "IMAGE_CROP names wrist, and REALSENSE_CAMERAS none"),
    ],
)
def test_a_configuration_that_cannot_be_meant_is_refused_in_words(tmp_path, monkeypatch, body, said):
    name = f"refused_{abs(hash(body))}"
    task = own_task(tmp_path, monkeypatch, name, body)
    if "LENGHT" in body:  # as where the base class is not there
        (tmp_path / f"{name}.py").write_text("class EnvConfig:\n    RANDOM_RESET = True\n    MAX_EPISODE_LENGHT = 3\n")
    with pytest.raises(WarmloopError, match=said):
        read_config(task)


def test_the_preset_reads_length_and_cameras_from_the_labs_class(tmp_path, monkeypatch):
    config = load("configs/franka.py:reach_task:EnvConfig")
    kwargs = dict(config.environment.kwargs)
    assert kwargs["url"] == "" and kwargs["timeout"] == 1.0, "a flag can change them"
    assert config.environment.horizon == 60 and config.environment.wrappers == ("quaternion_to_euler", "serl_observation")
    seeing = load("configs/franka.py:" + own_task(tmp_path, monkeypatch, "camera_task", 'REALSENSE_CAMERAS = {"wrist_1": {}}'))
    assert seeing.environment.wrappers[0] == "relative_frame:actions=current" and not seeing.actor.simulator
    with pytest.raises(WarmloopError, match="Name the class of your configuration"):
        load("configs/franka.py")


def test_a_late_step_is_told_and_no_step_is_shorter_than_the_period():
    now = [0.0]
    pace = Pace(10.0, clock=lambda: now[0], sleep=lambda seconds: now.__setitem__(0, now[0] + seconds))
    pace.restart()
    now[0] = 0.04
    assert not pace.wait() and now[0] == pytest.approx(0.1)
    now[0] = 0.35  # the beat at 0.2 is over
    assert pace.wait()
    assert not pace.wait() and now[0] == pytest.approx(0.45)
