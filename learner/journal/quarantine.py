"""Rows that must not be learnt from: found, and kept in files with the reason."""

from __future__ import annotations

import logging
import math
import os
import pathlib
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping

import numpy as np

from ...data.files import sealed
from ...data.plausible import UNKNOWN, PlausibleLimits, implausible
from ...data.running.seldom import Seldom
from ...data.transition import Array, Source, Transition, length, take
from ...data.wire import MIB
from ...data.wire.row_schema import flatten

MAY_BE_UNKNOWN = "mc_return"  # -inf where the return is not yet known
MAX_FILES, MAX_BYTES = 1000, 256 * MIB  # after these, bad rows are still counted but no longer kept
STREAM_SHARE = 4  # one stream's files may take a quarter of both
COUNT_SECONDS = 60.0  # after which the files of a full folder are counted anew: some may have been removed
ACTION_SLACK = 1e-6  # float rounding of a tanh or a rescale at the bounds
FEW = 16  # rows of a message that are judged one by one
KINDS = frozenset(int(source) for source in Source)
MANY, ENOUGH = 0.1, 100  # a share of all rows, and the rows after which it says something

log = logging.getLogger(__name__)


def faults(rows: Transition, limits: PlausibleLimits | None = None) -> Array:
    """Reasons `[n]` (str) why a row cannot be learnt from; "" for a good one. Without `limits`, any finite number is believed."""
    count = length(rows)
    reasons = np.full(count, "", "<U160")
    if count <= FEW and _surely_sound(rows, limits):
        return reasons
    for name, leaf in flatten(rows).items():
        if leaf.dtype.kind != "f":
            continue
        sound = np.isfinite(leaf) | (leaf == -np.inf) if name == MAY_BE_UNKNOWN else np.isfinite(leaf)
        if not sound.all():
            reasons[~sound.reshape(count, -1).all(axis=1)] = f"{name} is not finite"
    beyond = np.abs(rows.action) > 1 + ACTION_SLACK
    if beyond.any():
        reasons[beyond.any(axis=1) & (reasons == "")] = "action is outside [-1, 1]"
    for bad, reason in implausible(rows, limits) if limits is not None else ():
        reasons[bad & (reasons == "")] = reason
    return reasons


def _surely_sound(rows: Transition, limits: PlausibleLimits | None) -> bool:
    """Whether a few rows `[n]` have no fault by any rule, found with few calls of NumPy; where it is False, the rules decide."""

    def within(leaf: Array, bound: float) -> bool:  # which no NaN is
        return leaf.dtype.kind != "f" or leaf.size == 0 or float(np.abs(leaf).max()) <= min(bound, sys.float_info.max)

    rewards, returns = (math.inf, math.inf) if limits is None else (limits.reward, limits.returns)
    for observation in (rows.observation, rows.next_observation):
        for name, leaf in observation.items() if isinstance(observation, Mapping) else (("", observation),):
            if not within(leaf, math.inf if limits is None else limits.observation.get(name, UNKNOWN)):
                return False
    return (
        within(rows.action, 1.0)
        and within(rows.reward, rewards)
        and all(value == -math.inf or abs(value) <= min(returns, sys.float_info.max) for value in rows.mc_return.tolist())
        and all(value in (0.0, 1.0) for value in rows.mask.tolist())
        and all(0.0 < value <= 1.0 for value in rows.quality.tolist())
        and all(value in KINDS for value in rows.source.tolist())
        and min(rows.step.tolist()) >= 0
        and min(rows.episode.tolist()) >= 0
        and min(rows.policy_version.tolist()) >= -1
    )


class Quarantine:
    """A directory of `STREAM-NUMBER.npz` files: the rows' leaves, and `number` and `reason` of each row. It is kept small."""

    def __init__(self, directory: str | os.PathLike[str] | None):
        self.directory = None if directory is None else pathlib.Path(directory)
        self._files: Counter[str] | None = None  # by stream, and under "" all
        self._bytes: Counter[str] = Counter()
        self._count_again_at = 0.0
        self._rows, self._lock = 0, threading.Lock()
        self._say, self._say_full, self._say_many = Seldom(log), Seldom(log, 600.0), Seldom(log, 60.0, logging.ERROR)

    def keep_again(self, stream_id: str, numbers: Array, rows: Transition, reasons: Array) -> None:
        """As `keep`, for rows that an earlier learner found: only where it did not come to write them."""
        if self.directory is not None and not self._path(stream_id, numbers[reasons != ""]).exists():
            self.keep(stream_id, numbers, rows, reasons)

    def keep(self, stream_id: str, numbers: Array, rows: Transition, reasons: Array, received: int = 0) -> None:
        """Writes bad rows and says so; a file that cannot be written is reported and does not stop the stream.

        `received` is the number of all rows so far, good or bad, where it is known: a large share of bad ones is an error of its own.
        """
        bad = take(rows, reasons != "")
        numbers, reasons = numbers[reasons != ""], reasons[reasons != ""]
        self._rows += len(numbers)
        self._say("%d rows of stream %s quarantined from number %d: %s", len(numbers), stream_id, numbers[0], reasons[0])
        if received >= ENOUGH and self._rows > MANY * received:
            self._say_many(
                "%d of %d rows are in quarantine and not learnt from, the last one since its %s. See inspect_data on the run's quarantine.",
                self._rows, received, reasons[-1],
            )  # fmt: skip
        if self.directory is None:
            return
        try:
            with self._lock:
                self._write(self.directory, stream_id, {"number": numbers, "reason": reasons, **flatten(bad)})
        except OSError as error:
            log.error("The quarantined rows could not be written to %s (%s); they are counted all the same.", self.directory, error)

    def _write(self, directory: pathlib.Path, stream_id: str, arrays: dict[str, Array]) -> None:
        size = sum(array.nbytes for array in arrays.values())
        if not self._has_room(directory, stream_id, size):
            self._say_full("%s is full: further bad rows are counted and not kept; its files may be removed at any time.", directory)
            return
        directory.mkdir(parents=True, exist_ok=True)
        path = self._path(stream_id, arrays["number"])
        partial = path.with_suffix(".partial")
        with open(partial, "w+b") as file:
            sealed.write(file, arrays.items())
        os.replace(partial, path)
        files = self._counted(directory)
        for whose in ("", stream_id):
            files[whose] += 1
            self._bytes[whose] += path.stat().st_size

    def _has_room(self, directory: pathlib.Path, stream_id: str, size: int) -> bool:
        """Whether a file of a stream may be written."""

        def found() -> bool:
            files, shares = self._counted(directory), (("", 1), (stream_id, STREAM_SHARE))
            return all(files[one] < MAX_FILES // share and self._bytes[one] + size <= MAX_BYTES // share for one, share in shares)

        if not found() and time.monotonic() >= self._count_again_at:
            self._files, self._count_again_at = None, time.monotonic() + COUNT_SECONDS
        return found()

    def _counted(self, directory: pathlib.Path) -> Counter[str]:
        """How many files there are; the first time from the folder, which is also rid of what a crash left unfinished."""
        if self._files is None:
            directory.mkdir(parents=True, exist_ok=True)
            self._files, self._bytes = Counter(), Counter()
            for path in directory.iterdir():
                if path.suffix == ".partial":
                    path.unlink()
                    continue
                for whose in ("", path.stem.rpartition("-")[0]):
                    self._files[whose] += 1
                    self._bytes[whose] += path.stat().st_size
        return self._files

    def _path(self, stream_id: str, numbers: Array) -> pathlib.Path:
        assert self.directory is not None
        return self.directory / f"{stream_id}-{numbers[0]}.npz"
