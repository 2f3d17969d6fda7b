"""Rows end to end: where their episodes begin, what follows the last row of each, and how a file is read in pieces of bounded size."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import logging
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...episode import Whole
from ...errors import WarmloopError
from ...plausible import ABSURD
from ...transition import storage_dtype
from .budget import require, size_of
from .flags import check_flags
from .options import PLAIN, ReadOptions
from .recording import PER_EPISODE, SCALARS, Columns, Recording, Table, cast, tidy
from .rounding import tell_of_rounding

# A piece is the fewest whole episodes that fill so much: few enough for any machine, large enough that pieces cost nothing.
PIECE_BYTES = 32 << 20
log = logging.getLogger("warmloop")
VOTERS = 9  # episodes, of which most say what all are like

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
        whole: of a piece, the episode that it was cut out of.
        unread: names of what is not read of it.
        optional: as a Recording's.
    """

    name: str
    number: int
    columns: Columns
    task: str = ""
    source: int | None = None
    whole: Whole | None = None
    unread: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()


Attempt = tuple[str, Callable[[], Part | None]]


def pieces(origin: str, table: Table, starts: np.ndarray, unread: tuple[str, ...] = (), **own: Any) -> Iterator[Recording]:
    """A table's rows, read from first to last in pieces of whole episodes, each `complete`.

    Args:
        table: of a layout that `check` let pass.
        starts: `[E]` first row of each episode.
        unread: names of the file's arrays that are not read.
        own: what a Recording has per episode, `[E]` each.

    Raises:
        WarmloopError: an episode takes more memory than its file may.
    """
    ends = np.append(starts[1:], table["actions"].shape[0])
    row_bytes, size = sum(column.dtype.itemsize * math.prod(column.shape[1:]) for column in table.values()), size_of(origin)
    for some in _groups(ends - starts, row_bytes):
        first, last = int(starts[some.start]), int(ends[some.stop - 1])
        longest = some.start + int(np.argmax(ends[some] - starts[some]))
        require(f"{origin}, episode {longest}", "it", int(ends[longest] - starts[longest]) * row_bytes, size)
        stored = {name: column[first:last] for name, column in table.items()}
        for name, column in stored.items():
            tell_of_rounding(origin, name, column)
        columns = {name: cast(name, column) for name, column in stored.items()}
        of_these: dict[str, Any] = {field: None if values is None else values[some] for field, values in own.items()}
        yield complete(_action_before(Recording(origin, columns, starts[some] - first, unread=unread, **of_these)))


def has_next(table: Table) -> bool:
    """Whether next observations are recorded."""
    return any(name.startswith("next_") for name in table)


