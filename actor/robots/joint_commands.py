"""What an action means for the joints: a command within the limits, near the last one, and near where the joint is."""

from __future__ import annotations

from collections.abc import Mapping

import gymnasium as gym
import numpy as np

from .lerobot_config import LeRobotConfig

OPENS = 0.5  # of a gripper's number, beyond which it opens, or below minus which it closes


class JointCommands:
    """Commands of one episode, `[N]` in the robot's units.

    A command is bounded by, in this order: `max_step` from the last one; `lead` steps from the measured position, so that a joint that
    is held up is not pushed ever harder; and `low` and `high`. The arm's model, for effector actions, is read when an episode begins.
    """

    def __init__(self, config: LeRobotConfig):
        self._config, self._effector = config, None
        self._low, self._high = np.asarray(config.low, np.float64), np.asarray(config.high, np.float64)
        self._step = np.asarray(config.max_step, np.float64)
        self._gripper = config.gripper_place
        self._last = np.asarray(config.start, np.float64)
        self._opening: float | None = None  # where a commanded gripper is going
        self.space = self._space()

    def begin(self, measured: np.ndarray) -> None:
        """The last command is where the joints are."""
        self._last, self._opening = measured.copy(), None
        if self._config.actions == "effector" and self._effector is None:
            from .effector import Effector

            self._effector = Effector(self._config)

    def next(self, action: np.ndarray, measured: np.ndarray) -> np.ndarray:
        """The command for an action of `space`, of joints that are at `measured`."""
        step, lead = self._step, self._config.lead * self._step
        wanted = np.clip(self._wanted(np.asarray(action, np.float64)), self._last - step, self._last + step)
        self._last = np.clip(np.clip(wanted, measured - lead, measured + lead), self._low, self._high)
        return self._last

    def towards(self, goal: Mapping[str, float]) -> np.ndarray:
        """The action of `space` that brings the named joints nearest to `goal` in one step; the others stay. For effector actions, none."""
        wanted = np.array([float(goal.get(name, now)) for name, now in zip(self._config.joints, self._last, strict=True)])
        step = np.clip((wanted - self._last) / self._step, -1.0, 1.0)
        action = step if self._config.actions == "delta" else np.clip(wanted, self._low, self._high)
        if self._gripper is not None and self._config.gripper_commands:
            action[self._gripper] = np.round(step[self._gripper])
        return action.astype(np.float32)

    def _space(self) -> gym.spaces.Box:
        ones, config = np.ones(len(self._config.joints)), self._config
        low, high = (self._low.copy(), self._high.copy()) if config.actions == "absolute" else (-ones, ones)
        if config.actions == "effector":
            size = 6 + (self._gripper is not None)
            low, high = -np.ones(size), np.ones(size)
        if self._gripper is not None and config.gripper_commands and config.actions != "effector":
            low[self._gripper], high[self._gripper] = -1.0, 1.0
        return gym.spaces.Box(low.astype(np.float32), high.astype(np.float32), dtype=np.float32)

    def _wanted(self, action: np.ndarray) -> np.ndarray:
        """Where an action alone would have the joints."""
        config = self._config
        if config.actions == "effector":
            assert self._effector is not None
            motion = action[:6] * np.repeat([config.max_shift, config.max_turn], 3)
            wanted, number = self._effector.moved(self._last, motion), action[-1]
            if self._gripper is not None:
                wanted[self._gripper] = self._last[self._gripper] + number * self._step[self._gripper]
        else:
            wanted = action.copy() if config.actions == "absolute" else self._last + action * self._step
            number = action[self._gripper] if self._gripper is not None else 0.0
        if self._gripper is not None and config.gripper_commands:
            wanted[self._gripper] = self._commanded(number)
        return wanted

    def _commanded(self, number: float) -> float:
        """Where the gripper goes: to an end, once told, and on to it until it is told otherwise."""
        assert self._gripper is not None
        if abs(number) >= OPENS:
            self._opening = float((self._high if number > 0 else self._low)[self._gripper])
        return float(self._last[self._gripper]) if self._opening is None else self._opening
