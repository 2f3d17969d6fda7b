"""What every reader hands over, rows of whole episodes end to end, and the one place where they are checked and cut into episodes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from ...episode import Episode, make_steps
from ...errors import WarmloopError
from ...settings.near_names import did_you_mean
from ...transition import PyTree, Source, Transition, storage_dtype, take
from .flags import check_flags
from .rounding import tell_of_rounding

Columns = dict[str, np.ndarray]


class Stored(Protocol):
    """An array `[N, ...]` that may still lie in its file; a slice of rows is read when it is asked for."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype: ...

    def __getitem__(self, rows: slice, /) -> np.ndarray: ...


Table = Mapping[str, Stored]

# Columns with one number per row, and the dtype they are stored as.
SCALARS = {
    "rewards": np.float32,
    "masks": np.float32,
    "dones": bool,
    "terminals": bool,
    "terminations": bool,
    "timeouts": bool,
    "success": bool,
    "intervened": bool,
    "truncated": bool,
    "mc_return": np.float32,
    "quality": np.float32,
    "source": np.int32,
    "policy_version": np.int32,
    "step": np.int32,
}
# Fields of a Transition that a file may record itself, beyond what `make_steps` fills in.
RECORDED_FIELDS = ("truncated", "mc_return", "quality", "source", "intervened", "policy_version", "step")
PER_EPISODE = ("success_known", "numbers", "sources", "tasks", "wholes")  # of a Recording, `[E]` each
ROWS_PER_CHUNK = 8192  # bounds the temporaries of whole-file comparisons over images


@dataclasses.dataclass(frozen=True)
class Recording:
    """Rows of one file, N of them in E whole episodes: all that it holds, or a piece of it.

    Attributes:
        origin: the file, as errors and episodes name it.
        columns: by name, `[N, ...]`: `observations` (or `observations/NAME` for a dict's leaves), likewise `next_observations`,
            `actions`, `rewards`, `terminals`; optionally `success`, `timeouts`, `RECORDED_FIELDS` and, of any dtype, `extras/NAME`.
            As `tidy` leaves them.
        starts: `[E]` int64, the first row of each episode.
        success_known: `[E]` bool, episodes for which `success` says anything; None for all.
        success_by: the rule by which `success` was told where the file has no flag (`data/outcome.py`); "" for the file's flag.
        numbers: `[E]` the episodes' own numbers; None for their positions in the file.
        sources: `[E]` the episodes' own kinds; None where the file has none.
        tasks: `[E]` text, the episodes' tasks; None where the file has none.
        wholes: `[E]` objects, of each piece of an episode the Whole that it was cut out of, else None; None where there are no pieces.
        raw: actions are in the environment's units, to be scaled to [-1, 1] later; their range is not checked.
        unread: names of the file's arrays that are not read.
        optional: leaves of observations, choices as numbers, that are left out unless they are asked for by name.
    """

    origin: str
    columns: Columns
    starts: np.ndarray
    success_known: np.ndarray | None = None
    numbers: np.ndarray | None = None
    sources: np.ndarray | None = None
    tasks: np.ndarray | None = None
    wholes: np.ndarray | None = None
    raw: bool = False
    unread: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    success_by: str = ""

    def __len__(self) -> int:
        return len(self.starts)


def tidy(origin: str, columns: Columns) -> Columns:
    """The columns under their storage dtypes, one row per transition each. Raises as `check`."""
    check(origin, columns)
    for name, column in columns.items():
        tell_of_rounding(origin, name, column)
    return {name: cast(name, column) for name, column in columns.items()}


def check(origin: str, table: Table) -> None:
    """Raises WarmloopError where a column is missing, is not numeric, has another number of rows, or has the wrong shape, and where a flag
    is neither 0 nor 1."""
    for name, column in table.items():
        _check_column(origin, name, column)
    for name in ("actions", "rewards"):
        if name not in table:
            raise WarmloopError(f"{origin}: `{name}` is not one array; one row per transition is needed.")
    rows = table["actions"].shape[0]
    current = {name.removeprefix("next_") for name in table if name.startswith("next_")}
    if current and current != (present := {name for name in table if name.split("/")[0] == "observations"}):
        listed = ", ".join(f"`{name}`" for name in sorted(current ^ present))
        raise WarmloopError(f"{origin}: {listed} must be both in the observations and in the next observations.")
    for name, column in table.items():
        if column.shape[0] != rows:
            raise WarmloopError(
                f"{origin}: `{name}` has {column.shape[0]} rows and `actions` has {rows}; every array needs one row per transition."
            )
        before = name.removeprefix("next_")
        if column.shape != table[before].shape:
            raise WarmloopError(f"{origin}: `{name}` has shape {column.shape} and `{before}` has {table[before].shape}.")
    if rows == 0:
        raise WarmloopError(f"{origin} holds no transitions.")
    _check_continuous(origin, table["actions"])
    if len(table["actions"].shape) != 2:
        raise WarmloopError(f"{origin}: `actions` has shape {table['actions'].shape}; [transitions, action dimensions] is needed.")