def complete(recording: Recording) -> Recording:
    """The recording with `terminals` and next observations.

    Where none are recorded they are the following row's observations. An episode's last row has none: it is dropped, unless it is
    terminal, where the target does not use it and the observation itself stands in. What a row that is dropped was paid, and whether it
    succeeded, stays known of its episode. An episode of which nothing is left vanishes.
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
    lost = int((np.add.reduceat(kept, starts) == 0).sum())
    if lost and lost < len(starts):
        _tell_of_lost(recording.origin, lost)
    whole = dataclasses.replace(
        recording, columns={name: column[kept] for name, column in columns.items()}, wholes=_wholes(recording, columns, ~kept[last])
    )
    return _of_lengths(whole, np.add.reduceat(kept, starts, dtype=np.int64))


def _wholes(recording: Recording, columns: Columns, dropped: np.ndarray) -> np.ndarray:
    """`[E]` what each episode was before its last row was `dropped`; None of the others, and where a reward is not finite, or absurd."""
    reward, mask, starts = columns["rewards"], 1.0 - columns["terminals"].astype(np.float32), recording.starts
    known = np.full(len(starts), "success" in columns) if recording.success_known is None else recording.success_known
    found: list[Whole | None] = []
    for index, (low, high) in enumerate(zip(starts, np.append(starts[1:], len(reward)), strict=True)):
        rows = slice(low, high)
        success = columns["success"][rows] if known[index] and "success" in columns else None
        whole = Whole(reward[rows], mask[rows], success, 0) if dropped[index] and (np.abs(reward[rows]) <= ABSURD).all() else None
        found.append(whole)
    return objects(found)


def _action_before(recording: Recording) -> Recording:
    """The recording with each action beside the observation that it was taken on. Where every episode begins with an action and a reward of
    NaN, a row holds those that led to its observation (TD-MPC2): the row before has the observation that they were taken on."""
    columns, starts = recording.columns, recording.starts
    if has_next(columns) or not all(np.isnan(columns[name][starts]).all() for name in ("rewards", "actions")):
        return recording
    kept = np.ones(len(columns["actions"]), bool)
    kept[starts] = False
    before = np.flatnonzero(kept) - 1
    moved = {f"next_{name}": column[kept] for name, column in columns.items() if name.split("/")[0] == "observations"}
    moved |= {name: column[before] if f"next_{name}" in moved else column[kept] for name, column in columns.items()}
    lengths = np.diff(starts, append=len(kept)) - 1
    return _of_lengths(dataclasses.replace(recording, columns=moved), lengths)


def _of_lengths(recording: Recording, lengths: np.ndarray) -> Recording:
    """The recording, whose columns have `lengths` `[E]` rows of each episode left, without those that have none."""
    alive = lengths > 0
    lengths = lengths[alive]
    own = {field: getattr(recording, field) for field in PER_EPISODE}
    kept = {field: None if values is None else values[alive] for field, values in own.items()}
    return dataclasses.replace(recording, starts=np.cumsum(lengths) - lengths, **kept)


def join(origin: str, attempts: Iterable[Attempt], options: ReadOptions = PLAIN) -> Iterator[Recording]:
    """Episodes that are stored one by one, in pieces, each `complete`.

    Args:
        attempts: each episode's name, and what reads it; None for one without steps.
        options: whether bad ones are left out.

    Raises:
        WarmloopError: there are none, or one is empty, contradicts itself or differs from the others; it is named.
    """
    gathered, size = [], 0
    for part in _sound(origin, iter(attempts), options):
        gathered.append(part)
        size += sum(column.nbytes for column in part.columns.values())
        if size >= PIECE_BYTES:
            yield _joined(origin, gathered)
            gathered, size = [], 0
    if gathered:
        yield _joined(origin, gathered)


def _sound(origin: str, attempts: Iterator[Attempt], options: ReadOptions) -> Iterator[Part]:
    """The episodes that could be read and are like most of the first few (like the first, where a bad one refuses the file)."""
    bad: list[WarmloopError] = []
    found = _read(origin, attempts, options, bad)
    head = list(itertools.islice(found, 1 if options.on_bad is None else VOTERS))
    if not head:
        raise WarmloopError(f"{origin}: all of its episodes are bad; of the first: {bad[0]}" if bad else f"{origin} holds no episodes.")
    usual = Counter(map(_signature, head)).most_common(1)[0][0]
    like = next(part for part in head if _signature(part) == usual)
    for part in itertools.chain(head, found):
        try:
            _check(f"{origin}, {part.name}", part.columns, like)
        except WarmloopError as error:
            options.leave_out(origin, part.name, error)
        else:
            yield part


def _read(origin: str, attempts: Iterable[Attempt], options: ReadOptions, bad: list[WarmloopError]) -> Iterator[Part]:
    lost = 0
    for name, make in attempts:
        try:
            part = make()
        except WarmloopError as error:
            options.leave_out(origin, name, error)
            bad.append(error)
        else:
            if part is not None:
                yield part
            lost += part is None
    if lost:
        _tell_of_lost(origin, lost)


def _signature(part: Part) -> tuple[Any, ...]:
    columns = [(name, np.shape(column)[1:], column.dtype.str) for name, column in part.columns.items() if name != "success"]
    return tuple(sorted(columns))


def strangers(folder: str, files: Sequence[Path]) -> tuple[str, ...]:
    """The names of what else is in a folder than the files that are read of it; hidden ones aside, and none of a file."""
    if not Path(folder).is_dir():
        return ()
    return tuple(sorted(entry.name for entry in Path(folder).iterdir() if entry not in files and not entry.name.startswith(".")))


@functools.cache
def _tell_of_lost(origin: str, count: int) -> None:
    log.warning("%s: %d episodes hold no step of which is known what was observed after it, and are left out.", origin, count)


def channels_last(column: np.ndarray) -> np.ndarray:
    """Images `[N, C, H, W]` as `[N, H, W, C]`; anything else as it is. Channels are an image's shortest axis."""
    if column.dtype == np.uint8 and column.ndim == 4 and column.shape[1] < min(column.shape[2:]):
        return np.ascontiguousarray(np.moveaxis(column, 1, -1))
    return column


def objects(values: Sequence[Any]) -> np.ndarray:
    """`[E]` objects, whatever they are."""
    array = np.empty(len(values), object)
    array[:] = values
    return array


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
    own["wholes"] = objects([part.whole for part in parts]) if any(part.whole for part in parts) else None
    own["sources"] = None if parts[0].source is None else np.array([part.source for part in parts])
    starts = np.cumsum(lengths) - lengths
    own["optional"] = parts[0].optional
    own["unread"] = tuple(dict.fromkeys(name for part in parts for name in part.unread))
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
        if SCALARS.get(name) is bool:
            check_flags(place, name, column)
        if len(np.atleast_1d(column)) != rows or column.ndim == 0:
            found = len(column) if column.ndim else "no"
            raise WarmloopError(f"{place}: `{name}` has {found} rows and `actions` has {rows}; every array needs one row per transition.")
        like = first.columns.get(name, column)
        shape = column.shape[1:]
        if shape != like.shape[1:] or storage_dtype(column.dtype, shape) != storage_dtype(like.dtype, shape):
            raise WarmloopError(
                f"{place}: a row of `{name}` is {column.shape[1:]} {column.dtype}, and in {first.name} {like.shape[1:]} {like.dtype}."
            )
