"""A task of a Franka as a HIL-SERL lab has it: the class of its configuration, and a script that demonstrates it.

--config=configs/franka.py:reach_task:EnvConfig
"""

import numpy as np


class EnvConfig:
    """Bring the tool within a centimetre of the target. Derive it from HIL-SERL's DefaultEnvConfig where HIL-SERL is installed."""

    SERVER_URL = "http://127.0.0.1:5100/"
    TARGET_POSE = np.array([0.5, 0.0, 0.25, np.pi, 0.0, 0.0])
    RESET_POSE = TARGET_POSE + np.array([0.0, 0.0, 0.06, 0.0, 0.0, 0.0])
    REWARD_THRESHOLD = np.array([0.01, 0.01, 0.01, 0.2, 0.2, 0.2])
    ABS_POSE_LIMIT_LOW = TARGET_POSE - np.array([0.1, 0.1, 0.05, 0.05, 0.3, 0.5])
    ABS_POSE_LIMIT_HIGH = TARGET_POSE + np.array([0.1, 0.1, 0.1, 0.05, 0.3, 0.5])
    RANDOM_RESET = True
    RANDOM_XY_RANGE = 0.08
    RANDOM_RZ_RANGE = 0.1
    ACTION_SCALE = (0.015, 0.1, 1)
    MAX_EPISODE_LENGTH = 60
    COMPLIANCE_PARAM = {"translational_stiffness": 2000, "translational_damping": 89}  # noqa: RUF012
    PRECISION_PARAM = {"translational_stiffness": 3000, "translational_damping": 89}  # noqa: RUF012


def demonstrate(observation: dict[str, np.ndarray]) -> np.ndarray:
    """Straight to the target, for `collect --policy=reach_task:demonstrate`. Of the state, the tool's place is the numbers 4 to 6."""
    towards = EnvConfig.TARGET_POSE[:3] - observation["state"][4:7]
    return np.append(np.clip(towards / EnvConfig.ACTION_SCALE[0], -1, 1), np.zeros(4))
