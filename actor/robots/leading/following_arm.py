"""A leader arm under a low torque that goes where its follower is, and tells when a hand pulls on it.

A hand is told by the arm's distance from all goals of the last half second: an arm that only lags, or has yet to come, is on its way
from one of these goals to another. The torque is limited by the motors' `Torque_Limit`, which they forget when their power goes off.
"""

from __future__ import annotations

import collections
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ....data.errors import EnvironmentFault, WarmloopError
from ..lerobot_link import LOST, until_quiet

LIMIT, GOAL, TORQUE = "Torque_Limit", "Goal_Position", "Torque_Enable"
FULL = 1000  # of the register: all of the torque
LAG_SECONDS = 0.5  # of an arm behind its goals
LONGEST_BEAT = 0.1  # seconds for which an arm that was left alone catches up in one beat
PULLS = 3  # beats one after another in which the arm is away from its goals
TRIES = 5  # for a packet that is lost


class FollowingArm:
    """The motors of a leader arm. All calls are those of one thread.

    Args:
        device: LeRobot's teleoperator, connected.
        speed: by joint as the device names it, such as shoulder_pan.pos, the fastest that the arm follows, in its units a second.
        pull: how far a joint must be from its goals, in its units.
        torque: percent of the motors' torque.

    Attributes:
        on: whether the torque is on.

    Raises:
        WarmloopError: the device's motors have no torque that could be limited.
    """

    def __init__(self, device: Any, speed: Mapping[str, float], pull: float, torque: float):
        self._bus: Any = getattr(device, "bus", None)
        self._pull, self._torque, self.on = pull, torque, False
        tables = getattr(self._bus, "model_ctrl_table", {})
        motors = getattr(self._bus, "motors", {})
        if not motors or any(LIMIT not in tables.get(motor.model, ()) for motor in motors.values()):
            raise WarmloopError(
                f"--intervention: follow=on needs a leader arm whose motors have {LIMIT}, as those of an SO-101 have; leave it out."
            )
        self._motors = {f"{name}.pos": name for name in motors if f"{name}.pos" in speed}
        self._speed = np.array([speed[joint] for joint in self._motors])
        self._low, self._high = np.array([_range(self._bus, name) for name in self._motors.values()]).T
        self._path = collections.deque[tuple[float, np.ndarray]]()
        self._pulled, self._limits = 0, dict[str, int]()

    def follow(self, joints: Mapping[str, float], follower: Mapping[str, float]) -> bool:
        """One beat: a goal on the way to where the follower is.

        Args:
            joints: where the leader is, just read.
            follower: where the follower is.

        Returns:
            Whether a hand pulls on the arm.

        Raises:
            EnvironmentFault: a motor has switched its own torque off.
        """
        here = np.array([joints[joint] for joint in self._motors])
        now = time.monotonic()
        if not self.on:
            self._wake(here)
            self._path.append((now, here))
        before, last = self._path[-1]
        room = self._speed * min(now - before, LONGEST_BEAT)
        wanted = np.clip([follower[joint] for joint in self._motors], self._low, self._high)
        goal = np.clip(wanted, last - room, last + room)
        self._bus.sync_write(GOAL, dict(zip(self._motors.values(), goal.tolist(), strict=True)))
        self._path.append((now, goal))
        while len(self._path) > 2 and self._path[1][0] < now - LAG_SECONDS:
            self._path.popleft()
        goals = np.array([each for _, each in self._path])
        away = np.maximum(goals.min(axis=0) - here, here - goals.max(axis=0)).max()
        self._pulled = self._pulled + 1 if away > self._pull else 0
        if self._pulled < PULLS:
            return False
        self._check_torque()
        return True

    def relax(self) -> None:
        """Switches the torque off, and gives the motors their own limit of it back.

        Raises:
            EnvironmentFault: the torque of a motor is still on.
        """
        self._path.clear()
        self._pulled, still = 0, list[str]()
        for _ in range(TRIES):
            self._bus.sync_write(TORQUE, dict.fromkeys(self._bus.motors, 0))  # no motor answers it, so that no faulty one stops it
            try:
                still = [name for name, on in self._bus.sync_read(TORQUE).items() if on]
            except LOST:
                until_quiet([self._bus])
                continue
            if not still:
                break
        else:
            named = ", ".join(still) or "motors"
            raise EnvironmentFault(f"The torque of the leader arm's {named} cannot be switched off; unplug its power.")
        self.on = False
        if self._limits:
            self._bus.sync_write(LIMIT, self._limits)

    def _check_torque(self) -> None:
        """Raises EnvironmentFault for a motor that protects itself: it falls, and nobody pulls on it."""
        told = self._again(lambda: self._bus.sync_read(TORQUE, list(self._motors.values())))
        if off := [name for name, on in told.items() if not on]:
            raise EnvironmentFault(f"Motor {', '.join(off)} of the leader arm has switched its torque off; wait until it has cooled.")

    def _wake(self, here: np.ndarray) -> None:
        """Limits the torque, has the arm hold where it is, and then switches the torque on."""
        self._path.clear()
        limits = self._limits or self._again(lambda: self._bus.sync_read(LIMIT))
        self._limits = {name: int(limit) for name, limit in limits.items()}
        least = {name: min(limit, round(FULL * self._torque / 100)) for name, limit in self._limits.items()}
        for name in self._motors.values():
            self._again(lambda name=name: self._bus.write(LIMIT, name, least[name]))  # is answered, unlike a write to all
        self._bus.sync_write(GOAL, dict(zip(self._motors.values(), here.tolist(), strict=True)))
        self.on = True  # before it is, so that whatever fails now it is switched off
        self._bus.enable_torque(list(self._motors.values()), num_retry=TRIES)

    def _again(self, call: Callable[[], Any]) -> Any:
        """What a call of the driver gives; a packet that is lost is asked for again."""
        for _ in range(TRIES - 1):
            try:
                return call()
            except LOST:
                until_quiet([self._bus])
        return call()


def _range(bus: Any, motor: str) -> tuple[float, float]:
    """The ends of a joint in the units of the device, by LeRobot's calibration; a goal beyond them is never reached."""
    mode = getattr(bus.motors[motor].norm_mode, "value", "")
    if mode == "range_0_100":
        return 0.0, 100.0
    if mode == "range_m100_100":
        return -100.0, 100.0
    calibration = bus.calibration[motor]
    half = (calibration.range_max - calibration.range_min) / 2 * 360 / (bus.model_resolution_table[bus.motors[motor].model] - 1)
    return -half, half
