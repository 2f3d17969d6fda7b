"""An arm that LeRobot drives: `configs/lerobot.py:ROBOT[:PORT[:ID]]`, such as `configs/lerobot.py:so101_follower:/dev/ttyACM0:black`.

Actions are joint positions in degrees, the gripper's in percent, as `lerobot-record` records them, and an observation has the names of
LeRobot's data sets, so demonstrations that were recorded with LeRobot fit. Every setting of `actor/robots/lerobot_config.py` is a flag,
`--config.environment.kwargs.NAME`. A person tells success, unless `environment.success` names a classifier, or `info:succeed` with a
`goal`.
"""

import dataclasses

from ml_collections import ConfigDict

from warmloop.actor.config import ActorConfig
from warmloop.actor.environment.environment import EnvironmentConfig
from warmloop.actor.robots.lerobot_config import LeRobotConfig
from warmloop.configs.recipes.algorithms import apply
from warmloop.configs.recipes.own import sparse
from warmloop.configs.schema import RunConfig, to_config_dict
from warmloop.data.errors import WarmloopError
from warmloop.data.replay.replay import ReplayConfig
from warmloop.data.retention import RetentionConfig
from warmloop.data.reward import RewardConfig
from warmloop.data.settings.near_names import did_you_mean
from warmloop.learner.config import LearnerConfig

LOCAL = ("port", "robot_id", "calibration_dir", "camera", "model", "retries", "camera_seconds", "max_celsius", "min_volts", "at_rest")
SO_ARM = LeRobotConfig(
    joints=tuple(f"{name}.pos" for name in ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")),
    low=(-105.0, -95.0, -90.0, -90.0, -150.0, 0.0),
    high=(105.0, 95.0, 90.0, 90.0, 150.0, 100.0),
    max_step=(6.0, 6.0, 6.0, 6.0, 9.0, 15.0),
    start=(0.0, -45.0, 45.0, 60.0, 0.0, 10.0),  # the tool 8 cm over the table, 22 cm before the base
    gripper="gripper.pos",
)
ARMS = {name: dataclasses.replace(SO_ARM, robot=name) for name in ("so101_follower", "so100_follower")}


def task(robot: str, port: str = "", robot_id: str = "") -> RunConfig:
    """The settings for one arm. Raises WarmloopError for one that is not in `ARMS`."""
    if robot not in ARMS:
        raise WarmloopError(
            f'configs/lerobot.py knows {" and ".join(ARMS)}, and not "{robot}"{did_you_mean(robot, ARMS, otherwise=".")} For another robot '
            "of LeRobot, copy the file and name its joints and limits."
        )
    kwargs = dataclasses.asdict(dataclasses.replace(ARMS[robot], port=port, robot_id=robot_id))
    config = RunConfig(
        environment=EnvironmentConfig("LeRobot-v0", kwargs, horizon=200, success="operator", local_kwargs=LOCAL),
        reward=RewardConfig(discount=0.97),
        replay=ReplayConfig(capacity=50_000, intervention_rows=5_000),
        retention=RetentionConfig(ratio=1.0),
        learner=LearnerConfig(warmup_steps=2_000, online_steps=10_000),
        actor=ActorConfig(simulator=False, patience=30.0, max_weights_age=300.0),
    )
    return sparse(config)


def get_config(argument: str = "") -> ConfigDict:
    """The preset of `ROBOT[:PORT[:ID]][,ALGORITHM…]`."""
    if not argument:
        raise WarmloopError("Name the robot: --config=configs/lerobot.py:ROBOT:PORT:ID, such as so101_follower:/dev/ttyACM0:black.")
    named, *algorithms = argument.split(",")
    parts = named.split(":")
    if len(parts) > 3:
        raise WarmloopError(f'configs/lerobot.py takes ROBOT[:PORT[:ID]], and got "{named}".')
    return to_config_dict(apply(task(*parts), algorithms))
