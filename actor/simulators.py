"""Building the Gymnasium environment behind an id, with a sentence for every way this goes wrong."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import sys
from typing import Any

import gymnasium as gym

from ..data.errors import WarmloopError
from .gym_hil import is_gym_hil, make_gym_hil
from .matches import near_matches
from .metaworld import is_metaworld, make_metaworld

# Packages of the [robotics] extra that register their environments when they are imported, by the start of the id.
PLUGINS = {
    "gym_hil/": "gym_hil",
    **dict.fromkeys(("Adroit", "AntMaze", "Fetch", "FrankaKitchen", "Hand", "PointMaze"), "gymnasium_robotics"),
}


def build(environment_id: str, horizon: int, render: bool, kwargs: dict[str, Any]) -> gym.Env:
    """The environment `environment_id` with its time limit.

    Args:
        environment_id: a Gymnasium id, `module:Id`, or `Meta-World/NAME-v3`.
        horizon: steps until truncation; 0 for the environment's own limit.
        render: whether `render()` must give frames.
        kwargs: passed to the environment's constructor.

    Raises:
        WarmloopError: no such environment, a package is missing, a wrong argument, or no time limit.
    """
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        os.environ.setdefault("MUJOCO_GL", "egl")  # read when mujoco is imported; its default needs a display
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # pygame draws without one too, but complains
    try:
        if is_metaworld(environment_id):
            return make_metaworld(environment_id, horizon, render, **kwargs)
        if is_gym_hil(environment_id):
            return make_gym_hil(environment_id, horizon, render, **kwargs)
        return _make_registered(environment_id, horizon, render, kwargs)
    except TypeError as error:
        raise WarmloopError(f'Environment "{environment_id}" cannot be made from the arguments {kwargs}: {error}.') from error


def _make_registered(environment_id: str, horizon: int, render: bool, kwargs: dict[str, Any]) -> gym.Env:
    _import_plugin(environment_id)
    try:
        if render:
            kwargs = {"render_mode": "rgb_array", **kwargs}
        environment = gym.make(environment_id, max_episode_steps=horizon or None, disable_env_checker=True, **kwargs)
    except gym.error.UnregisteredEnv as error:
        raise WarmloopError(f'There is no environment "{environment_id}"{near_matches(environment_id, gym.registry)}') from error
    except (gym.error.DependencyNotInstalled, ModuleNotFoundError) as error:
        raise WarmloopError(f'Environment "{environment_id}" needs a package that is not installed: {error}') from error
    if not horizon and (environment.spec is None or environment.spec.max_episode_steps is None):
        raise WarmloopError(f'Environment "{environment_id}" has no time limit of its own; set --config.environment.horizon.')
    return environment


def _import_plugin(environment_id: str) -> None:
    package = next((package for start, package in PLUGINS.items() if environment_id.startswith(start)), None)
    if package is None or environment_id in gym.registry:
        return
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # a notice about reward versions at every import
            gym.register_envs(importlib.import_module(package))
    except ImportError as error:
        raise WarmloopError(f'Environment "{environment_id}" needs {package} ({error}); run `pip install warmloop[robotics]`.') from error
