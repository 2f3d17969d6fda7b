"""One reader for flat arrays, whatever they lie in: an archive, an HDF5 file or a pickled dict. `marks.py` says what their names mean.

- Boundaries: `episode_starts`, `episode_ends`, `episode_lengths` `[E]`, or where `episode_ids` `[N]` changes; else after every mark of an
  end, by the rule of `boundaries.py`. A file whose marks leave time limits out is also cut where its next observations do not lead to the
  following row, and is refused where it has none: an episode cut by a time limit would run on into the next one.
- Without `next_observations` they are the following row's observations. An episode's last row has none: it is dropped, unless it is
  terminal, where the target does not use it and the observation itself stands in.
- A file of which every episode begins with an action and a reward of NaN holds each action beside the observation that it led to, as
  TD-MPC2 does.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from ...errors import WarmloopError
from .boundaries import trajectory_ends
from .flat import has_next, pieces
from .marks import BOUNDARIES, MARKS, Ends, name_columns, one_of, read_ends
from .options import ReadOptions
from .recording import Recording, Stored, Table, check, require_keys, starts_after

REQUIRED = ("observations", "actions", "rewards")
TIMES = ("timestamps", "timestamp", "time")


def read_arrays(
    origin: str, names: Sequence[str], array: Callable[[str], Stored], options: ReadOptions, ignored: Sequence[str] = ()
) -> Iterator[Recording]:
    """The rows of a file, in pieces.

    Args:
        names: of the file's arrays, a leaf of a dict as `observations/NAME`.
        array: the array of a name.
        ignored: names that are no arrays of rows, and that are not told as unread either.

    Raises:
        WarmloopError: an array is missing, two contradict each other, or nothing says where time limits cut.
    """
    named = name_columns(origin, [name for name in names if name not in ignored])
    for column in REQUIRED:
        if not any(key.split("/")[0] == column for key in named.by_column):
            read = [name for name in names if name not in named.unread]
            require_keys(origin, "the file", list(names), [column, *read])
    found = {column: one_of(origin, column, {name: array(name) for name in own}) for column, own in named.by_column.items()}
    found = _of_one_environment(origin, found)
    boundaries = {column: found.pop(column) for column in BOUNDARIES if column in found}
    marks = {column: found.pop(column) for column in MARKS if column in found}
    marks = _without_blanks(marks, found)
    check(origin, found | marks)
    rows = found["actions"].shape[0]
    ends = read_ends(origin, marks, rows, options.dones)
    table: dict[str, Stored] = found | ({} if ends is None else {"terminals": ends.terminal})
    if ends is not None and ends.timeouts is not None:
        table["timeouts"] = ends.timeouts
    times = _times(names, array, rows)
    unread = tuple(name for name in named.unread if name not in times)
    if times:
        table["extras/timestamps"] = next(iter(times.values()))
    starts = first_rows(origin, boundaries, rows)
    if starts is None:
        starts = _starts_by_marks(origin, table, ends, options.dones)
    elif "episode_ids" in boundaries:
        _check_runs(origin, np.ravel(boundaries["episode_ids"][:]), starts, None if ends is None else ends.marked)
    yield from pieces(origin, table, starts, unread=unread)


def _check_runs(origin: str, ids: np.ndarray, starts: np.ndarray, marked: np.ndarray | None) -> None:
    """Raises WarmloopError where an episode's number comes again in later rows, and its earlier rows do not end with a mark: the rows of
    several episodes in turn look like files one after another, each of which counts from 0."""
    numbers = ids[starts]
    _, last_runs = np.unique(numbers[::-1], return_index=True)
    recurs = np.ones(len(starts), bool)
    recurs[len(starts) - 1 - last_runs] = False
    ends = np.append(starts[1:], len(ids)) - 1
    open_runs = recurs if marked is None else recurs & ~marked[ends]
    if open_runs.any():
        run = int(np.argmax(open_runs))
        again = starts[run + 1 :][numbers[run + 1 :] == numbers[run]][0]
        raise WarmloopError(
            f"{origin}: `episode_ids` are {numbers[run]} up to row {ends[run]}, which nothing marks as an end, and again from row {again}; "
            "sort the rows by episode or, where these are several episodes, give each a number of its own."
        )


def _without_blanks(marks: dict[str, Stored], found: Table) -> dict[str, Stored]:
    """The marks, off where the reward is NaN and they are, too: in first rows that hold no step (TD-MPC2)."""
    reward = found["rewards"]
    if reward.dtype.kind != "f" or not (blank := np.isnan(reward[0 : reward.shape[0]])).any():
        return marks
    held = {column: array[0 : array.shape[0]] for column, array in marks.items() if array.dtype.kind == "f" and array.shape == blank.shape}
    return marks | {column: np.where(blank & np.isnan(values), 0, values) for column, values in held.items() if column != "masks"}


class _WithoutAxis:
    """An array `[N, 1, ...]` as `[N, ...]`, read when it is asked for."""

    def __init__(self, array: Stored):
        self._array = array
        self.shape, self.dtype = (array.shape[0], *array.shape[2:]), array.dtype

    def __getitem__(self, rows: slice) -> np.ndarray:
        return self._array[rows][:, 0]


def _of_one_environment(origin: str, found: dict[str, Stored]) -> dict[str, Stored]:
    """The columns without the axis of environments that rollouts and replay buffers have, `[steps, environments, ...]`.

    Raises:
        WarmloopError: there are several.
    """
    shape = found["actions"].shape if "actions" in found else ()
    if len(shape) != 3 or "rewards" not in found or found["rewards"].shape[:2] != shape[:2]:
        return found
    if shape[1] != 1:
        raise WarmloopError(
            f"{origin}: `actions` has shape {shape}, steps of {shape[1]} environments side by side; save one environment after the other, "
            "each with its ends marked."
        )
    return {name: _WithoutAxis(array) if len(array.shape) > 1 and array.shape[1] == 1 else array for name, array in found.items()}


def _times(names: Sequence[str], array: Callable[[str], Stored], rows: int) -> dict[str, Stored]:
    """The column of timestamps by its name, where the file has one number for each row; what else is called so is not read."""
    for name in TIMES:
        if name in names:
            with contextlib.suppress(WarmloopError):  # no array of numbers: the time of the whole recording, or a text
                found = array(name)
                if found.shape in ((rows,), (rows, 1)) and found.dtype.kind in "iuf":
                    return {name: found}
    return {}


def _starts_by_marks(origin: str, table: Table, ends: Ends | None, dones: str) -> np.ndarray:
    nothing = np.zeros(table["actions"].shape[0], bool)
    if ends is None:
        return starts_after(trajectory_ends(origin, table, nothing, None))
    if not ends.cuts_are_marked and not has_next(table) and ends.marked[:-1].any() and dones != "terminal":
        raise WarmloopError(
            f"{origin} has neither `timeouts` nor `next_observations`, so nothing says which episodes a time limit cut; "
            "add `timeouts` or, where none was cut, say so by dones=terminal of its source in data.sources (--config.data.dones for all, "
            "--dones of inspect_data and merge_data)."
        )
    cut = nothing if ends.cut is None and ends.cuts_are_marked else ends.cut
    return starts_after(trajectory_ends(origin, table, ends.terminal, cut))


def first_rows(origin: str, boundaries: Table, rows: int) -> np.ndarray | None:
    """`[E]` first rows by BOUNDARIES, arrays that say where episodes begin; None without any. Raises WarmloopError where they disagree."""
    found = {name: _first_rows(origin, name, np.ravel(array[:]), rows) for name, array in boundaries.items()}
    for name, starts in found.items():
        other = next(iter(found))
        if not np.array_equal(starts, found[other]):
            raise WarmloopError(f"{origin}: `{other}` and `{name}` disagree on where episodes begin; remove one.")
    return next(iter(found.values()), None)


def _first_rows(origin: str, name: str, values: np.ndarray, rows: int) -> np.ndarray:
    if name == "episode_ids":
        if len(values) != rows:
            raise WarmloopError(f"{origin}: `{name}` has {len(values)} rows and `actions` has {rows}.")
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            row = int(np.argmin(np.isfinite(values)))
            raise WarmloopError(f"{origin}: `{name}` holds {values[row]:g} in row {row}; each row needs the number of its episode.")
        return starts_after(np.append(values[1:] != values[:-1], True))
    if name == "episode_starts" and values.dtype.kind in "bf" and len(values) == rows and values[:1].all():
        return np.flatnonzero(values)  # a flag on each first row, as Stable-Baselines has it
    starts = values
    if name != "episode_starts" and values.dtype.kind in "iu":
        ends = values if name == "episode_ends" else np.cumsum(values)
        if len(ends) and int(ends[-1]) != rows:
            raise WarmloopError(f"{origin}: by `{name}` its episodes end at row {int(ends[-1])}, and it has {rows}.")
        starts = np.append(0, ends[:-1])
        if name == "episode_lengths" and (values == 0).any():
            raise WarmloopError(f"{origin}: by `{name}` its episode {int(np.argmin(values))} has no rows; leave it out there.")
    whole = values.dtype.kind in "iu" and len(starts) > 0
    if not whole or starts[0] != 0 or starts[-1] >= rows or np.any(np.diff(starts.astype(np.int64)) <= 0):
        raise WarmloopError(f"{origin}: `{name}` must rise from 0 and stay below the {rows} rows.")
    return starts.astype(np.int64)
