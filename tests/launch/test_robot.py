"""The documentation's example of one's own robot, as a user runs it: a robot's server, the environment, and one config file."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
import pytest
from runs import SIZES, Commands, sentence

from warmloop.agents.described import rebuild_agent
from warmloop.configs.schema import from_dict
from warmloop.data.formats import load_episodes
from warmloop.learner.checkpoints.complete_checkpoints import newest
from warmloop.learner.diagnosis.metrics import read
from warmloop.learner.starting_state import resume
from warmloop.learner.state import LearnerParts

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "robot"


class FakeRobot:
    """The process, and what it told of itself."""

    def __init__(self, *options: str):
        line = [sys.executable, "-u", str(FOLDER / "fake_robot.py"), "--port=0", "--speed=10", *options]
        self.process = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline().removeprefix("listening: "))

    @property
    def flags(self) -> tuple[str, ...]:
        kwargs = "--config.environment.kwargs"
        return f"--config={FOLDER / 'robot_config.py'}", f"{kwargs}.port={self.port}", f"{kwargs}.hz=100.0", f"{kwargs}.timeout=60.0"

    def told(self) -> list[str]:
        """Ends it; every line but the first."""
        self.process.terminate()
        return self.process.communicate(timeout=60)[0].splitlines()


@contextlib.contextmanager
def fake_robot(*options: str) -> Iterator[FakeRobot]:
    robot = FakeRobot(*options)
    try:
        yield robot
    finally:
        robot.process.kill()
        robot.process.wait()


@pytest.fixture(scope="module")
def demos(tmp_path_factory) -> Path:
    """Episodes of the scripted demonstrator, recorded by the command."""
    out = tmp_path_factory.mktemp("robot") / "demos.npz"
    with fake_robot() as robot:
        command = [sys.executable, "-m", "warmloop.launch.collect", f"--config={own_config(out.parent, robot)}"]
        flags = ["--policy=robot_env:reach", "--episodes=3", f"--out={out}"]
        done = subprocess.run([*command, *flags], capture_output=True, text=True, timeout=200, cwd=FOLDER)
        assert done.returncode == 0, done.stderr
        assert robot.told()[-1].startswith("stop")
    return out


def own_config(folder: Path, robot: FakeRobot) -> Path:
    """The config file with another port and rate, for `collect`, which takes no overrides."""
    text = (FOLDER / "robot_config.py").read_text().replace("__file__", repr(str(FOLDER / "robot_config.py")))
    assert '"port": 5100, "hz": 10.0' in text
    path = folder / "robot_config.py"
    path.write_text(text.replace('"port": 5100, "hz": 10.0', f'"port": {robot.port}, "hz": 100.0, "timeout": 60.0'))
    return path


@pytest.mark.long
def test_demonstrations_are_recorded_over_the_socket(demos):
    episodes = load_episodes(demos)
    assert len(episodes) == 3 and all(episode.succeeded for episode in episodes)
    targets = [episode.steps.observation["target"][0] for episode in episodes]
    assert len({tuple(target) for target in targets}) == 3
    for episode in episodes:
        steps = episode.steps
        np.testing.assert_array_equal(steps.observation["position"][1:], steps.next_observation["position"][:-1])
        gap = np.abs(steps.next_observation["position"] - steps.next_observation["target"]).max(axis=1)
        assert gap[-1] < 0.1 and (gap[:-1] >= 0.1).all() and gap[0] > gap[-1]


@pytest.mark.slow
def test_a_policy_is_trained_on_the_robot_which_stands_still_at_the_end(demos, tmp_path):
    with fake_robot() as robot:
        commands = Commands(tmp_path, (*robot.flags, *SIZES))
        done = commands.run("train_rlpd", "--exp_name=robot", f"--demo_path={demos}", "--online_steps=120")
        assert done.returncode == 0, done.stderr
        told = robot.told()
    records = list(read(tmp_path / "robot"))
    assert any(record.get("replay/online_size", 0) >= 100 for record in records)
    resets = [line for line in told if line.startswith("reset")]
    assert len(resets) >= 2 and told[-1].startswith("stop: after 12")


SEES = ("--config.agent.vision.channels=(4, 4)", "--config.agent.vision.features=4")


@pytest.mark.slow
def test_a_policy_is_trained_on_the_robots_camera_and_a_resumed_run_has_its_pictures_again(tmp_path):
    with fake_robot() as robot:
        camera = (*robot.flags, "--config.environment.kwargs.camera=True", *SIZES, *SEES)
        commands = Commands(tmp_path, (*camera, "--config.replay.capacity=100"))
        for steps, more in (("60", ()), ("110", ("--resume",))):
            done = commands.run("train_rlpd", "--exp_name=robot", f"--online_steps={steps}", *more)
            assert done.returncode == 0, done.stderr
    assert int(read(tmp_path / "robot")[-1]["environment_steps"]) == 110
    state, meta = resume(tmp_path / "robot" / "checkpoints", parts_of(tmp_path / "robot" / "checkpoints"))
    assert meta["rows"] == 110 and set(state.frames.pixels) == {"camera"} and state.frames.count == meta["frames"]
    assert f"room for {meta['frames']:,} camera frames of 3.8 kB" in done.stderr
    moved = [np.abs(np.asarray(leaf)).max() for leaf in jax.tree.leaves(state.agent.encoder_optimizer[0].mu)]
    assert min(moved) > 0, "the critics' loss trains every layer of the encoder"


def parts_of(checkpoints: Path) -> LearnerParts:
    """The parts of the run whose checkpoints these are."""
    saved = newest(checkpoints)
    config = from_dict(saved.meta["config"])
    return LearnerParts(rebuild_agent(saved.meta["agent"]), config.replay, config.mixing, config.frames)


@pytest.mark.slow
def test_a_robot_that_hangs_up_is_told_to_stop_and_the_run_goes_on_with_its_next_episode(demos, tmp_path):
    with fake_robot("--silent_after=30") as robot:
        commands = Commands(tmp_path, (*robot.flags, *SIZES))
        done = commands.run("train_rlpd", "--exp_name=robot", f"--demo_path={demos}", "--online_steps=60")
        told = robot.told()
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    assert f'The robot at 127.0.0.1:{robot.port} answered "move" by hanging up. Fault 1 of 20' in done.stderr
    assert "stop: after 30 moves" in told and told[-1].startswith("stop: after 6"), told
    assert int(read(tmp_path / "robot")[-1]["environment_steps"]) == 60


@pytest.mark.long
def test_a_robot_that_is_not_there_is_told_in_a_sentence(tmp_path):
    with fake_robot() as robot:
        commands = Commands(tmp_path, (*robot.flags, *SIZES))
    done = commands.run("train_rlpd", "--exp_name=robot", "--online_steps=20")
    assert "There is no robot at 127.0.0.1:" in sentence(done) and "start its server" in sentence(done)


def test_the_camera_shows_the_arm_and_its_target():
    code = """
import numpy as np, sys
from robot_env import RobotEnv
env = RobotEnv(port=int(sys.argv[1]), hz=50.0, camera=True)
first = env.reset(seed=0)[0]
assert env.observation_space.contains(first)
for _ in range(10):
    last = env.step(np.array([1.0, 0.0]))[0]
def centre(picture, colour):
    return np.argwhere((picture == colour).all(axis=-1)).mean(axis=0)
assert (centre(first["camera"], [255, 0, 0]) == centre(last["camera"], [255, 0, 0])).all()
way = centre(last["camera"], 255) - centre(first["camera"], 255)
assert way[0] == 0 and way[1] > 3, way
env.close()
"""
    with fake_robot() as robot:
        done = subprocess.run([sys.executable, "-c", code, str(robot.port)], capture_output=True, text=True, timeout=200, cwd=FOLDER)
        assert done.returncode == 0, done.stderr
