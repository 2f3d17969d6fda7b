"""The one configuration file of a robot: `--config=docs/robot/robot_config.py`."""

from ml_collections import ConfigDict

from warmloop.actor.config import ActorConfig
from warmloop.actor.environment import EnvironmentConfig
from warmloop.configs.schema import RunConfig, to_config_dict
from warmloop.data.replay import ReplayConfig
from warmloop.data.retention import RetentionConfig
from warmloop.data.reward import RewardConfig
from warmloop.learner.config import LearnerConfig

LOCAL = ("host", "port", "timeout")  # may differ between the robot's machine and the learner's
CONNECTION = {"host": "127.0.0.1", "port": 5100, "hz": 10.0, "timeout": 1.0, "camera": False}


def get_config() -> ConfigDict:
    """A reward of 1, and the episode's end, at the first success; so the agent is the preset sparse."""
    config = RunConfig(
        environment=EnvironmentConfig("robot_env:Robot-v0", CONNECTION, horizon=50, success="info:success", local_kwargs=LOCAL),
        reward=RewardConfig(discount=0.97),
        replay=ReplayConfig(capacity=50_000),
        retention=RetentionConfig(ratio=1.0),
        learner=LearnerConfig(warmup_steps=1_000, online_steps=5_000),
        actor=ActorConfig(simulator=False, patience=30.0, max_weights_age=300.0),
    )
    return to_config_dict(config)
