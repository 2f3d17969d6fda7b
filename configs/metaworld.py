"""Meta-World tasks with the sparse success signal: `configs/metaworld.py:peg-insert-side`, or any other of its 50 tasks.

An episode is 300 steps at most (Meta-World's own limit is 500) and ends, with reward 1, at its first success.
"""

from ml_collections import ConfigDict

from warmloop.actor.environment import EnvironmentConfig
from warmloop.configs import compose
from warmloop.configs.algorithms import SPARSE
from warmloop.configs.schema import AgentChoice, RunConfig, to_config_dict
from warmloop.data.replay import ReplayConfig
from warmloop.data.retention import RetentionConfig
from warmloop.data.reward import RewardConfig
from warmloop.learner.config import LearnerConfig


def task(name: str) -> RunConfig:
    """The settings of one task; its name is checked where the environment is made."""
    agent = AgentChoice("sac", SPARSE)
    return RunConfig(
        environment=EnvironmentConfig(f"Meta-World/{name.removesuffix('-v3')}-v3", horizon=300),
        reward=RewardConfig(),
        agent=agent,
        warmup_agent=agent,
        replay=ReplayConfig(capacity=100_000),
        retention=RetentionConfig(ratio=0.6),
        learner=LearnerConfig(warmup_steps=2_000, online_steps=20_000, min_utd=0.9),
    )


def get_config(argument: str = "peg-insert-side") -> ConfigDict:
    """The preset of `TASK[,ALGORITHM…]`."""
    return to_config_dict(compose(argument, task))
