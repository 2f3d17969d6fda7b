"""MuJoCo locomotion with the environment's own reward: `configs/mujoco.py:hopper`, halfcheetah, walker2d, ant, humanoid."""

from ml_collections import ConfigDict

from warmloop.actor.environment.environment import EnvironmentConfig
from warmloop.agents import SACConfig
from warmloop.configs import compose
from warmloop.configs.schema import AgentChoice, RunConfig, to_config_dict
from warmloop.data.replay.replay import ReplayConfig
from warmloop.data.reward import RewardConfig
from warmloop.learner.config import LearnerConfig

TASKS = {"hopper": "Hopper-v5", "halfcheetah": "HalfCheetah-v5", "walker2d": "Walker2d-v5", "ant": "Ant-v5", "humanoid": "Humanoid-v5"}


def task(name: str) -> RunConfig:
    """The settings of one task; locomotion backs the entropy up."""
    agent = AgentChoice("sac", SACConfig(backup_entropy=True, initial_temperature=0.1))
    return RunConfig(
        environment=EnvironmentConfig(TASKS[name], success="return>=1000"),
        reward=RewardConfig(signal="environment", terminate_on_success=False),
        agent=agent,
        warmup_agent=agent,
        replay=ReplayConfig(capacity=1_000_000),
        learner=LearnerConfig(warmup_steps=20_000, online_steps=250_000),
    )


def get_config(argument: str = "hopper") -> ConfigDict:
    """The preset of `TASK[,ALGORITHM…]`."""
    return to_config_dict(compose(argument, task, TASKS))
