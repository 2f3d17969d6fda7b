"""Environments of real robots, as Gymnasium finds them by id: `FrankaServer-v0` and `LeRobot-v0`."""

import gymnasium as gym

gym.register("FrankaServer-v0", entry_point=f"{__name__}.franka_env:FrankaServerEnv")
gym.register("LeRobot-v0", entry_point=f"{__name__}.lerobot_env:LeRobotEnv")
