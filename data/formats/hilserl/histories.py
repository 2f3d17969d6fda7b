"""HIL-SERL's axis of past steps in observations: how it is taken off what is read, and put back into what is written.

HIL-SERL's `ChunkingWrapper` puts an axis of k steps, the oldest first, before the others of each observation, and so do its tasks, with
k = 1. Its buffers need the axis of pictures: they take `picture[0]`, which of a picture `[H, W, C]` is its first row of pixels, and NumPy
repeats that over the whole picture without a word. Where its environment has no such axis, NumPy drops one of a single step.

| | read as | written as |
|---|---|---|
| numbers `[1, D]` | `[D]` | `[1, D]` |
| numbers `[k, D]` | `[k * D]`, and k is kept in the extras | `[k, D]` |
| a picture `[1, H, W, C]` | `[H, W, C]` | `[1, H, W, C]` |
| pictures `[k, H, W, C]`, and all else | as they are | as they are |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ...episode import Episode
from ...errors import WarmloopError
from ..recordings.recording import Columns

EXTRA = "history_steps"  # of each step: k of the observation's numbers, where above 1; with `.NAME` of a dict's leaf


def taken_off(raw: Columns) -> Columns:
    """A file's columns without the axis of past steps, and with `extras/history_steps` of those numbers that had several."""
    columns: Columns = {}
    for name, column in raw.items():
        tree, _, leaf = name.partition("/")
        if tree not in ("observations", "next_observations"):
            columns[name] = column
        elif column.dtype == np.uint8:
            columns[name] = column[:, 0] if column.ndim == 5 and column.shape[1] == 1 else column
        else:
            columns[name] = column.reshape(len(column), -1) if column.ndim == 3 else column
            if column.ndim == 3 and column.shape[1] > 1 and tree == "observations":
                columns[f"extras/{extra_of(leaf)}"] = np.full(len(column), column.shape[1], np.int32)
    return columns


def extra_of(leaf: str) -> str:
    """The name of the extra that holds k of an observation's leaf, "" for a bare array."""
    return f"{EXTRA}.{leaf}" if leaf else EXTRA


def steps_of(origin: str, episodes: Sequence[Episode]) -> dict[str, int]:
    """By leaf, "" for a bare array, how many past steps its written axis has; leaves that are written as they are are absent.

    Raises:
        WarmloopError: episodes were recorded with different numbers of them, which one file of HIL-SERL cannot hold.
    """
    observation = episodes[0].steps.observation
    leaves = observation if isinstance(observation, Mapping) else {"": observation}
    found: dict[str, int] = {}
    for name, column in leaves.items():
        if column.ndim == (4 if column.dtype == np.uint8 else 2):
            found[name] = 1 if column.dtype == np.uint8 else _recorded(origin, episodes, name, column.shape[1])
    return found


def _recorded(origin: str, episodes: Sequence[Episode], leaf: str, size: int) -> int:
    """k of a leaf of numbers, by the extras of the episodes that know it; 1 where none does, or where a mapping has changed its size."""
    extra = extra_of(leaf)
    said = np.concatenate([np.ravel(episode.extras[extra]).astype(float) for episode in episodes if extra in episode.extras] or [[]])
    counts = np.unique(said[np.isfinite(said)]).astype(int)
    if len(counts) > 1:
        raise WarmloopError(
            f'{origin}: the observation "{leaf or "array"}" has a history of {counts[0]} steps in some episodes and of {counts[1]} in '
            "others, and a file of HIL-SERL has one; write them to two files, or to .npz."
        )
    return int(counts[0]) if len(counts) and counts[0] > 0 and size % counts[0] == 0 else 1


def put_back(row: np.ndarray, steps: int | None) -> np.ndarray:
    """One row of a leaf with its axis of `steps` past steps; as it is where that is None."""
    if steps is None:
        return row
    return row[None] if row.dtype == np.uint8 else row.reshape(steps, -1)


def without_written_axis(columns: Columns, steps: Mapping[str, int]) -> Columns:
    """The columns of a file of ours whose leaves in `steps` were written by `put_back`."""
    found = dict(columns)
    for leaf in steps:
        for tree in ("observations", "next_observations"):
            name = f"{tree}/{leaf}" if leaf else tree
            if name in found:
                column = found[name]
                found[name] = column[:, 0] if column.dtype == np.uint8 else column.reshape(len(column), -1)
    return found
