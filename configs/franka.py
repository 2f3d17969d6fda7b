"""A Franka behind HIL-SERL's robot server: `configs/franka.py:MODULE:NAME`, the class of the lab's own configuration.

The environment, its length and its start come from that class (`actor/robots/franka_config.py`). Observations and actions are as in
HIL-SERL's single-arm experiments: in the tool's own frame, relative to the start, with angles for quaternions, all of the state side by
side, and the cameras beside it. So a HIL-SERL lab's demonstrations fit. Without cameras, poses stay in the base's frame: relative to a
random start they do not tell where the target is. Success is the tool near TARGET_POSE, unless `environment.success` names a classifier
or a person.
"""

import inspect

from ml_collections import ConfigDict

from warmloop.actor.config import ActorConfig
from warmloop.actor.environment.environment import EnvironmentConfig
from warmloop.actor.robots.franka_config import read_config
from warmloop.actor.robots.franka_env import FrankaServerEnv
from warmloop.configs.recipes.algorithms import apply
from warmloop.configs.recipes.own import sparse
from warmloop.configs.schema import RunConfig, to_config_dict
from warmloop.data.errors import WarmloopError
from warmloop.data.replay.replay import ReplayConfig
from warmloop.data.retention import RetentionConfig
from warmloop.data.reward import RewardConfig
from warmloop.learner.config import LearnerConfig

LAID_OUT = ("quaternion_to_euler", "serl_observation")
RELATIVE = "relative_frame:actions=current"
LOCAL = ("url", "timeout", "joint_timeout", "camera")  # may differ between the robot's machine and the learner's


def task(name: str) -> RunConfig:
    """The settings for one lab's configuration."""
    lab = read_config(name)
    pixels = bool(lab.realsense_cameras)
    usual = {setting: inspect.signature(FrankaServerEnv).parameters[setting].default for setting in LOCAL}  # so that a flag can name them
    wrappers = (RELATIVE, *LAID_OUT) if pixels else LAID_OUT
    config = RunConfig(
        environment=EnvironmentConfig(
            "FrankaServer-v0", {"config": name} | usual, lab.max_episode_length, "info:succeed", wrappers=wrappers, local_kwargs=LOCAL
        ),
        reward=RewardConfig(discount=0.97),
        replay=ReplayConfig(capacity=20_000 if pixels else 100_000, intervention_rows=2_000 if pixels else 5_000),
        retention=RetentionConfig(ratio=1.0),
        learner=LearnerConfig(warmup_steps=2_000, online_steps=10_000),
        actor=ActorConfig(simulator=False, patience=30.0, max_weights_age=300.0),
    )
    return sparse(config)


def get_config(argument: str = "") -> ConfigDict:
    """The preset of `MODULE:NAME[,ALGORITHM…]`."""
    if not argument:
        raise WarmloopError("Name the class of your configuration: --config=configs/franka.py:MODULE:NAME, such as my_task:EnvConfig.")
    name, *algorithms = argument.split(",")
    return to_config_dict(apply(task(name), algorithms))
