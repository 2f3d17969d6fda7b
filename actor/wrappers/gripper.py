"""The price of turning a gripper."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from ...data.errors import WarmloopError
from ..bridge.info import key_of_persons_action, plain
from .numbers import alone

DECIDED = 0.5  # of an action in [-1, 1]: commands nearer to 0 hold the gripper


class GripperPenalty(gym.Wrapper):
    """Puts a penalty into `info["grasp_penalty"]`, HIL-SERL's name, where the action closes the open gripper or opens the closed one.

    The gripper is one number of the action; it counts as open at the reset, and as last commanded after that, by a person too. Where
    there are several grippers, each has a wrapper of its own, and their penalties add up.

    Args:
        env: the environment.
        penalty: what such a step costs, not above 0.
        closes: 1 where the upper end of the number closes the gripper, as in gym-hil, -1 where the lower does, as on HIL-SERL's arm.
        in_reward: also add it to the environment's own reward; the success signal's reward does not have it.
        number: which of the action's numbers it is, from 0; -1 for the last one.
    """

    def __init__(self, env: gym.Env, penalty: float = -0.05, closes: int = 1, in_reward: bool = False, number: int = -1):
        super().__init__(env)
        if penalty > 0 or closes not in (1, -1):
            raise WarmloopError(f"The wrapper gripper_penalty takes a penalty of at most 0 and closes=1 or -1, not {penalty} and {closes}.")
        box: Any = env.action_space
        dimensions = box.shape[0] if isinstance(box, gym.spaces.Box) else 0
        if not -1 <= number < dimensions or not (np.isfinite(box.low[number]) and np.isfinite(box.high[number])):
            which = f"a number {number}" if number >= 0 else "a last number"
            raise WarmloopError(f"The wrapper gripper_penalty takes actions with {which} that has bounds, not {box}.")
        self.numbers = range(number % dimensions, number % dimensions + 1)
        self._others = len(alone(self, env, "gripper_penalty", "as in number=6 and number=13"))
        self._low, self._high = float(box.low[number]), float(box.high[number])
        self._penalty, self._closes, self._in_reward = penalty, closes, in_reward
        self._closed = False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self._closed = False
        return self.env.reset(seed=seed, options=options)

    def step(self, action: np.ndarray) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        done = float(_executed(action, info)[self.numbers.start])
        command = self._closes * (2.0 * (done - self._low) / (self._high - self._low) - 1.0)
        turned = command < -DECIDED if self._closed else command > DECIDED
        self._closed ^= turned
        penalty = self._penalty if turned else 0.0
        of_all = penalty + (info["grasp_penalty"] if self._others else 0.0)
        return observation, float(reward) + penalty * self._in_reward, terminated, truncated, {**info, "grasp_penalty": of_all}


def _executed(action: np.ndarray, info: dict[str, Any]) -> np.ndarray:
    """What was done: the action, or a person's instead."""
    said = plain(info)
    taken = said.get(key_of_persons_action(said) or "")
    return action if taken is None else np.asarray(taken)
