"""A recorder's format that only its user knows: `MODULE:NAME:PATH`, read by a function of the user's.

NAME is called with PATH and yields the episodes one after the other, each as a dict of arrays of T rows:

    observations        [T, …], or [T + 1, …] with what followed the last step; or a dict of such arrays; images uint8 [T, H, W, C]
    actions, rewards    [T, A], [T]
    next_observations   [T, …]; without them the following rows are these, and a last row that is not terminal is left out
    terminals, success  [T] bool, or one bool for the last step; no step is terminal by default, and success is told as of other files
    timestamps          [T] seconds
    task                the task's name

What is in them is checked as of any other file.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..doors.door import Door
from ..doors.imports import is_importable_name, source_hash
from ..errors import WarmloopError
from ..settings.near_names import did_you_mean
from .recordings.flat import Attempt, Part, channels_last, join
from .recordings.options import PLAIN, ReadOptions
from .recordings.recording import Columns, Recording, require_keys

DOOR = Door("a format", "a function that is called with the path and yields a dict of arrays for each episode")
WHERE = "data.sources"
ARRAYS = ("observations", "next_observations", "actions", "rewards", "terminals", "success", "timestamps")
FLAGS = ("terminals", "success")
REQUIRED = ["observations", "actions", "rewards"]


def matches(path: str) -> bool:
    """Whether `path` is `MODULE:NAME:PATH`, and no file of that name."""
    return divided(path) is not None and not Path(path).exists()


def divided(path: str) -> tuple[str, str] | None:
    """`MODULE:NAME` and PATH; None where it is no such text."""
    module, _, rest = path.partition(":")
    name, _, place = rest.partition(":")
    found = f"{module}:{name}"
    return (found, str(Path(place).expanduser())) if place and module != "minari" and is_importable_name(found) else None


def reader_of(path: str) -> str:
    """What tells one reading of the same file from another: the reader's name, and the hash of its module."""
    name = _named(path)[0]
    return f"{name} {source_hash(name, f'{WHERE}={name}')[:16]}"


def read(origin: str, options: ReadOptions = PLAIN) -> Iterator[Recording]:
    """The rows of what `origin`, MODULE:NAME:PATH, names, in pieces.

    Raises:
        WarmloopError: there is no such reader, it fails, or an episode lacks or contradicts itself in an array.
    """
    name, path = _named(origin)
    reader: Callable[[str], Iterable[Any]] = DOOR.open(name, WHERE)
    if not callable(reader):
        raise DOOR.refused(name, WHERE, reader)
    yield from join(origin, _attempts(origin, name, lambda: iter(reader(path))), options)


def _named(origin: str) -> tuple[str, str]:
    found = divided(origin)
    assert found is not None  # or another format would have been told
    return found


def _attempts(origin: str, name: str, begin: Callable[[], Iterator[Any]]) -> Iterator[Attempt]:
    episodes, over = DOOR.call(name, WHERE, "called with the path", begin), object()
    for number in itertools.count():
        given = DOOR.call(name, WHERE, f"asked for episode {number}", functools.partial(next, episodes, over))
        if given is over:
            return
        yield f"episode {number}", functools.partial(_part, f"{origin}, episode {number}", given, number)


def _part(place: str, given: Any, number: int) -> Part:
    """One episode. Raises WarmloopError where it is no dict of arrays."""
    if not isinstance(given, Mapping):
        raise WarmloopError(f"{place}: the reader gave {' '.join(repr(given).split()):.60}; a dict of arrays is needed for each episode.")
    for key in given:
        if key not in (*ARRAYS, "task"):
            raise WarmloopError(
                f'{place}: there is no array "{key}"{did_you_mean(str(key), ARRAYS)} There are {", ".join(ARRAYS)} and task.'
            )
    require_keys(place, "it", list(given), REQUIRED)
    columns: Columns = {}
    for key, value in given.items():
        if key != "task":
            leaves = {f"{key}/{leaf}": one for leaf, one in value.items()} if isinstance(value, Mapping) else {key: value}
            columns |= {leaf: _array(place, leaf, one) for leaf, one in leaves.items()}
    rows = len(np.atleast_1d(columns["actions"]))
    for key in FLAGS:
        if key in columns and columns[key].ndim == 0:
            columns[key] = (np.arange(rows) == rows - 1) & bool(columns[key])
    if "timestamps" in columns:
        columns["extras/timestamps"] = columns.pop("timestamps")
    return Part(f"episode {number}", number, _with_next(columns, rows), task=str(given.get("task", "")))


def _array(place: str, name: str, value: Any) -> np.ndarray:
    try:
        return channels_last(np.asarray(value))
    except ValueError:
        raise WarmloopError(f"{place}: `{name}` has rows that differ in length; give a rectangular array.") from None


def _with_next(columns: Columns, rows: int) -> Columns:
    """With the next observations out of those of T + 1 rows."""
    seen = {name: column for name, column in columns.items() if name.split("/")[0] == "observations"}
    recorded = any(name.startswith("next_") for name in columns)
    if recorded or not all(column.ndim and len(column) == rows + 1 for column in seen.values()):
        return columns
    return columns | {name: column[:-1] for name, column in seen.items()} | {f"next_{name}": column[1:] for name, column in seen.items()}
