"""The one configuration file of a robot: `--config=docs/robot/robot_config.py`."""

import sys
from pathlib import Path

from ml_collections import ConfigDict

from warmloop.actor.config import ActorConfig
from warmloop.actor.environment import EnvironmentConfig
from warmloop.configs.algorithms import SPARSE
from warmloop.configs.schema import AgentChoice, RunConfig, to_config_dict
from warmloop.data.replay import ReplayConfig
from warmloop.data.retention import RetentionConfig
from warmloop.data.reward import RewardConfig
from warmloop.learner.config import LearnerConfig

sys.path.append(str(Path(__file__).parent))  # where robot_env.py is; not needed for an installed package

CONNECTION = {"host": "127.0.0.1", "port": 5100, "hz": 10.0, "timeout": 1.0, "camera": False}


def get_config() -> ConfigDict:
    """A reward of 1, and the episode's end, at the first success."""
    agent = AgentChoice("sac", SPARSE)
    config = RunConfig(
        environment=EnvironmentConfig("robot_env:Robot-v0", CONNECTION, horizon=50, success="info:success"),
        reward=RewardConfig(discount=0.97),
        agent=agent,
        warmup_agent=agent,
        replay=ReplayConfig(capacity=50_000),
        retention=RetentionConfig(ratio=1.0),
        learner=LearnerConfig(warmup_steps=1_000, online_steps=5_000),
        actor=ActorConfig(simulator=False, patience=30.0, max_weights_age=300.0),
    )
    return to_config_dict(config)
