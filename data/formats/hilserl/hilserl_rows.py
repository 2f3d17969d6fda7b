"""Transitions of HIL-SERL, one dict each, out of a file or a folder of files, and the columns that they make."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import WarmloopError
from ..pickles.pickled import DEPTH, bytes_as_array
from ..pickles.safe_pickle import holds_objects, load
from ..recordings.budget import require, size_of
from ..recordings.options import ReadOptions
from ..recordings.recording import Columns, distinct

OF_A_RUN = re.compile(r"transitions_(\d+)\.pkl(\.gz)?")


def files_of(folder: str) -> list[Path]:
    """The files that a run of HIL-SERL wrote to a folder, in their order; none where it did not."""
    found = [(int(name[1]), entry) for entry in Path(folder).iterdir() if (name := OF_A_RUN.fullmatch(entry.name))]
    return [entry for _, entry in sorted(found)]


def load_rows(origin: str) -> list[dict]:
    """The transitions of a file, or of all files of a folder. Raises WarmloopError where one is no list of them, or there are none."""
    rows: list[dict] = []
    files = files_of(origin) if Path(origin).is_dir() else [Path(origin)]
    for path, other in itertools.pairwise(files):
        if int(OF_A_RUN.fullmatch(path.name)[1]) == int(OF_A_RUN.fullmatch(other.name)[1]):  # pyright: ignore[reportOptionalSubscript]
            raise WarmloopError(f"{origin} holds both {path.name} and {other.name}, which are one part of a run; take one of them out.")
    for path in files:
        held = load(path, inert={})
        if not isinstance(held, list) or not all(isinstance(row, dict) for row in held):
            raise WarmloopError(f"{path} holds a {type(held).__name__}, and not HIL-SERL's list of transitions (dicts).")
        rows += held
    if not rows:
        raise WarmloopError(f"{origin} holds no transitions.")
    return rows


def sound_rows(origin: str, rows: list[dict], names: list[str], options: ReadOptions) -> tuple[list[dict], list[int]]:
    """The transitions of the episodes that have each of `names` in the shape that most have, and those episodes' numbers; all transitions,
    and no numbers, where none may be left out.

    Raises:
        WarmloopError: no episode is sound.
    """
    if options.on_bad is None:
        return rows, []
    ends = [index + 1 for index, row in enumerate(rows) if _is_last(row)]
    edges = [0, *ends, *([len(rows)] if not ends or ends[-1] < len(rows) else [])]
    read: list[tuple[int, list[dict], tuple[Any, ...] | WarmloopError]] = []
    for index, (start, end) in enumerate(itertools.pairwise(edges)):
        read.append((index, rows[start:end], _signature(origin, rows[start:end], names)))
    usual = Counter(found for _, _, found in read if isinstance(found, tuple)).most_common(1)
    if not usual:
        raise WarmloopError(f"{origin}: all of its episodes are bad; of the first: {read[0][2]}")
    sound: list[dict] = []
    numbers: list[int] = []
    for index, own, found in read:
        if found == usual[0][0]:
            sound += own
            numbers.append(index)
        else:
            other = WarmloopError(f"{origin}: its arrays have other names, shapes or types than those of most episodes.")
            options.leave_out(origin, f"episode {index}", found if isinstance(found, WarmloopError) else other)
    return sound, numbers


def _signature(origin: str, rows: list[dict], names: list[str]) -> tuple[Any, ...] | WarmloopError:
    try:
        columns = columns_of(origin, rows, names)
    except WarmloopError as error:
        return error
    return tuple((name, column.shape[1:], column.dtype.kind) for name, column in columns.items())


def _is_last(row: dict) -> bool:
    done, mask = (np.ravel(row.get(name, other)) for name, other in (("dones", False), ("masks", 1)))
    return bool((done != 0).any()) or bool((mask == 0).all())


def columns_of(origin: str, rows: list[dict], names: list[str], where: str = "") -> Columns:
    """The values of each of `names` in all transitions, `[N, ...]`; of a dict of arrays one column for each, named by its path.
    `where` says for errors which part of the transitions these are.

    Raises:
        WarmloopError: a transition lacks one, has it in another shape, or has objects there; or together they take too much memory.
    """
    place, columns = f"{origin}, {where}" if where else origin, Columns()
    for name in names:
        _check_leaves(place, rows, name)
        for key, path in distinct(place, _paths(origin, name, rows[0].get(name))).items():
            parts = []
            for number, row in enumerate(rows):
                try:
                    value = row[name]
                    for part in path:
                        value = value[part]
                except (KeyError, TypeError, IndexError):
                    raise WarmloopError(
                        f"{place}: `{key}` of transition {number} is absent; every transition needs the same keys."
                    ) from None
                if holds_objects(value):
                    raise WarmloopError(
                        f"{place}: `{key}` of transition {number} is an array of Python objects; save it as an array of numbers."
                    )
                parts.append(value)
            require(origin, f"`{key}`", bytes_as_array(parts), size_of(origin))
            _check_bytes(place, key, parts)
            try:
                columns[key] = np.array(parts)
            except ValueError:
                raise WarmloopError(f"{place}: `{key}` changes its shape from transition to transition.") from None
    return columns


def _check_leaves(place: str, rows: list[dict], name: str) -> None:
    """Raises WarmloopError where a later transition has a part that the first has not."""
    first = rows[0].get(name)
    for number, row in enumerate(rows if isinstance(first, dict) else ()):
        value = row.get(name)
        if isinstance(value, dict) and (more := [key for key in value if key not in first]):
            raise WarmloopError(
                f"{place}: `{name}/{more[0]}` of transition 0 is absent, and transition {number} has it; every one needs the same keys."
            )


def _check_bytes(place: str, key: str, parts: list[Any]) -> None:
    """Raises WarmloopError where some rows are pictures of bytes and others are not: joined, they would be of two scales."""
    kinds = [part.dtype == np.uint8 for part in parts if isinstance(part, np.ndarray) and part.ndim > 1]
    if any(kinds) and not all(kinds):
        row = kinds.index(not kinds[0])
        raise WarmloopError(f"{place}: `{key}` is uint8 in some transitions and not in others, as {row - 1} and {row}; save all as it.")


def _paths(origin: str, name: str, value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """The column of each array in `value`, and the keys that lead to it."""
    if len(path) > DEPTH:
        raise WarmloopError(f"{origin}: `{name}` is a dict in a dict, more than {DEPTH} deep; save it flatter.")
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _paths(origin, name, part, (*path, key))
    else:
        yield "/".join([name, ".".join(map(str, path))]) if path else name, path
