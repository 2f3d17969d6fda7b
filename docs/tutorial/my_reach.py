"""A simulated arm of two joints that is to touch a target: the environment of the tutorial, and a scripted demonstrator for it."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

LINKS = np.array([0.6, 0.4])  # metres
TOUCHED = 0.05  # metres from the target
SPEED = 1.0  # radians per second, at an action of 1
SECONDS = 0.1  # a step


class Reach(gym.Env):
    """Observation: sine and cosine of both joints, and from the tip to the target. Action: the speed of each joint, in [-1, 1]."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (6,), np.float32)
    action_space = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.joints, aim = self.np_random.uniform([-1.5, 0.5], [1.5, 2.5], (2, 2))
        self.target = tip(aim)
        return self.observe(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        """The time limit is Gymnasium's (`max_episode_steps` below); success ends an episode by the configuration."""
        self.joints = self.joints + SPEED * SECONDS * np.asarray(action, np.float64)
        success = bool(np.linalg.norm(self.target - tip(self.joints)) < TOUCHED)
        return self.observe(), float(success), False, False, {"success": success}

    def observe(self) -> np.ndarray:
        joints = [np.sin(self.joints), np.cos(self.joints)]
        return np.concatenate([*joints, self.target - tip(self.joints)]).astype(np.float32)


def tip(joints: np.ndarray) -> np.ndarray:
    """Where the arm ends, in metres."""
    angles = np.cumsum(joints)
    return np.array([LINKS @ np.cos(angles), LINKS @ np.sin(angles)])


def demonstrate(observation: np.ndarray) -> np.ndarray:
    """A scripted demonstrator, for `collect --policy=my_reach:demonstrate`: moves the tip towards the target."""
    joints, to_target = np.arctan2(observation[:2], observation[2:4]), observation[4:]
    small = 1e-4 * np.eye(2)
    jacobian = np.stack([(tip(joints + change) - tip(joints)) / 1e-4 for change in small], axis=1)
    speed = jacobian.T @ np.linalg.solve(jacobian @ jacobian.T + 0.01 * np.eye(2), to_target)
    return np.clip(speed / (SPEED * SECONDS), -1.0, 1.0)


gym.register("Reach-v0", entry_point="my_reach:Reach", max_episode_steps=50)
