"""gym-hil's tasks with the sparse success signal: `configs/gym_hil.py:pick-cube`, arrange-boxes, and each from pictures as `…-pixels`.

The settings are HIL-SERL's (Luo et al. 2024) where it has them: two critics, 2 updates a step, α₀ 0.01, no entropy in the target, and for
picking γ 0.97. Five boxes take a scripted expert 180 steps, so there an episode has 300, three times gym-hil's own, and γ is 0.99.
Of pictures 20,000 transitions are kept, 2.1 GB.
"""

from ml_collections import ConfigDict

from warmloop.actor.environment.environment import EnvironmentConfig
from warmloop.actor.simulators.gym_hil_tasks import ARRANGE_BOXES, PICK_CUBE
from warmloop.configs import compose
from warmloop.configs.recipes.own import sparse
from warmloop.configs.schema import RunConfig, to_config_dict
from warmloop.data.replay.replay import ReplayConfig
from warmloop.data.retention import RetentionConfig
from warmloop.data.reward import RewardConfig
from warmloop.learner.config import LearnerConfig

PIXELS = "-pixels"
PICTURES = {"image_obs": True, "shadows": False}  # a CPU draws shadows for most of its time
TASKS = {
    name + ending: settings
    for name, settings in {"pick-cube": (PICK_CUBE, 100, 0.97, 20_000), "arrange-boxes": (ARRANGE_BOXES, 300, 0.99, 100_000)}.items()
    for ending in ("", PIXELS)
}


def task(name: str) -> RunConfig:
    """The settings of one task."""
    environment, horizon, discount, steps = TASKS[name]
    pixels = name.endswith(PIXELS)
    config = RunConfig(
        environment=EnvironmentConfig(environment, PICTURES if pixels else (), horizon, wrappers=("gripper_penalty:-0.05",)),
        reward=RewardConfig(discount=discount),
        replay=ReplayConfig(capacity=20_000 if pixels else 100_000, intervention_rows=2_000 if pixels else 5_000),
        retention=RetentionConfig(ratio=1.0),
        learner=LearnerConfig(warmup_steps=2_000, online_steps=steps),
    )
    return sparse(config)


def get_config(argument: str = "pick-cube") -> ConfigDict:
    """The preset of `TASK[,ALGORITHM…]`."""
    return to_config_dict(compose(argument, task, TASKS))