def _check_continuous(origin: str, actions: Stored) -> None:
    """Refuses a single whole number per row that counts from 0: which of some actions it was."""
    if actions.shape[1:] in ((), (1,)) and actions.dtype.kind in "biu":
        values = np.asarray(actions[0 : actions.shape[0]]).astype(np.int64)
        if values.min() >= 0:
            raise WarmloopError(
                f"{origin}: `actions` are {actions.dtype} from {values.min()} to {values.max()}: discrete actions, which no agent here "
                "takes; if they are numbers of one dimension, save them as floats, [transitions, 1]."
            )


def cast(name: str, column: np.ndarray) -> np.ndarray:
    """A checked column's rows under its storage dtype; one number per row as `[N]`."""
    if name.startswith("extras/"):
        return column
    if name in SCALARS and column.ndim == 2:
        column = column[:, 0]
    dtype = SCALARS.get(name) or (np.float32 if name == "actions" else storage_dtype(column.dtype, column.shape[1:]))
    with np.errstate(over="ignore"):  # what overflows float32 is reported as not finite, with its place
        return column.astype(dtype, copy=False)


def cut(recording: Recording, source: Source | None, number_from: int = 0) -> Iterator[Episode]:
    """The recording's episodes, as `to_episodes`, with nothing checked; their arrays are views of its columns."""
    columns, starts = recording.columns, recording.starts
    ends = np.append(starts[1:], len(columns["rewards"]))
    numbers = number_from + np.array([number_of(recording, index) for index in range(len(starts))], np.int32)
    given = Source.DEMOS if source is None else source
    kinds = np.full(len(starts), given) if source is not None or recording.sources is None else recording.sources
    steps, extras = _steps(recording, numbers, kinds, source is not None), tree(columns, "extras")
    for index, (start, end) in enumerate(zip(starts, ends, strict=True)):
        rows = slice(int(start), int(end))
        known = recording.success_known is None or bool(recording.success_known[index])
        yield Episode(
            take(steps, rows),
            columns["success"][rows] if "success" in columns and known else None,
            recording.origin,
            int(numbers[index]),
            Source(int(kinds[index])),
            "" if recording.tasks is None else str(recording.tasks[index]),
            {name: values[rows] for name, values in extras.items()},
            None if recording.wholes is None else recording.wholes[index],
        )


def without_optional(recording: Recording) -> Recording:
    """The recording without the leaves that nobody asked for, which count as not read."""
    if not recording.optional:
        return recording
    left = {f"{side}/{leaf}" for side in ("observations", "next_observations") for leaf in recording.optional}
    columns = {name: column for name, column in recording.columns.items() if name not in left}
    return dataclasses.replace(recording, columns=columns, unread=(*recording.unread, *recording.optional), optional=())


def each_episode(recording: Recording) -> Iterator[Recording]:
    """The recording's episodes, as one recording each."""
    ends = np.append(recording.starts[1:], len(recording.columns["rewards"]))
    for index, (start, end) in enumerate(zip(recording.starts, ends, strict=True)):
        own = {name: getattr(recording, name) for name in PER_EPISODE}
        of_one = {name: None if values is None else values[index : index + 1] for name, values in own.items()}
        columns = {name: column[start:end] for name, column in recording.columns.items()}
        yield dataclasses.replace(recording, columns=columns, starts=np.zeros(1, np.int64), **of_one)


def number_of(recording: Recording, index: int) -> int:
    """The number of its episode `index`."""
    return index if recording.numbers is None else int(recording.numbers[index])


def tree(columns: Columns, name: str) -> PyTree:
    """The array `name`, or the dict of the arrays `name/...`."""
    if name in columns:
        return columns[name]
    return {key.removeprefix(f"{name}/"): column for key, column in columns.items() if key.startswith(f"{name}/")}


def named(name: str, observation: PyTree) -> Columns:
    """The columns of an observation; the inverse of `tree`."""
    if isinstance(observation, dict):
        return {f"{name}/{key}": leaf for key, leaf in observation.items()}
    return {name: observation}


