"""DAPG's demonstration pickles (Rajeswaran et al. 2018), and other paths of mjrl: a list of episodes, each a dict of arrays.

Read of each: `observations`, `actions` `[T, ...]`, `rewards` `[T]`; `terminated` (one flag; false where it is absent, since Adroit's
episodes end by time alone); and of `env_infos` the success flag `success`, `is_success`, `succeed` or `goal_achieved`. `init_state_dict`,
`agent_infos` and all else are ignored.

- Actions are clipped to [-1, 1]: the demonstrations hold what the data glove said, and Adroit's environments clip it so.
- Next observations are not stored: the last row of an episode is dropped, unless it terminated.
- `terminated` counts for nothing where `env_infos` says `TimeLimit.truncated` of the last step.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import WarmloopError
from .pickles.pickled import layout, numbers
from .pickles.safe_pickle import load
from .recordings.flat import SUCCESS_FLAGS, Part, join
from .recordings.options import PLAIN, ReadOptions
from .recordings.recording import Columns, Recording, require_keys

REQUIRED = ["observations", "actions", "rewards"]


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
    attempts = ((f"episode {index}", functools.partial(_part, origin, path, index)) for index, path in enumerate(paths))
    yield from join(origin, attempts, options)


def _part(origin: str, path: dict[str, Any], index: int) -> Part:
    name = f"episode {index}"
    require_keys(origin, name, [str(key) for key in path], REQUIRED)
    columns: Columns = {key: numbers(f"{origin}, {name}", key, path[key]) for key in REQUIRED}
    rows = len(columns["actions"])
    infos = path.get("env_infos")
    infos = infos if isinstance(infos, dict) else {}
    cut = np.ravel(infos.get("TimeLimit.truncated", False))
    terminated = bool(np.any(path.get("terminated", False))) and not bool(cut[-1:].any())
    columns["terminals"] = (np.arange(rows) == rows - 1) & terminated
    columns["actions"] = _clipped(columns["actions"])
    flag = next((key for key in SUCCESS_FLAGS if key in infos), None)
    if flag:
        columns["success"] = np.ravel(numbers(f"{origin}, {name}", f"env_infos/{flag}", infos[flag]))
    return Part(name, index, columns)


def _clipped(actions: np.ndarray) -> np.ndarray:
    """Within [-1, 1], where they are finite: what is not is reported as such."""
    return np.where(np.isfinite(actions), np.clip(actions, -1, 1), actions) if actions.dtype.kind == "f" else actions
