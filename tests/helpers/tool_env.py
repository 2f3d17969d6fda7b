"""A tool that moves in space, with every kind of observation that the wrappers take: as they are on HIL-SERL's arm."""

import gymnasium as gym
import numpy as np
from scipy.spatial.transform import Rotation


class ToolEnv(gym.Env):
    """Moves by its actions, `[7]`: metres and radians in the base's frame, and the gripper; exact, so that sums tell where it is.

    `reset(options={"pose": [7]})` puts the tool there; `step` makes the action it got `info["done"]`, and adds `report` to the info.
    """

    def __init__(self, limit: float = 1.0, report: dict | None = None):
        box = gym.spaces.Box
        self.observation_space = gym.spaces.Dict(
            {
                "state": gym.spaces.Dict({"tcp_pose": box(-np.inf, np.inf, (7,)), "tcp_vel": box(-np.inf, np.inf, (6,))}),
                "images": gym.spaces.Dict({"front": box(0, 255, (6, 8, 3), np.uint8), "wrist": box(0, 255, (6, 8, 1), np.uint8)}),
            }
        )
        self.action_space = box(-limit, limit, (7,))
        self.report, self._images = report or {}, {"front": np.zeros((6, 8, 3), np.uint8), "wrist": np.zeros((6, 8, 1), np.uint8)}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        pose = np.asarray((options or {}).get("pose", [0.4, 0.1, 0.3, 0.0, 0.0, 0.0, 1.0]), np.float64)
        self.position, self.rotation, self.velocity = pose[:3], Rotation.from_quat(pose[3:]), np.zeros(6)
        self.time = 0
        return self._observation(), {}

    def step(self, action):
        action = np.asarray(action, np.float64)
        self.position, self.velocity = self.position + action[:3], action[:6]
        self.rotation = Rotation.from_rotvec(action[3:6]) * self.rotation
        self.time += 1
        return self._observation(), 1.0, False, False, {"done": action, **self.report}

    def _observation(self):
        pose = np.append(self.position, self.rotation.as_quat())
        for image in self._images.values():
            image[...] = self.time  # one buffer for all, as some camera drivers have
        state = {"tcp_pose": pose.astype(np.float32), "tcp_vel": self.velocity.astype(np.float32)}
        return {"state": state, "images": dict(self._images)}
