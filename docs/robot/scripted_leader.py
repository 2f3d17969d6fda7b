"""A pretend leader arm behind a pseudo-terminal of its own, and a scripted person who moves it, beside simulated_so101.py in real time.

    python docs/robot/scripted_leader.py --link=/tmp/so101-leader --calibration=/tmp/so101-calibration

The arm has the servos of fake_so101.py, and its name is leader. The person sees the follower and the cube, by the `view` of the table's
server. Where the policy has made no progress for `--patience` seconds, they pull the leader until it is limp, lead as pick_task.py's
script acts, and let go once the cube is up.
"""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from fake_so101 import MOTORS, RANGES, TICKS, TORQUE, Bus, serve
from pick_task import TASK, TRACKER, Pick, arm_model, is_lifted, seen

from warmloop.actor.intervention.teacher import TakeoverRule, Teacher
from warmloop.actor.robots.http_robot import HttpRobot
from warmloop.data.errors import EnvironmentFault

HZ, BEAT = 10.0, 0.05  # commands a second of the task; seconds between two looks of the person
PULL = 60.0  # degrees a second, of a hand on an arm that holds itself
LONGEST = 8.0  # seconds of an episode, after which a person lets go
ARM = slice(0, 5)  # of the joints, all but the gripper


class Hand:
    """A hand on a leader arm, whose joints are `[6]` in LeRobot's units: degrees, the gripper in percent."""

    def __init__(self, bus: Bus):
        self._bus = bus
        low, high = np.array(RANGES, np.float64).T
        self._zero, self._unit = (low + high) / 2, np.full(len(MOTORS), (TICKS - 1) / 360)  # ticks
        self._zero[-1], self._unit[-1] = low[-1], (high - low)[-1] / 100

    @property
    def limp(self) -> bool:
        """Whether the arm holds itself in no joint."""
        return not any(servo.memory[TORQUE] for servo in self._bus.servos.values())

    @property
    def joints(self) -> np.ndarray:
        return (self._bus.state() - self._zero) / self._unit

    def hold(self, joints: np.ndarray) -> None:
        """Brings the arm there."""
        self._put((joints * self._unit + self._zero).tolist())

    def let_go(self) -> None:
        self._put([None] * len(MOTORS))

    def _put(self, places: list[float] | list[None]) -> None:
        with self._bus.lock:
            for servo, place in zip(self._bus.servos.values(), places, strict=True):
                servo.hand = place


class Person:
    """Watches an episode, and takes the leader where the policy does not get on.

    Args:
        hand: on the leader.
        view: what there is to see: `state` `[6]`, the follower's joints; `position` and `turn` of the cube; `placed`, how often it was
            put back.
        patience: seconds without progress before they take over; 0 to lead from the start, as in a demonstration.
    """

    def __init__(self, hand: Hand, view: Callable[[], dict[str, Any]], patience: float):
        self._hand, self._view, self._arm = hand, view, arm_model()
        self._teacher = Teacher(Pick(), TakeoverRule(patience=max(1, round(patience / BEAT)), hold=0))
        self._low, self._high, self._step = (np.array(TASK[name]) for name in ("low", "high", "max_step"))
        self._lead = float(TASK["lead"]) * self._step
        self._placed, self._left, self._goal = -1, 0.0, np.zeros(len(MOTORS))

    def beat(self, seconds: float) -> None:
        """One look, and one movement of the hand, `seconds` after the last one."""
        told = self._view()
        joints = np.array(told["state"])
        observation = seen(self._arm, {"state": joints.astype(np.float32)}, told)
        if told["placed"] != self._placed:  # an episode begins
            self._placed, self._left, self._goal = told["placed"], LONGEST, self._hand.joints
            self._hand.let_go()
            self._teacher.begin(0)
        self._left -= seconds
        if is_lifted(observation) or self._left < 0:
            self._left = min(self._left, 0.0)
            self._hand.let_go()
            return
        action = self._teacher(observation, np.zeros(len(MOTORS)), 0).action
        if action is not None:
            self._hand.hold(self._moved(joints, action, seconds))

    def _moved(self, joints: np.ndarray, action: np.ndarray, seconds: float) -> np.ndarray:
        """Where the hand goes next: ahead of the follower, or away from where the leader holds itself, until it is limp."""
        if self._hand.limp:
            goal = self._goal + HZ * seconds * action * self._step
            self._goal = np.clip(goal, joints - self._lead, joints + self._lead)
        else:
            most = int(np.argmax(np.abs(action * self._step)[ARM]))
            self._goal = self._hand.joints
            self._goal[most] += PULL * seconds * (1.0 if action[most] >= 0 else -1.0)
        self._goal = np.clip(self._goal, self._low, self._high)
        return self._goal


def attend(person: Person, over: threading.Event) -> None:
    """Until it is over, or the table is gone."""
    before = time.monotonic()
    while not over.wait(BEAT):
        now = time.monotonic()
        try:
            person.beat(min(now - before, 2 * BEAT))
        except EnvironmentFault as error:
            print(f"the person leaves: {error}", flush=True)
            return
        before = now


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--link", help="a name for the leader's port, in place of the number that it has")
    parser.add_argument("--calibration", help="the folder where LeRobot's file of the arm named leader is written")
    parser.add_argument("--table", default=TRACKER, help="the server of simulated_so101.py (%(default)s)")
    parser.add_argument("--patience", type=float, default=1.2, help="seconds without progress; 0 leads from the start (%(default)s)")
    given = parser.parse_args()
    bus, table = Bus(), HttpRobot(given.table, timeout=5.0)
    table.connect()
    person = Person(Hand(bus), lambda: table.ask("view"), given.patience)
    threading.Thread(target=attend, args=(person, threading.Event()), name="person", daemon=True).start()
    serve(bus, given.link, given.calibration, name="leader")


if __name__ == "__main__":
    main()
