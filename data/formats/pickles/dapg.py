"""Paths, a pickled list of episodes, each a dict of arrays: DAPG's demonstrations (Rajeswaran et al. 2018) and others of mjrl, and the
trajectories that Decision Transformer makes of D4RL's data.

Read of each: `observations`, `actions` `[T, ...]`, `rewards` `[T]`; where they are there `next_observations`, the marks of ends that
`marks.py` lists (else false, since Adroit's episodes end by time alone; one flag is the last step's), and of `env_infos` the success flag
`success`, `is_success`, `succeed` or `goal_achieved`. `init_state_dict` and `agent_infos` are ignored; the names of all else are told.

- Actions of paths that have `env_infos` or `init_state_dict` are clipped to [-1, 1], and it is said how many: the demonstrations hold what
  the data glove said, and Adroit's environments clip it so.
- Without `next_observations` the last row of an episode is dropped, unless it terminated.
- A mark of the task's end counts for nothing where `env_infos` says `TimeLimit.truncated` of the last step.
"""

from __future__ import annotations

import functools
import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import WarmloopError
from ..recordings.flags import single_flag
from ..recordings.flat import SUCCESS_FLAGS, Part, join
from ..recordings.marks import MARKS, name_columns, one_of, read_ends
from ..recordings.options import PLAIN, ReadOptions
from ..recordings.recording import Columns, Recording, check, require_keys
from .pickled import layout, numbers
from .safe_pickle import load

REQUIRED = ["observations", "actions", "rewards"]
OPTIONAL = ["next_observations"]
IGNORED = ["init_state_dict", "agent_infos", "env_infos"]
FLAGS = (*MARKS, "success", "intervened")
log = logging.getLogger("warmloop")


def matches(path: str) -> bool:
    """Whether `path` is a pickle of mjrl's paths."""
    return layout(path) == "dapg"


def read(origin: str, options: ReadOptions = PLAIN) -> Iterator[Recording]:
    """The rows of file `origin`; nothing in it is run.

    Raises:
        WarmloopError: the file is refused by `safe_pickle`, is no list of paths, or a path lacks or contradicts itself in a key.
    """
    paths = load(Path(origin), inert={})
    if not isinstance(paths, list) or not all(isinstance(path, dict) for path in paths):
        raise WarmloopError(f"{origin} holds a {type(paths).__name__}, and not DAPG's list of episodes (dicts).")
    yield from read_paths(origin, paths, options)


def are_paths(held: list[dict[str, Any]]) -> bool:
    """Whether entries of a pickled list, which are dicts, are whole episodes and not single transitions."""
    first = held[0] if held else {}
    return np.ndim(first.get("rewards", 0)) == 1 and np.ndim(first.get("actions", 0)) == 2


def read_paths(origin: str, paths: list[dict[str, Any]], options: ReadOptions) -> Iterator[Recording]:
    """The rows of a file's `paths`, in pieces. Raises WarmloopError where one lacks or contradicts itself in a key."""
    clipped = Counter[str]()
    attempts = ((f"episode {index}", functools.partial(_part, origin, path, index, options, clipped)) for index, path in enumerate(paths))
    yield from join(origin, attempts, options)
    if clipped["steps"]:
        log.info("%s: actions are clipped to [-1, 1], as Adroit does: %d of %d steps", origin, clipped["steps"], clipped["of"])


def _part(origin: str, path: dict[str, Any], index: int, options: ReadOptions, clipped: Counter[str]) -> Part:
    name = f"episode {index}"
    place = f"{origin}, {name}"
    require_keys(origin, name, [str(key) for key in path], REQUIRED)
    columns: Columns = {key: numbers(place, key, path[key]) for key in (*REQUIRED, *OPTIONAL) if key in path}
    infos = path.get("env_infos")
    infos = infos if isinstance(infos, dict) else {}
    cut = single_flag(place, "env_infos/TimeLimit.truncated", np.ravel(infos.get("TimeLimit.truncated", False))[-1:])
    rows = len(columns["actions"])
    named = name_columns(place, [key for key in map(str, path) if key not in (*REQUIRED, *OPTIONAL, *IGNORED)])
    read = {column: keys for column, keys in named.by_column.items() if column in FLAGS and rows}
    flags = {column: _one_of(place, column, keys, path, rows) for column, keys in read.items()}
    if rows:
        check(place, columns | flags)
    ends = read_ends(place, {column: flags.pop(column) for column in MARKS if column in flags}, rows, options.dones)
    columns |= flags | {"terminals": np.zeros(rows, bool) if ends is None else ends.terminal & (not cut)}
    if {"env_infos", "init_state_dict"} & path.keys():
        columns["actions"] = _clipped(columns["actions"], clipped)
    flag = next((key for key in SUCCESS_FLAGS if key in infos), None)
    if flag:
        columns["success"] = np.ravel(numbers(place, f"env_infos/{flag}", infos[flag]))
    others = [key for column, keys in named.by_column.items() if column not in read for key in keys]
    return Part(name, index, columns, unread=(*named.unread, *others))


def _one_of(place: str, column: str, keys: tuple[str, ...], path: dict[str, Any], rows: int) -> np.ndarray:
    """The flag of each step that all of `keys` hold."""
    return np.asarray(one_of(place, column, {key: _of_each_step(place, column, key, path[key], rows) for key in keys}))


def _of_each_step(place: str, column: str, key: str, value: Any, rows: int) -> np.ndarray:
    """A mark of each step `[T]`; one for the whole episode is its last step's."""
    if np.size(value) != 1 or column == "masks":
        return np.ravel(numbers(place, key, value))
    return (np.arange(rows) == rows - 1) & single_flag(place, key, value)


def _clipped(actions: np.ndarray, clipped: Counter[str]) -> np.ndarray:
    """Within [-1, 1], where they are finite: what is not is reported as such."""
    if actions.dtype.kind != "f":
        return actions
    beyond = np.isfinite(actions) & (np.abs(actions) > 1)
    clipped.update(steps=int(beyond.any(axis=tuple(range(1, beyond.ndim))).sum()), of=len(actions))
    return np.where(beyond, np.sign(actions), actions)
