"""What `warmloop limits` finds out of an arm that is moved by hand: settings of LeRobot-v0, and a file with them."""

from __future__ import annotations

import datetime
import pprint
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...actor.robots.by_hand.moved_ranges import HandLimits, MovedRanges
from ...actor.robots.lerobot_config import LeRobotConfig
from ...data.errors import WarmloopError

LEAST, TOOL_LEAST = 5.0, 0.02  # degrees or percent, and metres, between two limits
AXES = ("tool x", "tool y", "tool z")
FILE = '''"""An arm, with limits that `warmloop limits` found by hand on {day}. Every command takes it as --config."""

import dataclasses

from ml_collections import ConfigDict

from warmloop.configs.lerobot import task
from warmloop.configs.schema import to_config_dict

LIMITS = {settings}


def get_config() -> ConfigDict:
    config = task({robot!r}, {port!r}, {id!r})
    environment = dataclasses.replace(config.environment, kwargs=dict(config.environment.kwargs) | LIMITS)
    return to_config_dict(config.replace(environment=environment))
'''


class ArmLimits:
    """The ranges of an arm's joints, and of its tool where there is a model.

    Args:
        joints: names, in the order of a reading.
        robot: LeRobot's name of it, its port, its id, and the folder of its calibration.
        model, frame: the arm's MJCF, and what of it is the tool; "" for no tool.

    Attributes:
        preset: the preset's settings of the robot; None where it has none.
    """

    def __init__(self, joints: tuple[str, ...], robot: tuple[str, str, str, str], model: str, frame: str):
        from ...configs.lerobot import ARMS

        self.joints, self._robot, self._model, self._frame = joints, robot, model, frame
        self.preset = ARMS.get(robot[0])
        if self.preset is not None and self.preset.joints != joints:
            raise WarmloopError(f"The robot has the joints {', '.join(joints)}, and its preset {', '.join(self.preset.joints)}.")
        self.ranges, self.tool = MovedRanges(len(joints)), MovedRanges(3) if model else None
        self._effector = self._made_effector() if model else None

    def see(self, joints: np.ndarray) -> None:
        """One reading of the joints, `[N]`."""
        self.ranges.see(joints)
        if self._effector is not None and self.tool is not None:
            self.tool.see(self._effector.place(joints))

    def rows(self) -> list[tuple[str, float, float, float]]:
        """Of each joint, and of the tool's axes in cm: its name, the least, now, and the greatest."""
        found = list(zip(self.joints, self.ranges.low, self.ranges.now, self.ranges.high, strict=True))
        if self.tool is not None:
            centimetres = (100 * each for each in (self.tool.low, self.tool.now, self.tool.high))
            found += zip((f"{axis} (cm)" for axis in AXES), *centimetres, strict=True)
        return found

    def settings(self, margin: float, tool_margin: float, with_start: bool) -> dict[str, Any]:
        """The settings by name, which are printed with what must be known of them.

        Raises:
            WarmloopError: nothing was moved, or not all joints of a robot without a preset.
        """
        before = None if self.preset is None else (self.preset.low, self.preset.high)
        limits = HandLimits.of(self.ranges, self.joints, margin, LEAST, before).rounded(1)
        still = f"{', '.join(limits.kept)} moved by less than {2 * margin + LEAST:g}, which is two margins and {LEAST:g}"
        if len(limits.kept) == len(self.joints) or (limits.kept and before is None):
            raise WarmloopError(f"{still}. Move each joint, or give a smaller --margin.")
        found: dict[str, Any] = {"low": limits.low, "high": limits.high}
        if limits.kept:
            print(f"# {still}: the preset's limits stay.")
        self._add_start(found, with_start)
        if self.tool is not None:
            self._add_box(found, tool_margin)
        for name, value in found.items():
            print(f"{name} = {value!r}")
        print("as flags: " + " ".join(f'--config.environment.kwargs.{name}="{value!r}"' for name, value in found.items()))
        return found

    def file(self, settings: Mapping[str, Any]) -> str:
        """A configuration of the robot with these settings."""
        robot, port, name, folder = self._robot
        whole = dict(settings) | ({"calibration_dir": folder} if folder else {})
        text = pprint.pformat(whole, width=120, sort_dicts=False)
        return FILE.format(day=datetime.date.today().isoformat(), settings=text, robot=robot, port=port, id=name)

    def _add_start(self, found: dict[str, Any], with_start: bool) -> None:
        """Where the arm is, or the preset's start where that is now beyond a limit."""
        if not with_start and self.preset is None:
            return
        wanted = self.ranges.now if with_start or self.preset is None else np.array(self.preset.start)
        start = np.clip(wanted, found["low"], found["high"])
        beyond = [joint for joint, moved in zip(self.joints, np.abs(start - wanted) > 1e-6, strict=True) if moved]
        if beyond:
            print(f"# The start of {', '.join(beyond)} was beyond the limits, and is at the nearest of them.")
        if with_start or beyond:
            found["start"] = tuple(round(float(number), 1) for number in start)

    def _add_box(self, found: dict[str, Any], margin: float) -> None:
        assert self.tool is not None
        box = HandLimits.of(self.tool, AXES, margin, TOOL_LEAST).rounded(3)
        if box.kept:
            print(f"# The {', '.join(box.kept)} moved by less than {2 * margin + TOOL_LEAST:g} m: there is no box of the tool.")
            return
        found |= {"actions": "effector", "model": self._model, "frame": self._frame, "workspace_low": box.low, "workspace_high": box.high}

    def _made_effector(self) -> Any:
        from ...actor.robots.effector import Effector

        size, hinge = len(self.joints), 360.0
        gripper = next((joint for joint in self.joints if "grip" in joint), "")
        config = LeRobotConfig(
            robot=self._robot[0], joints=self.joints, low=(-hinge,) * size, high=(hinge,) * size, max_step=(1.0,) * size,
            start=(0.0,) * size, gripper=gripper, actions="effector", model=self._model, frame=self._frame,
        )  # fmt: skip
        return Effector(config)