def level_extras(episodes: Sequence[Episode]) -> list[Episode]:
    """The episodes with extras of the same names and dtypes; NaN throughout an episode that has none of a name."""
    names = {name: values for episode in episodes for name, values in episode.extras.items()}

    def levelled(episode: Episode, name: str) -> np.ndarray:
        values = episode.extras.get(name)
        values = np.full((len(episode), *names[name].shape[1:]), np.nan) if values is None else values
        return values.astype(dtypes[name], copy=False)

    dtypes = {name: np.result_type(*(e.extras.get(name, np.zeros(0, np.float64)).dtype for e in episodes)) for name in names}
    return [dataclasses.replace(episode, extras={name: levelled(episode, name) for name in names}) for episode in episodes]


def distinct(origin: str, pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """What pairs of a name and a value hold. Raises WarmloopError where two have one name, as `a.b` and `b` in a group `a` have."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise WarmloopError(f"{origin}: two arrays would be named `{name}`; rename one of them, or take it out.")
        found[name] = value
    return found


def require_keys(origin: str, what: str, keys: list[str], needed: list[str]) -> None:
    """Raises WarmloopError naming the first of `needed` that is absent, and the key, itself not needed, that may have been meant."""
    for name in needed:
        if name not in keys and not any(key.startswith(f"{name}/") for key in keys):
            other = [key for key in keys if key not in needed]
            listed = ", ".join(f"`{key}`" for key in sorted(keys)[:12]) or "none"
            raise WarmloopError(f"{origin}: {what} has no `{name}`; its keys are {listed}{did_you_mean(name, other, one=True)}")


def breaks(table: Table) -> np.ndarray:
    """`[N]` bool, rows whose next observation is not the next row's observation: the recording was cut there. Never the last row."""
    rows = table["actions"].shape[0]
    broken = np.zeros(rows, bool)
    for name in [name for name in table if name.split("/")[0] == "observations"]:
        before = None  # the next observation of the row before
        for low in range(0, rows, ROWS_PER_CHUNK):
            chunk = slice(low, min(low + ROWS_PER_CHUNK, rows))
            current, following = table[name][chunk], table[f"next_{name}"][chunk]
            if before is not None:
                broken[low - 1] |= bool(_differ(before, current[0]).any())
            differs = _differ(following[:-1], current[1:])
            broken[low : chunk.stop - 1] |= differs.any(axis=tuple(range(1, differs.ndim)))
            before = following[-1]
    return broken


def _differ(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Where two arrays differ; what is not finite is refused later, and by the episode that it is in, so it cuts none."""
    differs = np.asarray(left != right)
    if left.dtype.kind == "f" and differs.any():
        differs &= np.isfinite(left) & np.isfinite(right)
    return differs


def starts_after(ends: np.ndarray) -> np.ndarray:
    """`[E]` int64, first rows of the episodes whose last rows are marked in `ends` `[N]`; the last row always is one."""
    return np.concatenate([np.zeros(1, np.int64), np.flatnonzero(ends[:-1]) + 1])


def _check_column(origin: str, name: str, column: Stored) -> None:
    if column.dtype.kind not in "biuf":
        raise WarmloopError(f"{origin}: `{name}` holds {column.dtype} values; numbers are needed.")
    if not column.shape:
        raise WarmloopError(f"{origin}: `{name}` is a single number; one row per transition is needed.")
    if name in SCALARS and column.shape[1:] not in ((), (1,)):
        raise WarmloopError(f"{origin}: `{name}` has shape {column.shape}; one number per transition is needed.")
    if column.dtype.kind != "b" and SCALARS.get(name) is bool:
        check_flags(origin, name, column[0 : column.shape[0]])
    if name == "masks":
        masks = np.asarray(column[0 : column.shape[0]])
        if not ((masks >= 0) & (masks <= 1)).all():
            raise WarmloopError(
                f"{origin}: `masks` runs from {masks.min():g} to {masks.max():g}; 0 where the task was over and 1 else is needed."
            )


def _steps(recording: Recording, numbers: np.ndarray, kinds: np.ndarray, kind_is_given: bool) -> Transition:
    """All rows as a Transition: those of each episode as `make_steps` makes them, and as the file recorded them."""
    columns, starts = recording.columns, recording.starts
    rows = len(columns["rewards"])
    lengths = np.diff(starts, append=rows)
    last = np.zeros(rows, bool)
    last[starts + lengths - 1] = True
    recorded = {name: columns[name] for name in RECORDED_FIELDS if name in columns and not (name == "source" and kind_is_given)}
    made = {
        "truncated": last & ~columns["terminals"],
        "source": np.repeat(kinds, lengths).astype(np.int32),
        "episode": np.repeat(numbers, lengths),
        "step": (np.arange(rows) - np.repeat(starts, lengths)).astype(np.int32),
    }
    observed = tree(columns, "observations"), tree(columns, "next_observations")
    steps = make_steps(observed[0], columns["actions"], columns["rewards"], observed[1], columns["terminals"])
    return steps.replace(**made | recorded)
