"""A script that demonstrates on an arm of LeRobot: to the pose of the settings' `goal`, for `collect --policy=so101_reach:reach`.

With `actions="absolute"` the action is the goal itself; the environment goes there in steps of `max_step`.
"""

import numpy as np

GOAL = np.array([30.0, -20.0, 30.0, 50.0, 0.0, 60.0])  # degrees, and the gripper in percent
LOW, HIGH = np.array([-105, -95, -90, -90, -150, 0]), np.array([105, 95, 90, 90, 150, 100])  # of configs/lerobot.py


def reach(observation: dict[str, np.ndarray]) -> np.ndarray:
    """Straight to the goal, in [-1, 1]."""
    return 2.0 * (GOAL - LOW) / (HIGH - LOW) - 1.0
