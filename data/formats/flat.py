"""Rows end to end: where their episodes begin, what follows the last row of each, and how a file is read in pieces of bounded size."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from ..errors import WarmloopError
from ..transition import storage_dtype
from .recording import Columns, Recording, Table, breaks, cast, starts_after, tidy

# A piece is the fewest whole episodes that fill so much: few enough for any machine, large enough that pieces cost nothing.
PIECE_BYTES = 32 << 20

# What an environment's infos call success, in the order of preference.
SUCCESS_FLAGS = ("success", "is_success", "succeed", "goal_achieved")


@dataclasses.dataclass(frozen=True)
class Part:
    """The rows of one episode, stored on its own.

    Attributes:
        name: how the file calls it (`demo_3`).
        number: its number.
        columns: as a Recording's, `terminals` included; `success` only where it is known.
        task: the name of its task; "" where nothing says.
        source: its kind of data; None where nothing says, in which case no part says.
    """

    name: str
    number: int
    columns: Columns
    task: str = ""
    source: int | None = None


def pieces(origin: str, table: Table, starts: np.ndarray, **own: Any) -> Iterator[Recording]:
    """A table's rows, read from first to last in pieces of whole episodes, each `complete`.

    Args:
        table: of a layout that `check` let pass.
        starts: `[E]` first row of each episode.
        own: what a Recording has per episode, `[E]` each.
    """
    ends = np.append(starts[1:], table["actions"].shape[0])
    row_bytes = sum(column.dtype.itemsize * math.prod(column.shape[1:]) for column in table.values())
    for some in _groups(ends - starts, row_bytes):
        first, last = int(starts[some.start]), int(ends[some.stop - 1])
        columns = {name: cast(name, column[first:last]) for name, column in table.items()}
        of_these: dict[str, Any] = {field: None if values is None else values[some] for field, values in own.items()}
        yield complete(Recording(origin, columns, starts[some] - first, **of_these))


def starts_by_flags(table: Table) -> np.ndarray:
    """`[E]` first rows, after each of `terminals | timeouts`; without `timeouts`, also where next observations do not lead on."""
    ends = np.zeros(table["actions"].shape[0], bool)
    for name in ("terminals", "timeouts"):
        if name in table:
            ends |= cast(name, table[name][:])
    if "timeouts" not in table and has_next(table):
        ends |= breaks(table)
    return starts_after(ends)


def has_next(table: Table) -> bool:
    """Whether next observations are recorded."""
    return any(name.startswith("next_") for name in table)


def complete(recording: Recording) -> Recording:
    """The recording with `terminals` and next observations.

    Where none are recorded they are the following row's observations. An episode's last row has none: it is dropped, unless it is
    terminal, where the target does not use it and the observation itself stands in. An episode of which nothing is left vanishes.
    """
    columns, starts = recording.columns, recording.starts
    rows = len(columns["actions"])
    columns = {"terminals": np.zeros(rows, bool)} | columns
    if has_next(columns):
        return dataclasses.replace(recording, columns=columns)
    last = np.append(starts[1:], rows) - 1
    following = np.arange(1, rows + 1)
    following[last] = last
    for name in [name for name in columns if name.split("/")[0] == "observations"]:
        columns[f"next_{name}"] = columns[name][following]
    kept = np.ones(rows, bool)
    kept[last] = columns["terminals"][last]
    lengths = np.add.reduceat(kept, starts, dtype=np.int64)
    alive = lengths > 0
    lengths = lengths[alive]
    own = {field: getattr(recording, field) for field in ("success_known", "numbers", "sources", "tasks")}
    return dataclasses.replace(
        recording,
        columns={name: column[kept] for name, column in columns.items()},
        starts=np.cumsum(lengths) - lengths,
        **{field: None if values is None else values[alive] for field, values in own.items()},
    )


def join(origin: str, parts: Iterable[Part]) -> Iterator[Recording]:
    """Episodes that are stored one by one, in pieces, each `complete`.

    Raises:
        WarmloopError: there are none, or one is empty, contradicts itself or differs from the first; it is named.
    """
    first, gathered, size = None, [], 0
    for part in parts:
        first = part if first is None else first
        _check(f"{origin}, {part.name}", part.columns, first)
        gathered.append(part)
        size += sum(column.nbytes for column in part.columns.values())
        if size >= PIECE_BYTES:
            yield _joined(origin, gathered)
            gathered, size = [], 0
    if first is None:
        raise WarmloopError(f"{origin} holds no episodes.")
    if gathered:
        yield _joined(origin, gathered)


def channels_last(column: np.ndarray) -> np.ndarray:
    """Images `[N, C, H, W]` as `[N, H, W, C]`; anything else as it is. Channels are an image's shortest axis."""
    if column.dtype == np.uint8 and column.ndim == 4 and column.shape[1] < min(column.shape[2:]):
        return np.ascontiguousarray(np.moveaxis(column, 1, -1))
    return column


def _groups(lengths: np.ndarray, row_bytes: int) -> Iterator[slice]:
    """Slices of consecutive episodes, `[E]` rows each, that fill a piece."""
    first, size = 0, 0
    for index, length in enumerate(lengths):
        size += int(length) * row_bytes
        if size >= PIECE_BYTES or index == len(lengths) - 1:
            yield slice(first, index + 1)
            first, size = index + 1, 0


def _joined(origin: str, parts: list[Part]) -> Recording:
    known = np.array(["success" in part.columns for part in parts])
    lengths = np.array([len(part.columns["actions"]) for part in parts])
    columns = {name: np.concatenate([part.columns[name] for part in parts]) for name in parts[0].columns if name != "success"}
    if known.any():
        flags = [part.columns.get("success", np.zeros(length, bool)) for part, length in zip(parts, lengths, strict=True)]
        columns["success"] = np.concatenate([np.asarray(flag).astype(bool) for flag in flags])
    own: dict[str, Any] = {"numbers": np.array([part.number for part in parts]), "tasks": np.array([part.task for part in parts])}
    own["sources"] = None if parts[0].source is None else np.array([part.source for part in parts])
    starts = np.cumsum(lengths) - lengths
    return complete(Recording(origin, tidy(origin, columns), starts, known if known.any() else None, **own))


def _check(place: str, columns: Columns, first: Part) -> None:
    rows = len(columns["actions"]) if np.ndim(columns["actions"]) else 0
    if rows == 0:
        raise WarmloopError(f"{place}: `actions` has no rows; remove the episode or record it again.")
    differing = (columns.keys() ^ first.columns.keys()) - {"success"}
    if differing:
        name = min(differing)
        verb = "has" if name in columns else "lacks"
        raise WarmloopError(f"{place}, {verb} `{name}`, unlike {first.name}; every episode needs the same arrays.")
    for name, column in columns.items():
        if column.dtype.kind not in "biuf":
            raise WarmloopError(f"{place}: `{name}` holds {column.dtype} values; numbers are needed.")
        if len(np.atleast_1d(column)) != rows or column.ndim == 0:
            found = len(column) if column.ndim else "no"
            raise WarmloopError(f"{place}: `{name}` has {found} rows and `actions` has {rows}; every array needs one row per transition.")
        like = first.columns.get(name, column)
        shape = column.shape[1:]
        if shape != like.shape[1:] or storage_dtype(column.dtype, shape) != storage_dtype(like.dtype, shape):
            raise WarmloopError(
                f"{place}: a row of `{name}` is {column.shape[1:]} {column.dtype}, and in {first.name} {like.shape[1:]} {like.dtype}."
            )
