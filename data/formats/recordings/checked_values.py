"""The one place where the values of what a reader hands over are checked."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from ...episode import Episode
from ...errors import WarmloopError
from ...plausible import ABSURD
from ...transition import Source
from .recording import ROWS_PER_CHUNK, Recording, cut, number_of

ACTION_TOLERANCE = 1e-3
SLIGHTLY = 0.25  # beyond the limits, as a share of half the range: not another unit


def to_episodes(recording: Recording, source: Source | None, number_from: int) -> list[Episode]:
    """The recording's episodes, of kind `source` (None: as the file says, else demos), their numbers raised by `number_from`.

    Raises:
        WarmloopError: a value is not finite, or actions lie outside [-1, 1] by more than 1e-3 (within that they are clipped)
            and the recording is not `raw`.
    """
    _check_finite(recording)
    if not recording.raw:
        recording = dataclasses.replace(recording, columns=recording.columns | {"actions": _within_range(recording)})
    return list(cut(recording, source, number_from))


def clip_advice(over: float) -> str:
    """How a sentence on actions that lie `over` beyond their limits, as a share of half the range, ends where clipping may do."""
    return f", or have them clipped by --config.data.clip_actions={math.ceil(over * 100 + 1e-3) / 100:g}" if over <= SLIGHTLY else ""


def _check_finite(recording: Recording) -> None:
    for name, column in recording.columns.items():
        if column.dtype.kind != "f" or name == "mc_return" or name.startswith("extras/"):  # a return of -inf is not known
            continue
        for low in range(0, len(column), ROWS_PER_CHUNK):
            usable = np.abs(column[low : low + ROWS_PER_CHUNK]) <= ABSURD  # which NaN is not
            if usable.all():
                continue
            row = low + int(np.argmin(usable.reshape(len(usable), -1).all(axis=1)))
            index = _episode_of(recording, row)
            cell = np.ravel(column[row])
            raise WarmloopError(
                f"{recording.origin}, episode {number_of(recording, index)}, step {row - recording.starts[index]}: `{name}` holds "
                f"{cell[~(np.abs(cell) <= ABSURD)][0]:g}; repair the value or remove the episode."
            )


def _within_range(recording: Recording) -> np.ndarray:
    actions = recording.columns["actions"]
    low, high = float(actions.min(initial=0.0)), float(actions.max(initial=0.0))
    if low < -1 - ACTION_TOLERANCE or high > 1 + ACTION_TOLERANCE:
        index = _episode_of(recording, int(np.argmax((np.abs(actions) > 1 + ACTION_TOLERANCE).any(axis=1))))
        raise WarmloopError(
            f"{recording.origin}, episode {number_of(recording, index)}: `actions` run from {low:.4g} to {high:.4g}; "
            f"rescale them to [-1, 1], or set --config.data.action_scaling=limits{clip_advice(max(-low, high) - 1)}."
        )
    return np.clip(actions, -1, 1) if low < -1 or high > 1 else actions


def _episode_of(recording: Recording, row: int) -> int:
    """Which of its episodes a row belongs to."""
    return int(np.searchsorted(recording.starts, row, side="right")) - 1
