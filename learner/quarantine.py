"""Rows that must not be learnt from: found, and kept in files with the reason."""

from __future__ import annotations

import logging
import os
import pathlib

import numpy as np

from ..data.transition import Array, Transition, length, take
from ..data.wire.schema import flatten

MAY_BE_UNKNOWN = "mc_return"  # -inf where the return is not yet known
MAX_FILES = 1000  # after these, bad rows are still counted but no longer kept
ACTION_SLACK = 1e-6  # float rounding of a tanh or a rescale at the bounds

log = logging.getLogger(__name__)


def faults(rows: Transition) -> Array:
    """Reasons `[n]` (str) why a row cannot be learnt from; "" for a good one."""
    count = length(rows)
    reasons = np.full(count, "", "<U120")
    for name, leaf in flatten(rows).items():
        if leaf.dtype.kind != "f":
            continue
        sound = np.isfinite(leaf) | (leaf == -np.inf) if name == MAY_BE_UNKNOWN else np.isfinite(leaf)
        if not sound.all():
            reasons[~sound.reshape(count, -1).all(axis=1)] = f"{name} is not finite"
    beyond = np.abs(rows.action) > 1 + ACTION_SLACK
    if beyond.any():
        reasons[beyond.any(axis=1) & (reasons == "")] = "action is outside [-1, 1]"
    return reasons


class Quarantine:
    """A directory of `STREAM-NUMBER.npz` files: the rows' leaves, and `number` and `reason` of each row."""

    def __init__(self, directory: str | os.PathLike[str] | None):
        self.directory = None if directory is None else pathlib.Path(directory)

    def keep_again(self, stream_id: str, numbers: Array, rows: Transition, reasons: Array) -> None:
        """As `keep`, for rows that an earlier learner found: only where it did not come to write them."""
        if self.directory is not None and not self._path(stream_id, numbers[reasons != ""]).exists():
            self.keep(stream_id, numbers, rows, reasons)

    def keep(self, stream_id: str, numbers: Array, rows: Transition, reasons: Array) -> None:
        """Writes bad rows and says so; a file that cannot be written is reported and does not stop the stream."""
        bad = take(rows, reasons != "")
        numbers, reasons = numbers[reasons != ""], reasons[reasons != ""]
        log.warning("%d rows of stream %s quarantined from number %d: %s", len(numbers), stream_id, numbers[0], reasons[0])
        if self.directory is None:
            return
        path = self._path(stream_id, numbers)
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            if len(os.listdir(self.directory)) >= MAX_FILES:
                return
            partial = path.with_suffix(".partial")
            with open(partial, "wb") as file:
                np.savez(file, allow_pickle=False, number=numbers, reason=reasons, **flatten(bad))
            os.replace(partial, path)
        except OSError as error:
            log.error("The quarantined rows could not be written to %s (%s); they are counted all the same.", path, error)

    def _path(self, stream_id: str, numbers: Array) -> pathlib.Path:
        assert self.directory is not None
        return self.directory / f"{stream_id}-{numbers[0]}.npz"
