"""A simulated SO-101 on a table with a cube, behind a pseudo-terminal that speaks the Feetech protocol, and an HTTP server for the rest.

    python docs/robot/simulated_so101.py --link=/tmp/so101 --calibration=/tmp/so101-calibration --port=5101 --step=0.1

The servos are those of fake_so101.py, with MuJoCo (so101_scene.py) behind them in place of a lag. With `--step` the arm's time passes
by that much at each command of goals and not otherwise, so that all may go as fast, or as slowly, as the computer does; without it,
its time is ours. The server answers, by POST as HIL-SERL's does: `cube`, its position and turn, as a tracker of a tag on it tells
them; `place`, which puts it on the table; `view`, what a person at the table sees; `scene`, where all is, for a camera (so101_camera.py).
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
from fake_so101 import GOAL, MOTORS, RANGES, SYNC_WRITE, TICKS, TORQUE, Bus, Servo, serve
from so101_scene import Scene

LONGEST = 2.0  # seconds that are simulated after a silence, in which all has come to rest
GRIPPER = MOTORS.index("gripper")


class SimulatedServo(Servo):
    """A motor whose shaft and load are MuJoCo's."""

    def __init__(self, number: int, ticks: float):
        self.place, self.strain = ticks, 0.0
        super().__init__(number, ticks)

    def follow(self, goal: float, seconds: float) -> None:
        self.ticks = self.place

    def load(self, goal: float) -> float:
        return 1000.0 * self.strain


class SimulatedBus(Bus):
    """The motors of a scene.

    Args:
        scene: the arm and what is around it.
        step: seconds that pass at each command of goals; 0 where time passes as ours does.
        trace: a file that gets a line of JSON with the scene's `qpos` and our `time` at each such command; "" for none.
    """

    def __init__(self, scene: Scene, step: float = 0.0, trace: str = ""):
        self.scene, self.step = scene, step
        self._trace = open(trace, "a", buffering=1) if trace else None  # noqa: SIM115  # as long as the bus
        low, high = np.array(RANGES, np.float64).T
        self._rate = np.full(len(MOTORS), 2 * np.pi / (TICKS - 1))  # radians a tick
        self._rate[GRIPPER] = np.ptp(scene.limits[GRIPPER]) / (high - low)[GRIPPER]
        self._zero = (low + high) / 2  # ticks
        self._zero[GRIPPER] = low[GRIPPER] - scene.limits[GRIPPER, 0] / self._rate[GRIPPER]
        scene.put(((low + high) / 2 - self._zero) * self._rate)
        super().__init__()

    def _servo(self, number: int, ticks: float) -> Servo:
        return SimulatedServo(number, ticks)

    def _advance(self) -> None:
        if self.step:
            self._pass(0.0)
        else:
            super()._advance()

    def _act(self, number: int, instruction: int, parameters: bytes) -> None:
        super()._act(number, instruction, parameters)
        if instruction == SYNC_WRITE and parameters[0] == GOAL:
            if self.step:
                self._pass(self.step)
            if self._trace:
                self._trace.write(json.dumps({"time": time.time(), "qpos": self.scene.qpos.tolist()}) + "\n")

    def _pass(self, seconds: float) -> None:
        servos = list(self.servos.values())
        goals = (np.array([servo.goal() for servo in servos]) - self._zero) * self._rate
        on, blocked = np.array([bool(servo.memory[TORQUE]) for servo in servos]), np.array([servo.blocked for servo in servos])
        self.scene.advance(min(seconds, LONGEST), goals, on, blocked)
        for servo, place, strain in zip(servos, self.scene.angles / self._rate + self._zero, self.scene.loads, strict=True):
            assert isinstance(servo, SimulatedServo)
            servo.place, servo.strain = float(place), float(strain)
        super()._pass(seconds)


class Answers(BaseHTTPRequestHandler):
    """One request."""

    protocol_version, wbufsize, disable_nagle_algorithm = "HTTP/1.1", -1, True  # an answer is one packet, sent at once

    def do_POST(self) -> None:
        table: Any = self.server
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        answer = table.answer(self.path.strip("/"), body)
        text = json.dumps({"error": f"There is no {self.path}."} if answer is None else answer).encode()
        self.send_response(404 if answer is None else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: Any) -> None:  # as its base has it
        """Nothing."""


class Table(ThreadingHTTPServer):
    """What stands around the arm: the tracker of the cube, and whoever puts it back."""

    daemon_threads = True

    def __init__(self, scene: Scene, port: int):
        super().__init__(("127.0.0.1", port), Answers)
        self.scene, self.placed = scene, 0
        threading.Thread(target=self.serve_forever, name="table", daemon=True).start()

    def answer(self, what: str, body: dict[str, Any]) -> dict[str, Any] | None:
        """None where there is no such request."""
        match what:
            case "cube":
                return self.scene.cube()
            case "place":
                self.scene.place(float(body["x"]), float(body["y"]), float(body["turn"]))
                self.placed += 1
                return self.scene.cube()
            case "view":
                return self.scene.cube() | {"state": self.scene.pose.tolist(), "placed": self.placed}
            case "scene":
                return {"qpos": self.scene.qpos.tolist()}
        return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--link", help="a name for the servos' port, in place of the number that it has")
    parser.add_argument("--calibration", help="the folder where LeRobot's file of the arm named fake is written")
    parser.add_argument("--port", type=int, default=5101, help="where the table's server listens; 0 takes any free one (%(default)s)")
    parser.add_argument("--step", type=float, default=0.0, help="seconds that pass at each command; 0: as ours do (%(default)s)")
    parser.add_argument("--trace", default="", help="a file for where all was at each command, for a film of it")
    given = parser.parse_args()
    scene = Scene()
    bus, table = SimulatedBus(scene, given.step, given.trace), Table(scene, given.port)
    serve(bus, given.link, given.calibration, f" http://127.0.0.1:{table.server_port}/")


if __name__ == "__main__":
    main()
