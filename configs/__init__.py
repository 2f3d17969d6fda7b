"""Typed configuration, and presets on top of any: `FILE[:ARGUMENT][,PRESET…]`."""

from __future__ import annotations

import importlib.util
import inspect
import re
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from ..data.doors.borrowed import lent
from ..data.doors.imports import as_sentence, make_importable
from ..data.errors import WarmloopError
from ..data.settings.near_names import did_you_mean
from .recipes.algorithms import ALGORITHMS, apply
from .saved import config_of, read_saved
from .schema import RunConfig, from_config_dict

PACKAGED = Path(__file__).parent


def compose(argument: str, task: Callable[[str], RunConfig], tasks: Mapping[str, object] | None = None) -> RunConfig:
    """The task of an argument `TASK[,PRESET…]`; `tasks` are the names allowed, None where `task` checks them itself.

    Raises:
        WarmloopError: an unknown task or preset, with the near match, or presets that do not go together.
    """
    name, *presets = (part.strip() for part in argument.split(","))
    if tasks is not None and name not in tasks:
        raise WarmloopError(f'There is no task "{name}" here{did_you_mean(name, tasks, one=True, listing=True)}')
    return apply(task(name), presets)


def locate(specification: str) -> str:
    """`FILE[:ARGUMENT][,PRESET…]` with the file found: as given, or among the package's own presets. Modules beside a file of the user's
    can be imported from now on.

    Raises:
        WarmloopError: there is no such file.
    """
    path, rest = _divided(specification)
    for candidate in (Path(path), PACKAGED / Path(path).name):
        if candidate.is_file():
            if not candidate.parent.samefile(PACKAGED):  # whose mujoco.py is no module to import
                make_importable(candidate.parent)
            return f"{candidate}{rest}"
    packaged = (file for file in PACKAGED.glob("[a-z]*.py") if "\ndef get_config" in file.read_text())
    presets = ", ".join(sorted(f"configs/{file.name}" for file in packaged))
    raise WarmloopError(f"There is no configuration file {path}; give one of {presets}, or the path of your own.")


def load(specification: str) -> RunConfig:
    """The typed configuration of `FILE[:ARGUMENT][,PRESET…]`.

    FILE is Python with a `get_config()`, which may take the ARGUMENT, and gives a `RunConfig` or its `to_config_dict`; or a run's saved
    `config.json`. The presets are put on top in their order.

    Raises:
        WarmloopError: what cannot be found, is wrong, or changes nothing.
    """
    path, rest = _divided(locate(specification))
    argument, *presets = (part.strip() for part in rest.removeprefix(":").split(","))
    if path.endswith(".json"):
        if argument:
            raise WarmloopError(f'{path} is a saved configuration, and takes no argument "{argument}"; presets follow a comma.')
        return apply(config_of(read_saved(Path(path), "give another --config, and changes as flags, as in --config.agent.utd=4")), presets)
    module = _module(path)
    if not argument:
        return apply(_called(module, path), presets)
    if _counts(module, path, argument):
        return apply(_called(module, path, argument), presets)
    if argument in ALGORITHMS:  # my.py:iql, which is my.py,iql
        return apply(_called(module, path), [argument, *presets])
    near = did_you_mean(argument, ALGORITHMS, one=True, listing=True).removeprefix("; ")
    raise WarmloopError(f'The argument "{argument}" changes nothing in {path}. Of presets, {near}')


def _divided(specification: str) -> tuple[str, str]:
    """The file, and the rest from its colon or comma on; one in the name of a file that is there belongs to the name."""
    ends = [mark.start() for mark in re.finditer("[:,]", specification)] + [len(specification)]
    end = next((end for end in ends if Path(specification[:end].strip()).is_file()), ends[0])
    return specification[:end].strip(), specification[end:]


def _module(path: str) -> types.ModuleType:
    specification = importlib.util.spec_from_file_location("warmloop_config", path)
    if specification is None or specification.loader is None:
        raise WarmloopError(f"{path} is not a Python file.")
    module = importlib.util.module_from_spec(specification)
    with as_sentence(f"The configuration {path} cannot be loaded"), lent(f"The configuration {path}"):
        specification.loader.exec_module(module)
    if not callable(getattr(module, "get_config", None)):
        raise WarmloopError(f"{path} has no function get_config, which gives the configuration.")
    return module


def _called(module: types.ModuleType, path: str, *arguments: str) -> RunConfig:
    """The typed configuration that `get_config` gives. Raises WarmloopError where it gives none, or fails."""
    call = f"get_config({', '.join(map(repr, arguments))})"
    with as_sentence(f"{path}: {call} failed"), lent(f"The configuration {path}"):
        given: Any = module.get_config(*arguments)
    if isinstance(given, RunConfig):
        return given
    if isinstance(given, ConfigDict):
        return from_config_dict(given)
    raise WarmloopError(f"{path}: get_config gave {type(given).__name__}; it must give a RunConfig, or to_config_dict of one.")


def _counts(module: types.ModuleType, path: str, argument: str) -> bool:
    """Whether `get_config` looks at its argument: another one, of which nobody ever heard, gives another configuration, or none."""
    parameters = inspect.signature(module.get_config).parameters.values()
    if not any(one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD, one.VAR_POSITIONAL) for one in parameters):
        return False
    try:
        other = _called(module, path, f"{argument} or nothing")
    except WarmloopError:
        return True
    try:
        return other != _called(module, path, argument)
    except ValueError:  # of arrays among its values, which compare number by number
        return True
