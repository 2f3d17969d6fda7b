"""The simulated Franka behind its HTTP server, and the cube that a script picks up with it."""

import sys
import threading
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("gym_hil", reason="gym-hil is not installed")
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "docs" / "robot"))

import franka_pick_task  # pyright: ignore[reportMissingImports]
from simulated_franka import HOME, SimulatedFranka  # pyright: ignore[reportMissingImports]

from warmloop.actor.environment.environment import make_environment
from warmloop.actor.robots.http_robot import HttpRobot
from warmloop.configs import load

SECONDS = 30.0  # for an answer, on a busy machine


@pytest.fixture
def ask(monkeypatch):
    """Requests to a server whose time passes with the commands."""
    server = SimulatedFranka(0, step=0.1)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    robot = HttpRobot(f"http://127.0.0.1:{server.server_port}/", SECONDS)

    def one(what, **body):
        return robot.ask(what, body)

    monkeypatch.setattr(franka_pick_task, "TRACKER", robot.url)
    yield one
    robot.close()
    server.shutdown()
    server.server_close()


def test_time_passes_with_each_commanded_pose_and_not_otherwise(ask):
    start = ask("getstate")
    goal = np.array(start["pose"])
    goal[:3] += [0.0, 0.05, 0.1]
    assert ask("getstate") == start
    ask("pose", arr=goal.tolist())
    first = ask("getstate")
    assert first["pose"][1] > start["pose"][1] + 0.005 and first["force"][2] > 5.0, "on its way, pulled up"
    assert ask("getstate") == first
    for _ in range(10):
        ask("pose", arr=goal.tolist())
    told = ask("getstate")
    np.testing.assert_allclose(told["pose"], goal, atol=3e-3)
    np.testing.assert_allclose(told["vel"], 0.0, atol=5e-3)


def test_parameters_are_the_controllers(ask):
    goal = np.array(ask("getstate")["pose"])
    goal[2] += 0.015
    moved = []
    for stiffness in (200, 2000):
        ask("jointreset")
        ask("update_param", translational_stiffness=stiffness)
        before = ask("getstate")["pose"][2]
        ask("pose", arr=goal.tolist())
        moved.append(ask("getstate")["pose"][2] - before)
    assert 0 < moved[0] < 0.5 * moved[1]


def test_a_reset_of_the_joints_brings_them_home(ask):
    goal = np.array(ask("getstate")["pose"])
    goal[:3] += [-0.1, 0.1, 0.2]
    for _ in range(12):
        ask("pose", arr=goal.tolist())
    assert np.abs(np.array(ask("getstate")["q"]) - HOME).max() > 0.1
    ask("jointreset")
    told = ask("getstate")
    np.testing.assert_allclose(told["q"], HOME, atol=1e-6)
    assert np.shape(told["jacobian"]) == (6, 7) and np.shape(told["dq"]) == (7,)


def test_the_gripper_shuts_on_nothing_and_stops_at_a_cube(ask):
    ask("place", x=0.6, y=0.15, turn=0.0)
    ask("close_gripper")
    assert ask("getstate")["gripper_pos"] < 0.1
    ask("open_gripper")
    assert ask("getstate")["gripper_pos"] > 0.9
    tool = ask("getstate")["pose"]
    ask("place", x=tool[0], y=tool[1], turn=0.0)
    for _ in range(12):
        ask("pose", arr=[*tool[:2], 0.02, *tool[3:]])
    ask("close_gripper")
    assert 0.3 < ask("getstate")["gripper_pos"] < 0.6


def test_the_script_picks_the_cube_up_wherever_it_is_put(ask):
    config = load(franka_pick_task.__file__)
    kwargs = dict(config.environment.kwargs) | {"url": franka_pick_task.TRACKER, "timeout": SECONDS}
    environment = make_environment(config.replace(environment={"kwargs": kwargs}).environment)
    pick, starts = franka_pick_task.Pick(), []
    for seed in range(2):
        observation, lifted, heights = environment.reset(seed), False, []
        starts.append(observation["state"][:2])
        for step in range(60):
            outcome = environment.step(pick(observation, step))
            observation, lifted = outcome.next_observation, bool(outcome.success)
            heights.append(float(observation["state"][2]))
            if lifted:
                break
        assert lifted and heights[-1] > 0.07 and 0.2 < observation["state"][3] < 0.8, "it holds it between its fingers"
        assert len(heights) > 8 and heights[0] < 0.025
    assert (starts[0] != starts[1]).any()
    environment.close()
