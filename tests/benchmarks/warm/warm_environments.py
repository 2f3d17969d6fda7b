"""An environment of the bench's own, `warm_environments:Lucky-v0`: success of what is right is luck."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

STRIDE = 0.1  # of the point's way across the square, by an action of 1
REACH = 0.15  # from the place, within which a press counts


class Lucky(gym.Env):
    """A point in a square, to be brought to a place and to press there; a press there succeeds with `probability`, and elsewhere never.

    Any press ends the episode, so nothing is better than to press at the place once, and no policy does better than `probability`.
    Observations are the point `[2]` and the place `[2]`, in [-1, 1]; of the actions `[3]` two move and the third presses above 0.5.
    """

    observation_space = gym.spaces.Box(-1.0, 1.0, (4,), np.float32)
    action_space = gym.spaces.Box(-1.0, 1.0, (3,), np.float32)

    def __init__(self, probability: float = 0.5, render_mode: str | None = None):
        self.probability, self.render_mode = probability, render_mode

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self._point, self._place = self.np_random.uniform(-1, 1, (2, 2)).astype(np.float32)
        return self._seen(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        pressed = bool(action[2] > 0.5)
        right = pressed and bool(np.linalg.norm(self._point - self._place) < REACH)
        success = right and bool(self.np_random.random() < self.probability)
        self._point = np.clip(self._point + STRIDE * action[:2], -1.0, 1.0).astype(np.float32)
        return self._seen(), float(success), pressed, False, {"success": success}

    def _seen(self) -> np.ndarray:
        return np.concatenate([self._point, self._place])


gym.register("Lucky-v0", Lucky, max_episode_steps=40)
