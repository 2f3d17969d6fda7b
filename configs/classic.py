"""Classic control with the environment's own reward: `configs/classic.py:pendulum`. Needs no extra package."""

from ml_collections import ConfigDict

from warmloop.actor.environment.environment import EnvironmentConfig
from warmloop.agents import SACConfig
from warmloop.configs import compose
from warmloop.configs.schema import AgentChoice, RunConfig, to_config_dict
from warmloop.data.reward import RewardConfig
from warmloop.learner.config import LearnerConfig

TASKS = {"pendulum": "Pendulum-v1", "mountain-car": "MountainCarContinuous-v0"}


def task(name: str) -> RunConfig:
    """The settings of one task. A Pendulum episode has swung up in time when its return is above -200."""
    agent = AgentChoice(
        "sac", SACConfig(hidden=(128, 128), ensemble=2, utd=1, batch_size=128, initial_temperature=0.1, backup_entropy=True)
    )
    success = "return>=90" if name == "mountain-car" else "reward>=-0.01"
    return RunConfig(
        environment=EnvironmentConfig(TASKS[name], success=success),
        reward=RewardConfig(signal="environment", scale=0.1 if name == "pendulum" else 1.0, terminate_on_success=False),
        agent=agent,
        warmup_agent=agent,
        learner=LearnerConfig(warmup_steps=2_000, online_steps=10_000),
    )


def get_config(argument: str = "pendulum") -> ConfigDict:
    """The preset of `TASK[,ALGORITHM…]`."""
    return to_config_dict(compose(argument, task, TASKS))
