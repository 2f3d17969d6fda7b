"""The calls of environments as Gymnasium has them today, made of older ones: `reset` without a seed, and fewer values returned."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym
import numpy as np

from ...data.errors import WarmloopError
from ...data.running.said import say_once
from .info import as_array

Returned = tuple[Any, Any, Any, Any, Any]

# Gymnasium's autoreset of old and new, and Stable-Baselines3's
LAST_OBSERVATIONS, LAST_INFOS = ("final_observation", "final_obs", "terminal_observation"), ("final_info",)
INSTEAD: dict[type, str] = {
    gym.wrappers.NormalizeObservation: "let agent.normalise_observations use the warm-up data's",
    gym.wrappers.NormalizeReward: "scale rewards by --config.reward.scale",
}
MADE_BY_GYMNASIUM = (gym.wrappers.TimeLimit, gym.wrappers.OrderEnforcing, gym.wrappers.PassiveEnvChecker)


class Interface(gym.Wrapper):
    """Calls an environment as its methods are written, and returns what Gymnasium's users expect.

        reset()                        without `seed` or `options`, if it takes none; what cannot be seeded is said once
        observation                    of reset alone: with an empty info
        observation, reward, done, info   of step: `done` is a termination, but for info["TimeLimit.truncated"]
        None                           as the info: an empty one
        final_observation              in the info of an episode's end: the environment has reset itself, and this came before

    `outer`: it is around a wrapper of the user's own, and not around the environment itself.

    Raises:
        WarmloopError: a step that returns neither four values nor five.
    """

    def __init__(self, env: gym.Env, name: str, outer: bool = False):
        super().__init__(env)
        self.outer = outer
        self._name, self._reset_takes = name, _arguments(env.reset)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        given: Any = self._reset(seed, options)
        modern = isinstance(given, tuple) and len(given) == 2 and (given[1] is None or isinstance(given[1], Mapping))
        if modern:
            return given[0], dict(given[1] or {})
        say_once(f'Environment "{self._name}": its reset returns the observation alone, as before Gymnasium 0.26; it is taken so.')
        return given, {}

    def step(self, action: Any) -> Returned:
        given: Any = self.env.step(action)
        if not isinstance(given, tuple | list) or len(given) not in (4, 5):
            count = f"{len(given)} values" if isinstance(given, tuple | list) else f"{given!r:.60}"
            raise WarmloopError(
                f'Environment "{self._name}": its step returned {count}; return observation, reward, terminated, truncated, info.'
            )
        if len(given) == 5:
            observation, reward, terminated, truncated, info = given
            return self._before_its_own_reset(observation, reward, terminated, truncated, {} if info is None else info)
        observation, reward, done, said = given
        info: Any = {} if said is None else said
        say_once(
            f'Environment "{self._name}": its step returns four values, as before Gymnasium 0.26; `done` counts as a termination, but '
            'where its info has "TimeLimit.truncated". If it stands for a time limit, set '
            "--config.environment.time_limit_is_truncation=True."
        )
        cut = isinstance(info, Mapping) and bool(info.get("TimeLimit.truncated", False))
        return self._before_its_own_reset(observation, reward, False if cut else done, cut, info)

    def _before_its_own_reset(self, observation: Any, reward: Any, terminated: Any, truncated: Any, info: Any) -> Returned:
        """What a step returned or, of an environment that resets itself where an episode ends, what it had before that."""
        if not isinstance(info, Mapping) or not (_one_is_true(terminated) or _one_is_true(truncated)):
            return observation, reward, terminated, truncated, info
        last = next((info[key] for key in LAST_OBSERVATIONS if info.get(key) is not None), None)
        inner = next((info[key] for key in LAST_INFOS if isinstance(info.get(key), Mapping)), {})
        if last is not None:
            observation = last
            say_once(
                f'Environment "{self._name}": it resets itself where an episode ends; the last observation and info are those in the info, '
                "which came before that."
            )
        return observation, reward, terminated, truncated, {**info, **inner}

    def _reset(self, seed: int | None, options: dict[str, Any] | None) -> Any:
        reset: Callable[..., Any] = self.env.reset
        asked = {"seed": seed} | ({} if options is None else {"options": options})
        taken = {name: value for name, value in asked.items() if name in self._reset_takes}
        if "seed" not in taken and seed is not None:
            seeding = getattr(self.env.unwrapped, "seed", None)
            if callable(seeding):
                seeding(seed)
            else:
                say_once(f'Environment "{self._name}": its reset takes no seed, so a seed does not decide its episodes.')
        return reset(**taken)


def layers_of(env: gym.Env) -> list[gym.Env]:
    """The environment's wrappers, the outermost first, and what is in them."""
    layers = [env]
    while isinstance(layers[-1], gym.Wrapper):
        layers.append(layers[-1].env)
    return layers


def refuse_running_statistics(env: gym.Env, name: str) -> None:
    """Raises WarmloopError where a wrapper of Gymnasium's scales by statistics that go on changing: recorded rows would differ in scale,
    and every process, an evaluation too, would have statistics of its own."""
    for layer in layers_of(env):
        if isinstance(layer, tuple(INSTEAD)) and getattr(layer, "update_running_mean", True):
            instead = next(instead for kind, instead in INSTEAD.items() if isinstance(layer, kind))
            raise WarmloopError(
                f'Environment "{name}" is in the wrapper {type(layer).__name__}, whose statistics change as it runs and are others '
                f"in every process, an evaluation's too. Take it off, and {instead}; or fix its statistics by update_running_mean = False."
            )


def modern(env: gym.Env, name: str) -> gym.Env:
    """The environment behind an Interface, below the wrappers that `gymnasium.make` put around it; itself where it has one."""
    layers = layers_of(env)
    if any(isinstance(layer, Interface) and not layer.outer for layer in layers):
        return env
    first = next((index for index, layer in enumerate(layers) if isinstance(layer, MADE_BY_GYMNASIUM)), -1)
    last = first
    while last >= 0 and isinstance(layers[last + 1], MADE_BY_GYMNASIUM):
        last += 1
    _replace(layers, len(layers) - 1, name, only_if=len(layers) - 1 > last + 1 and _hands_a_seed_to(layers[-2], layers[-1]))
    return _replace(layers, last + 1, name)


def _one_is_true(flag: Any) -> bool:
    return bool(np.any(as_array(flag) == True))  # noqa: E712 (elementwise; what is no flag is told by the bridge)


def _hands_a_seed_to(wrapper: gym.Env, env: gym.Env) -> bool:
    """Whether a wrapper passes on a seed that the environment in it does not take."""
    return "seed" in _arguments(wrapper.reset) and "seed" not in _arguments(env.reset)


def _replace(layers: list[Any], index: int, name: str, only_if: bool = True) -> gym.Env:
    """Puts a layer behind an Interface; returns the outermost one."""
    if only_if:
        made = Interface(layers[index], name)
        if index == 0:
            return made
        layers[index - 1].env = made
    return layers[0]


def _arguments(reset: Callable[..., Any]) -> set[str]:
    """Which of seed and options a `reset` can be given by name."""
    asked = {"seed", "options"}
    try:
        parameters = inspect.signature(reset).parameters.values()
    except (TypeError, ValueError):  # of a function that is not written in Python
        return asked
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return asked
    by_name = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return {parameter.name for parameter in parameters if parameter.kind in by_name} & asked
