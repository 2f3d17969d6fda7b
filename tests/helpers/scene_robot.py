"""A robot with LeRobot's interface over the simulated arm of docs/robot, without LeRobot or a cable. Time passes with commands."""

import numpy as np
from fake_so101 import MOTORS  # pyright: ignore[reportMissingImports]
from so101_scene import Scene  # pyright: ignore[reportMissingImports]

STEP = 0.1
scenes: list[Scene] = []  # whose arms are connected, the newest last


class SceneRobot:
    """Joints in degrees, the gripper in percent."""

    is_calibrated, is_connected = True, False

    def __init__(self, port="", id="", calibration_dir=None):
        self.scene = scenes[-1]
        self.observation_features = self.action_features = {f"{name}.pos": float for name in MOTORS}

    def connect(self, calibrate=True):
        self.is_connected = True

    def disconnect(self):
        self.is_connected = False

    def get_observation(self):
        return dict(zip(self.observation_features, self.scene.pose.tolist(), strict=True))

    def send_action(self, action):
        degrees, (low, high) = np.array([action[f"{name}.pos"] for name in MOTORS]), np.degrees(self.scene.limits[-1])
        degrees[-1] = low + degrees[-1] / 100 * (high - low)
        self.scene.advance(STEP, np.radians(degrees), np.ones(6, bool), np.zeros(6, bool))
        return action
