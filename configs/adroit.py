"""Adroit hand tasks with the sparse success signal: `configs/adroit.py:door`, hammer, pen, relocate.

By default an episode ends, with reward 1, at its first success; `--config.reward.terminate_on_success=False` runs on.
"""

from ml_collections import ConfigDict

from warmloop.actor.environment.environment import EnvironmentConfig
from warmloop.configs import compose
from warmloop.configs.recipes.own import sparse
from warmloop.configs.schema import RunConfig, to_config_dict
from warmloop.data.replay.replay import ReplayConfig
from warmloop.data.retention import RetentionConfig
from warmloop.data.reward import RewardConfig
from warmloop.learner.config import LearnerConfig

TASKS = {
    "door": ("AdroitHandDoor-v1", 200),
    "hammer": ("AdroitHandHammer-v1", 200),
    "pen": ("AdroitHandPen-v1", 100),
    "relocate": ("AdroitHandRelocate-v1", 200),
}


def task(name: str) -> RunConfig:
    """The settings of one task."""
    environment, horizon = TASKS[name]
    config = RunConfig(
        environment=EnvironmentConfig(environment, horizon=horizon),
        reward=RewardConfig(),
        replay=ReplayConfig(capacity=100_000),
        retention=RetentionConfig(ratio=1.0),
        learner=LearnerConfig(warmup_steps=8_000, online_steps=50_000),
    )
    return sparse(config)


def get_config(argument: str = "door") -> ConfigDict:
    """The preset of `TASK[,ALGORITHM…]`."""
    return to_config_dict(compose(argument, task, TASKS))
