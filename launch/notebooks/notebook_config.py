"""What the notebooks' classes are given by name: an environment, an algorithm, settings; and recorded arrays."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from ...actor.environment.environment import Environment, EnvironmentConfig, make_environment
from ...agents import AGENTS, SACConfig
from ...configs import load
from ...configs.recipes.algorithms import ALGORITHMS, of_agent
from ...configs.schema import AgentChoice, RunConfig, from_dict, to_dict
from ...data.action_limits import ActionLimits
from ...data.doors.imports import is_importable_name
from ...data.episode import Episode
from ...data.errors import WarmloopError
from ...data.formats import write_episodes
from ...data.formats.npz import DATA
from ...data.reward import RewardConfig
from ...data.settings.near_names import closest_names, did_you_mean
from ...data.sources.sources import mark

AGENT_SECTIONS = ("agent", "warmup_agent")
ARRAYS = (*DATA, "episode_ids", "episode_starts")
STORED = "dataset.npz"


def chosen_config(env: str | gym.Env, algorithm: str, settings: Mapping[str, Any]) -> RunConfig:
    """The configuration of a run.

    Args:
        env: a Gymnasium id, an environment (its own reward counts, and success ends nothing), or a preset `configs/FILE.py:TASK`.
        algorithm: a preset of `configs.recipes.algorithms`, an agent's name, or MODULE:Name of one's own; "" for the configuration's
            own.
        settings: of the algorithm by name, or a dict of settings for a section such as `reward`.

    Raises:
        WarmloopError: an unknown name, with the near match, or a wrong value.
    """
    if isinstance(env, str) and ".py" in env:
        return with_settings(with_algorithm(load(env), algorithm), algorithm, settings)
    agent = AgentChoice("sac", SACConfig(ensemble=2, utd=1, backup_entropy=True, initial_temperature=0.1))
    reward = RewardConfig(signal="environment", terminate_on_success=False)
    config = RunConfig(EnvironmentConfig(name_of(env)), reward=reward, agent=agent, warmup_agent=agent)
    return with_settings(with_algorithm(config, algorithm), algorithm, settings)


def with_algorithm(config: RunConfig, algorithm: str) -> RunConfig:
    """The configuration with another algorithm, offline and online; "" leaves its own."""
    if algorithm == "":
        return config
    if algorithm in ALGORITHMS:
        return ALGORITHMS[algorithm](config)
    if algorithm not in AGENTS and not is_importable_name(str(algorithm)):
        raise WarmloopError(f'There is no algorithm "{algorithm}"{did_you_mean(str(algorithm), [*ALGORITHMS, *AGENTS])}')
    return of_agent(config, algorithm)


def with_settings(config: RunConfig, algorithm: str, settings: Mapping[str, Any]) -> RunConfig:
    """The configuration with some settings changed."""
    values = to_dict(config)
    sections = [name for name in values if name not in AGENT_SECTIONS]
    for name, value in settings.items():
        holders = [section for section in AGENT_SECTIONS if name in values[section] and name != "name"]
        if not holders and name not in sections:
            known = {known for section in AGENT_SECTIONS for known in values[section] if known != "name"}
            of = algorithm or config.agent.name
            raise WarmloopError(f'"{of}" has no setting "{name}"{did_you_mean(name, [*sorted(known), *sections])}')
        if not holders and not isinstance(value, Mapping):
            raise WarmloopError(f"{name} is {value!r}; it is a section, and takes a dict of settings.")
        for section in holders:
            values[section][name] = value
        if not holders:
            values[name] = values[name] | dict(value)
    return from_dict(values)


def name_of(env: str | gym.Env) -> str:
    """The id of an environment; where it was never registered, its class. Raises WarmloopError where it is none."""
    if isinstance(env, str):
        return env
    if not isinstance(env, gym.Env):
        raise WarmloopError(
            f"{shown(env)} is no environment; give a Gymnasium id, an environment object, or a preset such as configs/adroit.py:door."
        )
    return env.spec.id if env.spec else type(env.unwrapped).__name__


def environment_of(env: str | gym.Env | None, config: RunConfig) -> Environment:
    """The environment to act in: the configuration's, another id, or one that is there already, whose episodes must end by themselves."""
    chosen = config.environment if env is None else dataclasses.replace(config.environment, id=name_of(env))
    if env is None or isinstance(env, str):
        return make_environment(chosen, config.reward, tasks=config.tasks, use=config.actor)
    limited = gym.wrappers.TimeLimit(env, chosen.horizon) if chosen.horizon else env
    environment = Environment(limited, chosen, config.reward, config.tasks)
    environment.use = config.actor
    return environment


def source_arguments(raw: Any, folder: Path, limits: ActionLimits | None) -> list[str]:
    """What to read: the paths that `raw` names, or the file STORED in `folder`, to which its arrays or episodes are written, so that
    they are checked as any other data. `limits` are those of the episodes' actions.

    Raises:
        WarmloopError: it is none of these, or the episodes differ in shape.
    """
    given: list[Any] = [raw] if isinstance(raw, str | Path | Mapping) else list(raw) if isinstance(raw, Iterable) else []
    if given and all(isinstance(each, str | Path) for each in given):
        return [str(each) for each in given]
    if isinstance(raw, Mapping):
        store_arrays(raw, folder / STORED)
    elif given and all(isinstance(each, Episode) for each in given):
        write_episodes(folder / STORED, given, mark(limits))
    else:
        raise WarmloopError(f"{shown(raw)} is no data set; give a collector's episodes, a path or several, or a dict of arrays.")
    return [str(folder / STORED)]


def store_arrays(raw: Mapping[str, Any], path: Path) -> None:
    """Writes arrays to an .npz file, by which they are read and checked as any other data.

    Raises:
        WarmloopError: a name that is nearly one that is read, or what is no array of numbers.
    """
    flat = {}
    for name, value in raw.items():
        flat |= {f"{name}/{leaf}": array for leaf, array in value.items()} if isinstance(value, Mapping) else {name: value}
        near = closest_names(name, set(ARRAYS) - set(raw), 1)
        if name not in ARRAYS and near and "/" not in name:
            raise WarmloopError(f'The dataset has an array "{name}"; did you mean {near[0]}?')
    np.savez(path, allow_pickle=False, **{name: _array(name, value) for name, value in flat.items()})  # pyright: ignore[reportArgumentType]


def _array(name: str, value: Any) -> np.ndarray:
    """Raises WarmloopError for rows that differ in length, and for objects."""
    with contextlib.suppress(ValueError):
        array = np.asarray(value)
        if array.dtype != object:
            return array
    raise WarmloopError(f'The dataset has in "{name}" lists that differ in length, or objects; give a rectangular array of numbers.')


def whole(name: str, value: int, least: int = 1) -> int:
    """A number of steps or episodes. Raises WarmloopError unless it is a whole number of at least `least`."""
    if not isinstance(value, int | np.integer) or isinstance(value, bool):
        raise WarmloopError(f"{name} is {shown(value)}; it must be a whole number.")
    if value < least:
        raise WarmloopError(f"{name} is {value}; it must be at least {least}.")
    return int(value)


def shown(value: Any) -> str:
    """The beginning of what Python writes for a value, on one line."""
    return " ".join(repr(value).split())[:60]
