"""A task of an SO-101: its configuration, and a script that demonstrates it. Copy the file and change what is yours.

--config=so101_task.py --policy=so101_task:reach
"""

import dataclasses

import numpy as np
from ml_collections import ConfigDict

from warmloop.configs.lerobot import SO_ARM, task
from warmloop.configs.schema import to_config_dict

PORT, ARM, CALIBRATION = "/tmp/so101", "fake", "/tmp/so101-calibration"  # your own: "/dev/ttyACM0", its id, and "" for LeRobot's folder
GOAL = (30.0, -20.0, 30.0, 50.0, 0.0, 60.0)  # degrees, and the gripper in percent
SPREAD = (25.0, 10.0, 10.0, 10.0, 0.0, 10.0)  # by which the start varies


def get_config() -> ConfigDict:
    """Bring the arm to a pose, from starts that differ. A pose tells success by itself; for a task with objects see the preset's."""
    config = task("so101_follower", PORT, ARM)
    changed = {"calibration_dir": CALIBRATION, "goal": GOAL, "start_spread": SPREAD}
    environment = dataclasses.replace(
        config.environment, kwargs=dict(config.environment.kwargs) | changed, success="info:succeed", horizon=50
    )
    return to_config_dict(config.replace(environment=environment))


def reach(observation: dict[str, np.ndarray]) -> np.ndarray:
    """The goal as an action in [-1, 1]; the environment goes there in steps of `max_step`."""
    low, high = np.array(SO_ARM.low), np.array(SO_ARM.high)
    return 2.0 * (np.array(GOAL) - low) / (high - low) - 1.0
