"""What every reader hands over, a file's rows end to end, and the one place where they are checked and cut into episodes."""

from __future__ import annotations

import dataclasses

import numpy as np

from ..episode import Episode, make_steps
from ..errors import WarmloopError
from ..transition import PyTree, Source, storage_dtype
from .files import did_you_mean

Columns = dict[str, np.ndarray]

# Columns with one number per row, and the dtype they are stored as.
SCALARS = {
    "rewards": np.float32,
    "masks": np.float32,
    "dones": bool,
    "terminals": bool,
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
ACTION_TOLERANCE = 1e-3
ROWS_PER_CHUNK = 8192  # bounds the temporaries of whole-file comparisons over images


@dataclasses.dataclass(frozen=True)
class Recording:
    """The rows of one file, N of them in E episodes.

    Attributes:
        origin: the file, as errors and episodes name it.
        columns: by name, `[N, ...]`: `observations` (or `observations/NAME` for a dict's leaves), likewise `next_observations`,
            `actions`, `rewards`, `terminals`; optionally `success`, `RECORDED_FIELDS` and `extras/NAME`. As `tidy` leaves them.
        starts: `[E]` int64, the first row of each episode.
        success_known: `[E]` bool, episodes for which `success` says anything; None for all.
        numbers: `[E]` the episodes' own numbers; None for their positions.
        sources: `[E]` the episodes' own kinds; None where the file has none.
        tasks: `[E]` the names of their tasks; None where the file has none.
    """

    origin: str
    columns: Columns
    starts: np.ndarray
    success_known: np.ndarray | None = None
    numbers: np.ndarray | None = None
    sources: np.ndarray | None = None
    tasks: np.ndarray | None = None


def tidy(origin: str, columns: Columns) -> Columns:
    """The columns under their storage dtypes, one row per transition each.

    Raises:
        WarmloopError: a column is missing, is not numeric, has another number of rows, or has the wrong shape.
    """
    tidied = {name: _cast(origin, name, column) for name, column in columns.items()}
    for name in ("actions", "rewards"):
        if name not in tidied:
            raise WarmloopError(f"{origin}: `{name}` is not one array; one row per transition is needed.")
    rows = len(tidied["actions"])
    current = {name.removeprefix("next_") for name in tidied if name.startswith("next_")}
    if current and current != (present := {name for name in tidied if name.split("/")[0] == "observations"}):
        listed = ", ".join(f"`{name}`" for name in sorted(current ^ present))
        raise WarmloopError(f"{origin}: {listed} must be both in the observations and in the next observations.")
    for name, column in tidied.items():
        if len(column) != rows:
            raise WarmloopError(
                f"{origin}: `{name}` has {len(column)} rows and `actions` has {rows}; every array needs one row per transition."
            )
        before = name.removeprefix("next_")
        if column.shape != tidied[before].shape:
            raise WarmloopError(f"{origin}: `{name}` has shape {column.shape} and `{before}` has {tidied[before].shape}.")
    if rows == 0:
        raise WarmloopError(f"{origin} holds no transitions.")
    if tidied["actions"].ndim != 2:
        raise WarmloopError(f"{origin}: `actions` has shape {tidied['actions'].shape}; [transitions, action dimensions] is needed.")
    return tidied


def to_episodes(recording: Recording, source: Source | None, number_from: int) -> list[Episode]:
    """The recording's episodes, of kind `source` (None: as the file says, else demos), numbered from `number_from`.

    Raises:
        WarmloopError: a value is not finite, or actions lie outside [-1, 1] by more than 1e-3 (within that they are clipped).
    """
    columns, starts = recording.columns, recording.starts
    numbers = np.arange(len(starts)) if recording.numbers is None else recording.numbers
    _check_finite(recording, numbers)
    columns = columns | {"actions": _within_range(recording.origin, columns["actions"])}
    ends = np.append(starts[1:], len(columns["rewards"]))
    return [
        _episode(recording, columns, index, slice(int(start), int(end)), source, int(numbers[index]) + number_from)
        for index, (start, end) in enumerate(zip(starts, ends, strict=True))
    ]


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


def require_keys(origin: str, what: str, keys: list[str], needed: list[str]) -> None:
    """Raises WarmloopError naming the first of `needed` that is absent, and the key that may have been meant."""
    for name in needed:
        if name not in keys and not any(key.startswith(f"{name}/") for key in keys):
            listed = ", ".join(f"`{key}`" for key in sorted(keys)[:12]) or "none"
            raise WarmloopError(f"{origin}: {what} has no `{name}`; its keys are {listed}{did_you_mean(name, keys)}")


def breaks(columns: Columns) -> np.ndarray:
    """`[N]` bool, rows whose next observation is not the next row's observation: the recording was cut there. Never the last row."""
    rows = len(columns["actions"])
    broken = np.zeros(rows, bool)
    for name in [name for name in columns if name.split("/")[0] == "observations"]:
        current, following = columns[name], columns[f"next_{name}"]
        for low in range(0, rows - 1, ROWS_PER_CHUNK):
            high = min(low + ROWS_PER_CHUNK, rows - 1)
            here, there = following[low:high], current[low + 1 : high + 1]
            differs = here != there
            if here.dtype.kind == "f" and differs.any():
                differs &= np.isfinite(here) & np.isfinite(there)  # those are refused, in the episode that they are in
            broken[low:high] |= differs.reshape(high - low, -1).any(axis=1)
    return broken


def starts_after(ends: np.ndarray) -> np.ndarray:
    """`[E]` int64, first rows of the episodes whose last rows are marked in `ends` `[N]`; the last row always is one."""
    return np.concatenate([np.zeros(1, np.int64), np.flatnonzero(ends[:-1]) + 1])


def _cast(origin: str, name: str, column: np.ndarray) -> np.ndarray:
    if column.dtype.kind not in "biuf":
        raise WarmloopError(f"{origin}: `{name}` holds {column.dtype} values; numbers are needed.")
    if column.ndim == 0:
        raise WarmloopError(f"{origin}: `{name}` is a single number; one row per transition is needed.")
    if name in SCALARS:
        if column.ndim == 2 and column.shape[1] == 1:
            column = column[:, 0]
        if column.ndim != 1:
            raise WarmloopError(f"{origin}: `{name}` has shape {column.shape}; one number per transition is needed.")
    dtype = SCALARS.get(name) or (np.float32 if name == "actions" else storage_dtype(column.dtype))
    with np.errstate(over="ignore"):  # what overflows float32 is reported as not finite, with its place
        return column.astype(dtype, copy=False)


def _check_finite(recording: Recording, numbers: np.ndarray) -> None:
    for name, column in recording.columns.items():
        if column.dtype.kind != "f" or name == "mc_return":  # -inf there means not known
            continue
        for low in range(0, len(column), ROWS_PER_CHUNK):
            finite = np.isfinite(column[low : low + ROWS_PER_CHUNK])
            if finite.all():
                continue
            row = low + int(np.argmin(finite.reshape(len(finite), -1).all(axis=1)))
            index = int(np.searchsorted(recording.starts, row, side="right")) - 1
            cell = np.ravel(column[row])
            raise WarmloopError(
                f"{recording.origin}, episode {numbers[index]}, step {row - recording.starts[index]}: `{name}` holds "
                f"{cell[~np.isfinite(cell)][0]}; repair the value or remove the episode."
            )


def _within_range(origin: str, actions: np.ndarray) -> np.ndarray:
    low, high = float(actions.min(initial=0.0)), float(actions.max(initial=0.0))
    if low < -1 - ACTION_TOLERANCE or high > 1 + ACTION_TOLERANCE:
        raise WarmloopError(f"{origin}: `actions` run from {low:.4g} to {high:.4g}; rescale them to [-1, 1].")
    return np.clip(actions, -1, 1) if low < -1 or high > 1 else actions


def _episode(recording: Recording, columns: Columns, index: int, rows: slice, source: Source | None, number: int) -> Episode:
    def part(name: str) -> PyTree:
        whole = tree(columns, name)
        return {key: leaf[rows] for key, leaf in whole.items()} if isinstance(whole, dict) else whole[rows]

    recorded = {name: columns[name][rows] for name in RECORDED_FIELDS if name in columns}
    kind = source
    if kind is None:
        kind = Source.DEMOS if recording.sources is None else Source(int(recording.sources[index]))
    else:
        recorded.pop("source", None)
    steps = make_steps(
        part("observations"),
        columns["actions"][rows],
        columns["rewards"][rows],
        part("next_observations"),
        columns["terminals"][rows],
        source=kind,
        episode=number,
    ).replace(**recorded)
    known = recording.success_known is None or bool(recording.success_known[index])
    success = columns["success"][rows] if "success" in columns and known else None
    extras = {name.removeprefix("extras/"): column[rows] for name, column in columns.items() if name.startswith("extras/")}
    task = "" if recording.tasks is None else str(recording.tasks[index])
    return Episode(steps, success, recording.origin, number, kind, task, extras)
