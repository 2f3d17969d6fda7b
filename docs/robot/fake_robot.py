"""A pretend robot behind a TCP socket, so that the example runs without one: two joints that are told velocities, and a camera.

    python docs/robot/fake_robot.py --port=5100

Each request is a line of JSON with "do", and so is each answer:

    {"do": "reset", "seed": 3}              goes home, and has a new target
    {"do": "move", "velocity": [0.5, 0]}    radians per second, from now on
    {"do": "state", "camera": true}         where the joints, their velocities and the target are, and a picture in base64
    {"do": "stop"}                          stands still

It stands still by itself where it hears nothing for half a second, and where its client goes. It serves one client at a time.
"""

from __future__ import annotations

import argparse
import base64
import json
import random
import socketserver
import threading
import time
from typing import Any

HOME, LIMIT, FASTEST = [0.0, 0.0], 1.5, 1.0  # radians, radians, radians per second
SETTLING = 0.05  # seconds in which a joint follows a command
SILENCE = 0.5  # seconds after which it stops by itself
PICTURE = 32  # pixels of an edge


class Arm:
    """Two joints, simulated up to the present whenever someone asks; `speed` seconds of theirs pass in one of ours."""

    def __init__(self, speed: float):
        self.speed, self.lock = speed, threading.Lock()
        self.position, self.velocity, self.command, self.target = list(HOME), [0.0, 0.0], [0.0, 0.0], list(HOME)
        self.time = self.heard = time.monotonic()

    def reset(self, seed: int) -> None:
        draw = random.Random(seed)
        self.position, self.velocity, self.command = list(HOME), [0.0, 0.0], [0.0, 0.0]
        self.target = [draw.uniform(-1.0, 1.0) for _ in HOME]

    def move(self, velocity: list[float]) -> None:
        self.command = [max(-FASTEST, min(FASTEST, float(value))) for value in velocity]

    def advance(self) -> None:
        """Up to now, in steps of a tenth of the joints' settling time."""
        now, step = time.monotonic(), SETTLING / 10.0
        silent_from = self.heard + SILENCE / self.speed
        for _ in range(min(int((now - self.time) * self.speed / step), 2000)):
            self.time += step / self.speed
            if self.time > silent_from:
                self.command = [0.0, 0.0]
            for joint in range(2):
                self.velocity[joint] += (self.command[joint] - self.velocity[joint]) / 10.0
                self.position[joint] = max(-LIMIT, min(LIMIT, self.position[joint] + step * self.velocity[joint]))
        if now - self.time > step / self.speed:
            self.time = now  # after a long silence it has stood still
        self.heard = now

    def picture(self) -> bytes:
        """RGB, row by row: the joints' position in white, the target in red."""
        image = bytearray(PICTURE * PICTURE * 3)
        for (x, y), colour in ((self.target, (255, 0, 0)), (self.position, (255, 255, 255))):
            column, row = (round((value + LIMIT) / (2 * LIMIT) * (PICTURE - 3)) for value in (x, y))
            for offset in range(9):
                pixel = 3 * ((row + offset // 3) * PICTURE + column + offset % 3)
                image[pixel : pixel + 3] = bytes(colour)
        return bytes(image)


class Session(socketserver.StreamRequestHandler):
    """One client, from its first word to its last."""

    def handle(self) -> None:
        robot: Any = self.server
        try:
            for line in self.rfile:
                answer = robot.answer(json.loads(line))
                if answer is None:
                    return
                self.wfile.write(json.dumps(answer).encode() + b"\n")
        except (ValueError, OSError) as error:
            robot.tell("broken", str(error))
        finally:
            robot.arm.move([0.0, 0.0])


class Robot(socketserver.TCPServer):
    """The server. `moves` is after how many of them it falls silent, to see what happens then; 0 is never."""

    allow_reuse_address = True

    def __init__(self, port: int, speed: float, moves: int):
        super().__init__(("127.0.0.1", port), Session)
        self.arm, self.silent_after, self.moves = Arm(speed), moves, 0

    def answer(self, request: dict) -> dict | None:
        """The answer to a request; None is silence, and ends the session."""
        arm, what = self.arm, request.get("do")
        arm.advance()
        if what == "reset":
            arm.reset(int(request["seed"]))
        elif what == "move":
            self.moves += 1
            if self.moves == self.silent_after:
                return None
            arm.move(request["velocity"])
        elif what == "stop":
            arm.move([0.0, 0.0])
        elif what != "state":
            return {"error": f"unknown request {what!r}"}
        if what in ("reset", "stop"):
            self.tell(what, f"after {self.moves} moves")
        state = {"position": arm.position, "velocity": arm.velocity, "target": arm.target}
        return state | ({"camera": base64.b64encode(arm.picture()).decode()} if request.get("camera") else {})

    def tell(self, what: str, detail: str) -> None:
        print(f"{what}: {detail}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="A pretend robot.")
    parser.add_argument("--port", type=int, default=5100, help="0 takes any free one.")
    parser.add_argument("--speed", type=float, default=1.0, help="Its seconds in one of ours.")
    parser.add_argument("--silent_after", type=int, default=0, help="Hang up at this move, as if it had failed.")
    options = parser.parse_args()
    with Robot(options.port, options.speed, options.silent_after) as robot:
        robot.tell("listening", str(robot.server_address[1]))
        robot.serve_forever()


if __name__ == "__main__":
    main()
