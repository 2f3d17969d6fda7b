"""The price of turning a gripper."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from ...data.errors import WarmloopError

DECIDED = 0.5  # of an action in [-1, 1]: commands nearer to 0 hold the gripper


class GripperPenalty(gym.Wrapper):
    """Puts a penalty into `info["grasp_penalty"]`, HIL-SERL's name, where the action closes the open gripper or opens the closed one.

    The gripper is an action's last number; it counts as open at the reset, and as last commanded after that, by a person too.

    Args:
        env: the environment.
        penalty: what such a step costs, not above 0.
        closes: 1 where the upper end of the number closes the gripper, as in gym-hil, -1 where the lower does, as on HIL-SERL's arm.
        in_reward: also add it to the environment's own reward; the success signal's reward does not have it.
    """

    def __init__(self, env: gym.Env, penalty: float = -0.05, closes: int = 1, in_reward: bool = False):
        super().__init__(env)
        if penalty > 0 or closes not in (1, -1):
            raise WarmloopError(f"The wrapper gripper_penalty takes a penalty of at most 0 and closes=1 or -1, not {penalty} and {closes}.")
        box: Any = env.action_space
        if not isinstance(box, gym.spaces.Box) or not (np.isfinite(box.low[-1]) and np.isfinite(box.high[-1])):
            raise WarmloopError(f"The wrapper gripper_penalty takes actions whose last number has bounds, not {box}.")
        self._low, self._high = float(box.low[-1]), float(box.high[-1])
        self._penalty, self._closes, self._in_reward = penalty, closes, in_reward
        self._closed = False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self._closed = False
        return self.env.reset(seed=seed, options=options)

    def step(self, action: np.ndarray) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        done = float(_executed(action, info)[-1])
        command = self._closes * (2.0 * (done - self._low) / (self._high - self._low) - 1.0)
        turned = command < -DECIDED if self._closed else command > DECIDED
        self._closed ^= turned
        penalty = self._penalty if turned else 0.0
        return observation, float(reward) + penalty * self._in_reward, terminated, truncated, {**info, "grasp_penalty": penalty}


def _executed(action: np.ndarray, info: dict[str, Any]) -> np.ndarray:
    """What was done: the action, or a person's instead."""
    if info.get("intervene_action") is not None:
        return np.asarray(info["intervene_action"])
    return np.asarray(info["teleop_action"]) if info.get("is_intervention") else action
