"""Meta-World tasks with the sparse success signal: `configs/metaworld.py:peg-insert-side`, or any other of its 50 tasks.

An episode is 200 steps at most (Meta-World's own limit is 500) and ends, with reward 1, at its first success.
"""

from ml_collections import ConfigDict

from warmloop.actor.environment import EnvironmentConfig
from warmloop.agents import SACConfig
from warmloop.configs import compose
from warmloop.configs.schema import AgentChoice, RunConfig, to_config_dict
from warmloop.data.retention import RetentionConfig
from warmloop.data.reward import RewardConfig
from warmloop.learner.config import LearnerConfig


def task(name: str) -> RunConfig:
    """The settings of one task; its name is checked where the environment is made."""
    settings = SACConfig(ensemble=2, utd=1, initial_temperature=1e-2, clip_target=True, bc_weight=1.0)
    agent = AgentChoice("sac", settings)
    return RunConfig(
        environment=EnvironmentConfig(f"Meta-World/{name.removesuffix('-v3')}-v3", horizon=200),
        reward=RewardConfig(),
        agent=agent,
        warmup_agent=agent,
        retention=RetentionConfig(ratio=0.6),
        learner=LearnerConfig(warmup_steps=6_000, online_steps=30_000),
    )


def get_config(argument: str = "peg-insert-side") -> ConfigDict:
    """The preset of `TASK[,ALGORITHM…]`."""
    return to_config_dict(compose(argument, task))
