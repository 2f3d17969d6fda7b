"""A pretend Franka behind HIL-SERL's HTTP interface, so that the real thing's commands run without one.

    python docs/robot/fake_franka.py --port=5100

It answers what HIL-SERL's franka_server.py answers: getstate, pose, clearerr, update_param, open_gripper, close_gripper, jointreset; and
`picture`, for a camera over the tool. The tool follows the commanded pose as an impedance controller has it do, and no faster than
0.5 m/s and 2 rad/s.
"""

from __future__ import annotations

import argparse
import base64
import json
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

SETTLING = 0.06  # seconds in which the tool follows a command
FASTEST, TURNING = 0.5, 2.0  # metres and radians a second
GRIPPER_SECONDS = 0.5
PICTURE = (120, 160)
CENTRE, REACH = np.array([0.5, 0.0]), 0.15  # metres that the picture shows around a place on the table


class Arm:
    """Where the tool is, brought up to the present whenever someone asks; `speed` seconds of its own pass in one of ours."""

    def __init__(self, speed: float):
        self.speed, self.lock, self.now = speed, threading.Lock(), time.monotonic()
        self.place, self.turn = np.array([0.5, 0.0, 0.3]), Rotation.from_euler("xyz", [np.pi, 0.0, 0.0])
        self.target = self.place.copy(), self.turn
        self.velocity, self.gripper, self.opening = np.zeros(6), 1.0, 1.0
        self.parameters: dict[str, Any] = {}

    def advance(self) -> None:
        """Up to now."""
        passed, self.now = (time.monotonic() - self.now) * self.speed, time.monotonic()
        if passed <= 0:
            return
        share = 1.0 - np.exp(-passed / SETTLING)
        move = _shortened(share * (self.target[0] - self.place), FASTEST * passed)
        turn = _shortened(share * (self.target[1] * self.turn.inv()).as_rotvec(), TURNING * passed)
        self.place, self.turn = self.place + move, Rotation.from_rotvec(turn) * self.turn
        self.velocity = np.concatenate([move, turn]) / passed
        reach = passed / GRIPPER_SECONDS
        self.gripper += float(np.clip(self.opening - self.gripper, -reach, reach))

    def pose(self) -> list[float]:
        return [*self.place.tolist(), *self.turn.as_quat().tolist()]

    def state(self) -> dict[str, Any]:
        """As HIL-SERL's server tells it."""
        push = 400.0 * (self.target[0] - self.place)
        joints = {"q": [0.0] * 7, "dq": [0.0] * 7, "jacobian": np.zeros((6, 7)).tolist()}
        told = {"pose": self.pose(), "vel": self.velocity.tolist(), "force": push.tolist(), "torque": [0.0] * 3}
        return told | joints | {"gripper_pos": self.gripper}

    def picture(self) -> np.ndarray:
        """BGR: the tool in white over a grey table, larger where it is higher."""
        image = np.full((*PICTURE, 3), 90, np.uint8)
        row, column = ((self.place[:2] - CENTRE) / REACH * 0.5 + 0.5) * PICTURE
        size = int(6 + 40 * self.place[2])
        top, left = max(int(row) - size // 2, 0), max(int(column) - size // 2, 0)
        image[top : top + size, left : left + size] = (255, 255, 255)
        return image


def _shortened(vector: np.ndarray, most: float) -> np.ndarray:
    length = float(np.linalg.norm(vector))
    return vector * (most / length) if length > most else vector


class Answers(BaseHTTPRequestHandler):
    """One request."""

    protocol_version, wbufsize, disable_nagle_algorithm = "HTTP/1.1", -1, True  # an answer is one packet, sent at once

    def do_POST(self) -> None:
        robot: Any = self.server
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        what = self.path.strip("/")
        robot.count(what)
        if robot.is_late():
            time.sleep(robot.lateness)
        answer = robot.answer(what, body)
        text = (json.dumps(answer) if isinstance(answer, dict) else answer or f"There is no {what}.").encode()
        self.send_response(404 if answer is None else 200)
        self.send_header("Content-Type", "application/json" if isinstance(answer, dict) else "text/html")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: Any) -> None:  # as its base has it
        """Nothing: the commands are counted."""


class Robot(ThreadingHTTPServer):
    """The server. From the `late_after`-th request on it answers `lateness` seconds late, `late_for` times."""

    daemon_threads = True

    def __init__(self, port: int, speed: float = 1.0, late_after: int = 0, lateness: float = 0.0, late_for: int = 1):
        super().__init__(("127.0.0.1", port), Answers)
        self.arm, self.counts, self.requests = self.made_arm(speed), dict[str, int](), 0
        self.late_after, self.lateness, self.late_for = late_after, lateness, late_for
        self.poses: list[list[float]] = []
        self.frozen = False
        self._last = self.arm.picture()

    def made_arm(self, speed: float) -> Arm:
        return Arm(speed)

    def count(self, what: str) -> None:
        with self.arm.lock:
            self.requests += 1
            self.counts[what] = self.counts.get(what, 0) + 1

    def is_late(self) -> bool:
        return bool(self.late_after) and self.late_after <= self.requests < self.late_after + self.late_for

    def answer(self, what: str, body: dict[str, Any]) -> dict[str, Any] | str | None:
        """None where there is no such request."""
        with self.arm.lock:
            self.arm.advance()
            match what:
                case "getstate":
                    return self.arm.state()
                case "pose":
                    self.poses.append(body["arr"])
                    self.arm.target = np.array(body["arr"][:3]), Rotation.from_quat(body["arr"][3:])
                    return "Moved"
                case "open_gripper" | "close_gripper":
                    self.arm.opening = float(what == "open_gripper")
                    return what
                case "update_param":
                    self.arm.parameters = body
                    return "Updated compliance parameters"
                case "clearerr" | "jointreset":
                    return what
                case "picture":
                    self._last = self._last if self.frozen else self.arm.picture()
                    return {"picture": base64.b64encode(self._last.tobytes()).decode()}
        return None


class Camera:
    """A camera over the table, called as HIL-SERL calls its own; the picture is fetched from the pretend robot."""

    def __init__(self, name: str, url: str, fps: float = 30.0):
        self.name, self._url, self._period = name, url, 1.0 / fps

    def read(self) -> tuple[bool, np.ndarray]:
        """Whether there is a picture, and it, BGR `[H, W, 3]`."""
        time.sleep(self._period)
        with urllib.request.urlopen(urllib.request.Request(f"{self._url}picture", b"{}"), timeout=5.0) as answer:
            pixels = base64.b64decode(json.load(answer)["picture"])
        return True, np.frombuffer(pixels, np.uint8).reshape(*PICTURE, 3)

    def close(self) -> None:
        """Nothing is open."""


def serve(robot: Robot) -> None:
    """Answers until Ctrl-C; prints its port first, and how much it answered at the end."""
    print(f"listening: {robot.server_port}", flush=True)
    try:
        robot.serve_forever()
    except KeyboardInterrupt:
        print(f"answered {robot.requests} requests")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=5100, help="where it listens; 0 takes any free one (%(default)s)")
    parser.add_argument("--speed", type=float, default=1.0, help="seconds of the arm's that pass in one of ours (%(default)s)")
    given = parser.parse_args()
    serve(Robot(given.port, given.speed))


if __name__ == "__main__":
    main()
