"""The configuration of the tutorial: `--config=reach_config.py`."""

from warmloop.actor.environment import EnvironmentConfig
from warmloop.configs.schema import RunConfig
from warmloop.data.retention import RetentionConfig
from warmloop.data.reward import RewardConfig
from warmloop.learner.config import LearnerConfig


def get_config() -> RunConfig:
    """A reward of 1, and the episode's end, at the first success; so the agent is the preset sparse."""
    config = RunConfig(
        environment=EnvironmentConfig("my_reach:Reach-v0", success="info:success"),
        reward=RewardConfig(discount=0.97),
        retention=RetentionConfig(ratio=0.6),
        learner=LearnerConfig(warmup_steps=1_500, online_steps=6_000, log_every=100),
    )
    small = {"hidden": (128, 128)}
    return config.replace(agent=small | {"bc_decay": 0.9997}, warmup_agent=small)
