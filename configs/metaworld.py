"""Meta-World tasks with the sparse success signal: `configs/metaworld.py:peg-insert-side`, or any other of its 50 tasks.

Several for one policy are joined, as in `configs/metaworld.py:door-open+drawer-open`, or named as a set: mt3, or Meta-World's mt10.
An episode is 300 steps at most (Meta-World's own limit is 500) and ends, with reward 1, at its first success.
"""

from ml_collections import ConfigDict

from warmloop.actor.environment.environment import EnvironmentConfig
from warmloop.configs import compose
from warmloop.configs.recipes.own import sparse
from warmloop.configs.schema import RunConfig, to_config_dict
from warmloop.data.replay.replay import ReplayConfig
from warmloop.data.retention import RetentionConfig
from warmloop.data.reward import RewardConfig
from warmloop.data.tasks import TaskConfig
from warmloop.learner.config import LearnerConfig

SETS = {
    "mt3": ("door-open", "drawer-open", "window-open"),
    "mt10": (
        "reach",
        "push",
        "pick-place",
        "door-open",
        "drawer-open",
        "drawer-close",
        "button-press-topdown",
        "peg-insert-side",
        "window-open",
        "window-close",
    ),
}


def task(name: str) -> RunConfig:
    """The settings of one task, or of several; their names are checked where the environment is made."""
    names = SETS.get(name) or tuple(part.strip().removesuffix("-v3") for part in name.split("+"))
    count, several = len(names), len(names) > 1
    config = RunConfig(
        environment=EnvironmentConfig("Meta-World/{task}-v3" if several else f"Meta-World/{names[0]}-v3", horizon=300),
        reward=RewardConfig(),
        replay=ReplayConfig(capacity=100_000 if count < 4 else 25_000 * count),
        retention=RetentionConfig(ratio=0.6),
        learner=LearnerConfig(warmup_steps=2_000 * count, online_steps=20_000 * count),
        tasks=TaskConfig(names) if several else TaskConfig(),
    )
    return sparse(config)


def get_config(argument: str = "peg-insert-side") -> ConfigDict:
    """The preset of `TASK[+TASK…][,ALGORITHM…]`."""
    return to_config_dict(compose(argument, task))
