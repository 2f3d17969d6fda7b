"""Meta-World's tasks as ordinary Gymnasium environments: `Meta-World/NAME-v3`, fresh positions at every reset.

Meta-World's own registrations draw from 50 fixed tasks, in an order that `reset(seed)` does not decide. Here the task's class is
built directly, the goal is part of the observation, and the seed decides the whole episode, bit for bit.
"""

from __future__ import annotations

import warnings
from typing import Any

import gymnasium as gym
import numpy as np

from ...data.errors import WarmloopError
from ...data.settings.near_names import did_you_mean

PREFIX = "Meta-World/"
FRAMES = {"camera_name": "corner2", "width": 320, "height": 320}


def is_metaworld(environment_id: str) -> bool:
    """Whether the id names a Meta-World task."""
    return environment_id.startswith(PREFIX)


def make_metaworld(environment_id: str, horizon: int = 0, render: bool = False, **kwargs: Any) -> gym.Env:
    """The task `Meta-World/NAME-v3`.

    Args:
        environment_id: with the prefix.
        horizon: steps until truncation; 0 for Meta-World's own 500.
        render: make frames, by `FRAMES` unless `kwargs` say otherwise.
        kwargs: passed to the task's class (`camera_name`, `width`, `height`, `reward_function_version`).

    Raises:
        WarmloopError: Meta-World is not installed, or has no such task.
    """
    tasks, name = task_classes(), environment_id.removeprefix(PREFIX)
    if name not in tasks:
        raise WarmloopError(f'Meta-World has no task "{name}"{did_you_mean(name, tasks)}')
    if render:
        kwargs = {"render_mode": "rgb_array", **FRAMES, **kwargs}
    return MetaWorldTask(tasks[name](**kwargs), horizon)


def task_classes() -> dict[str, type]:
    """Meta-World's tasks by name."""
    return dict(_package().env_dict.ALL_V3_ENVIRONMENTS)


def expert_for(environment_id: str) -> Any:
    """A fresh scripted expert for the task; `get_action(observation)` gives an action that may exceed ±1."""
    from metaworld.policies import ENV_POLICY_MAP

    warnings.filterwarnings("ignore", message="Constant\\(s\\) may be too high", module="metaworld.policies")
    return ENV_POLICY_MAP[environment_id.removeprefix(PREFIX)]()


class MetaWorldTask(gym.Wrapper):
    """One task with the goal in the observation, whose `reset(seed)` decides every position."""

    def __init__(self, task: Any, horizon: int):
        super().__init__(task)
        task._set_task_called = True  # random positions instead of one of the 50 frozen tasks
        task._freeze_rand_vec = False
        task.seeded_rand_vec = True
        task._partially_observable = False
        # Both were made while the goal still counted as hidden, and observations are clipped to them.
        task.__dict__.pop("sawyer_observation_space", None)
        task.observation_space = task.sawyer_observation_space
        if horizon:
            task.max_path_length = horizon

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        task: Any = self.env
        if seed is not None:
            task.seed(seed)
        observation, info = task.reset()
        space = task.observation_space
        return np.clip(observation, space.low, space.high), info  # as every later step does

    def render(self) -> Any:
        """The frame, upright: the corner cameras hang upside down."""
        frame: Any = self.env.render()
        return frame[::-1, ::-1] if str(self.env.unwrapped.camera_name).startswith("corner") else frame  # type: ignore[attr-defined]


def _package() -> Any:
    try:
        import metaworld
    except ImportError as error:
        raise WarmloopError(f"Meta-World is not installed ({error}); run `pip install 'warmloop[robotics]'`.") from error
    return metaworld
