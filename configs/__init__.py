"""Typed configuration, and presets: `configs/FILE.py:TASK[,ALGORITHM…]`."""

from __future__ import annotations

import difflib
import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path

from ..data.errors import WarmloopError
from .algorithms import ALGORITHMS
from .schema import RunConfig, from_config_dict

PACKAGED = Path(__file__).parent


def compose(argument: str, task: Callable[[str], RunConfig], tasks: Mapping[str, object] | None = None) -> RunConfig:
    """The preset of an argument `TASK[,ALGORITHM…]`; `tasks` are the names allowed, None where `task` checks them itself.

    Raises:
        WarmloopError: an unknown task or algorithm, with the near match.
    """
    name, *algorithms = (part.strip() for part in argument.split(","))
    if tasks is not None and name not in tasks:
        raise WarmloopError(f'There is no task "{name}" here; {nearest(name, tasks)}')
    config = task(name)
    for algorithm in algorithms:
        if algorithm not in ALGORITHMS:
            raise WarmloopError(f'There is no algorithm preset "{algorithm}"; {nearest(algorithm, ALGORITHMS)}')
        config = ALGORITHMS[algorithm](config)
    return config


def locate(specification: str) -> str:
    """`FILE[:ARGUMENT]` with the file found: as given, or among the package's own presets.

    Raises:
        WarmloopError: there is no such file.
    """
    path, colon, argument = specification.partition(":")
    for candidate in (Path(path), PACKAGED / Path(path).name):
        if candidate.is_file():
            return f"{candidate}{colon}{argument}"
    presets = ", ".join(sorted(f"configs/{file.name}" for file in PACKAGED.glob("[a-z]*.py") if "def get_config" in file.read_text()))
    raise WarmloopError(f"There is no configuration file {path}; give one of {presets}, or the path of your own.")


def load(specification: str) -> RunConfig:
    """The typed configuration of `FILE[:ARGUMENT]`. Raises WarmloopError for what cannot be found or is wrong."""
    path, _, argument = locate(specification).partition(":")
    module_specification = importlib.util.spec_from_file_location("warmloop_config", path)
    if module_specification is None or module_specification.loader is None:
        raise WarmloopError(f"{path} is not a Python file.")
    module = importlib.util.module_from_spec(module_specification)
    module_specification.loader.exec_module(module)
    return from_config_dict(module.get_config(argument) if argument else module.get_config())


def nearest(name: str, known: Mapping[str, object]) -> str:
    """How a sentence on an unknown name ends: with the near match, else with all that there are."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f'did you mean "{close[0]}"?' if close else f"there are {', '.join(known)}."
