"""The bench's tasks that warmloop has no preset for, as a user's own configurations have them: `--config=warm_config.py:cube-single`.

Where success is rewarded they learn by what a configuration has that says nothing else, which is the recipe `sparse`; the others by SAC
on the environment's own reward, at the size that fits the machine.
"""

from __future__ import annotations

from warmloop.actor.environment import EnvironmentConfig
from warmloop.configs.schema import RunConfig
from warmloop.data.errors import WarmloopError
from warmloop.data.replay import ReplayConfig
from warmloop.data.retention import RetentionConfig
from warmloop.data.reward import RewardConfig
from warmloop.learner.config import LearnerConfig

# Horizons are two to three times what the experts take.
SPARSE = {
    "cube-single": EnvironmentConfig("ogbench:cube-single-singletask-task1-v0", horizon=120),
    "cube-double": EnvironmentConfig("ogbench:cube-double-singletask-task2-v0", horizon=250),
    "scene": EnvironmentConfig("ogbench:scene-singletask-task2-v0", horizon=300),
    "puzzle-3x3": EnvironmentConfig("ogbench:puzzle-3x3-singletask-task1-v0", horizon=100),
    "fetch-push": EnvironmentConfig("FetchPush-v4", horizon=50),
    "fetch-pick-and-place": EnvironmentConfig("FetchPickAndPlace-v4", horizon=50),
    "kitchen-slide": EnvironmentConfig("FrankaKitchen-v1", {"tasks_to_complete": ["slide cabinet"]}, horizon=150, success="terminated"),
    "lucky-70": EnvironmentConfig("warm_environments:Lucky-v0", {"probability": 0.7}),
    "lucky-40": EnvironmentConfig("warm_environments:Lucky-v0", {"probability": 0.4}),
}
# Success counts for the report alone.
REWARDED = {
    "fetch-push-dense": EnvironmentConfig("FetchPushDense-v4", horizon=50),
    "halfcheetah": EnvironmentConfig("HalfCheetah-v5", success="return>=5000"),
    "hopper": EnvironmentConfig("Hopper-v5", success="return>=1500"),
}


def get_config(argument: str = "cube-single") -> RunConfig:
    """The configuration of one task."""
    if argument not in SPARSE | REWARDED:
        raise WarmloopError(f'There is no task "{argument}" here; there are {", ".join(SPARSE | REWARDED)}.')
    reward = RewardConfig() if argument in SPARSE else RewardConfig(signal="environment", terminate_on_success=False)
    return RunConfig(
        environment=(SPARSE | REWARDED)[argument],
        reward=reward,
        replay=ReplayConfig(capacity=100_000),
        retention=RetentionConfig(ratio=1.0),
        learner=LearnerConfig(warmup_steps=4_000, online_steps=20_000),
    )
