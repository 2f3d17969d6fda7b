"""A robot of LeRobot that is read while its torque is off. LeRobot's own `connect` is not called: it would switch the torque on."""

from __future__ import annotations

from typing import Any

import numpy as np

from ....data.errors import WarmloopError
from ..lerobot_link import LOST, buses_of, disconnected, until_quiet, was_lost

TRIES = 8  # for a packet that is lost
TORQUE = "Torque_Enable"
SUFFIX = ".pos"


class LimpArm:
    """Switches the torque of every motor off, and keeps it off. A context manager: at its end the connection ends.

    Args:
        robot: LeRobot's, not connected.
        name: of it in messages.

    Attributes:
        joints: names of its joints, as LeRobot's action features.

    Raises:
        WarmloopError: it cannot be reached, has no motors whose torque could be switched off, or is not calibrated.
    """

    def __init__(self, robot: Any, name: str):
        self._robot, self._name, self._buses = robot, name, list(buses_of(robot).values())
        self.joints = tuple(joint for joint in robot.action_features if joint.endswith(SUFFIX))
        if not self._buses or not self.joints:
            raise WarmloopError(f"The robot {name} has no motors' bus of LeRobot whose torque could be switched off.")
        try:
            for bus in self._buses:
                self._tried("be reached", lambda bus=bus: bus.is_connected or bus.connect())
            if not self._tried("tell its calibration", lambda: getattr(robot, "is_calibrated", True)):
                path = getattr(robot, "calibration_fpath", "its file")
                raise WarmloopError(f"The robot {name} is not calibrated as {path} says; run `lerobot-calibrate` first.")
        except WarmloopError:
            self.close()
            raise

    def __enter__(self) -> LimpArm:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def relax(self) -> None:
        """Switches the torque off. Raises WarmloopError where a motor keeps it."""
        for bus in self._buses:
            self._tried("relax", lambda bus=bus: bus.disable_torque(num_retry=TRIES))
            if on := [name for name, is_on in self._tried("relax", lambda bus=bus: bus.sync_read(TORQUE)).items() if is_on]:
                raise WarmloopError(f"The torque of {', '.join(on)} of the robot {self._name} stays on; unplug its power.")

    def read(self) -> np.ndarray:
        """`[N]` where the joints are, in LeRobot's units. Raises WarmloopError where the robot does not answer."""
        told = self._tried("be read", self._robot.get_observation)
        return np.array([float(told[joint]) for joint in self.joints])

    def close(self) -> None:
        """Ends the connection; the torque stays off."""
        for part in (self._robot, *self._buses):
            disconnected(part)

    def _tried(self, what: str, call: Any) -> Any:
        """What a call of the driver gives; a packet that is lost is asked for again."""
        for attempt in range(TRIES):
            try:
                return call()
            except Exception as error:  # of a driver: any kind
                if attempt == TRIES - 1 or not (isinstance(error, LOST) or was_lost(error)):
                    said = " ".join(str(error).split())[:300] or type(error).__name__
                    raise WarmloopError(f"The robot {self._name} cannot {what} ({said}); look at its port, cable and power.") from error
                until_quiet(self._buses)
        raise AssertionError
