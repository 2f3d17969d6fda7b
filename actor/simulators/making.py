"""Building the Gymnasium environment behind an id, with a sentence for every way this goes wrong."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import sys
from typing import Any

import gymnasium as gym

from ...data.doors.borrowed import is_theirs, lent
from ...data.doors.imports import imported_module, told
from ...data.errors import WarmloopError
from ...data.settings.near_names import did_you_mean
from .gym_hil_tasks import is_gym_hil, make_gym_hil
from .metaworld_tasks import is_metaworld, make_metaworld

# Modules, most of the [robotics] extra, that register their environments when they are imported, by the start of the id.
PLUGINS = {
    "gym_hil/": "gym_hil",
    **dict.fromkeys(("FrankaServer", "LeRobot-"), "warmloop.actor.robots"),
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
        with lent(f'Environment "{environment_id}"'):
            if is_metaworld(environment_id):
                return make_metaworld(environment_id, horizon, render, **kwargs)
            if is_gym_hil(environment_id):
                return make_gym_hil(environment_id, horizon, render, **kwargs)
            return _make_registered(environment_id, horizon, render, kwargs)
    except WarmloopError:
        raise
    except BaseException as error:
        if not is_theirs(error):
            raise
        raise _not_made(environment_id, render, kwargs, error) from error


def _not_made(environment_id: str, render: bool, kwargs: dict[str, Any], error: BaseException) -> WarmloopError:
    """The sentence about an exception of an environment's constructor, or of whatever it imports."""
    name, said = f'Environment "{environment_id}"', str(error)
    if isinstance(error, TypeError) and ("incompatible with Gymnasium" in said or "must inherit from the gymnasium.Env" in said):
        return WarmloopError(
            f"{name} is not one of Gymnasium's, but of the old gym or of another package; derive its class from gymnasium.Env, or wrap it "
            'by shimmy (pip install "shimmy[gym-v26]", or gym-v21 for a reset that returns the observation alone).'
        )
    if render and "render_mode" in said:
        return WarmloopError(f"{name} makes no pictures: its constructor takes no render_mode ({said}). Add it, or run without a video.")
    if isinstance(error, TypeError):
        return WarmloopError(f"{name} cannot be made from the arguments {kwargs}: {said}.")
    return WarmloopError(f"{name} cannot be made: {told(error)}.")


def _make_registered(environment_id: str, horizon: int, render: bool, kwargs: dict[str, Any]) -> gym.Env:
    _import_plugin(environment_id)
    module, _, name = environment_id.rpartition(":")
    if module:
        imported_module(module, f'Environment "{environment_id}"')
    try:
        if render:
            kwargs = {"render_mode": "rgb_array", **kwargs}
        environment = gym.make(environment_id, max_episode_steps=horizon or None, disable_env_checker=True, **kwargs)
    except gym.error.UnregisteredEnv as error:
        raise WarmloopError(f'There is no environment "{environment_id}"{_instead(module, name)}') from error
    except (gym.error.DependencyNotInstalled, ModuleNotFoundError) as error:
        raise WarmloopError(f'Environment "{environment_id}" needs a package that is not installed: {error}') from error
    if not horizon and (environment.spec is None or environment.spec.max_episode_steps is None):
        raise WarmloopError(
            f'Environment "{environment_id}" has no time limit of its own; register it with max_episode_steps, or set '
            "--config.environment.horizon."
        )
    return environment


def _instead(module: str, name: str) -> str:
    """How a sentence on an id that is not registered ends: with near matches, and of a user's module with those that it registers."""
    if not module:
        named = "; one that a module of your own registers is named with it, as in my_lab.arm:Insert-v0."
        return did_you_mean(name, gym.registry, otherwise=named)
    own = [known for known, spec in gym.registry.items() if _home(spec.entry_point).partition(".")[0] == module.partition(".")[0]]
    file = getattr(sys.modules[module], "__file__", None) or module
    registered = f"; {file} registers {', '.join(own) or 'none of its own'}."
    return did_you_mean(name, own, prefix=f"{module}:", otherwise=registered)


def _home(entry_point: Any) -> str:
    """The module that an environment is made from."""
    return entry_point.partition(":")[0] if isinstance(entry_point, str) else getattr(entry_point, "__module__", None) or ""


def _import_plugin(environment_id: str) -> None:
    package = next((package for start, package in PLUGINS.items() if environment_id.startswith(start)), None)
    if package is None or environment_id in gym.registry:
        return
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # a notice about reward versions at every import
            gym.register_envs(importlib.import_module(package))
    except ImportError as error:
        raise WarmloopError(f"Environment {environment_id} needs {package} ({error}); run `pip install 'warmloop[robotics]'`.") from error
