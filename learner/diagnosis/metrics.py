"""Metrics on disk as JSON lines, and in whatever trackers the run has beside them (`trackers.py`)."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from ...data.files.whole_files import replacing
from ...data.wire import MIB
from .episode_log import EpisodeLog
from .trackers import TrackedRun, Trackers

LINES, STEPS = "metrics.jsonl", "environment_steps"
MOST_BYTES = 64 * MIB  # of the lines; TensorBoard's event files are about as large
TRY_AGAIN_SECONDS = 60.0

log = logging.getLogger(__name__)


class Recorder:
    """Writes `directory/metrics.jsonl`, which the first record makes, and gives each record to the trackers. A resumed run appends.

    However long a run is, its files stay small: beyond 64 MiB every second record of the older half is left out, in TensorBoard's too.
    A full disk is said once and costs records, never the run; neither does a tracker that fails.

    Args:
        trackers: as `learner.trackers` names them.
        name, config: the run's, for the trackers.

    Attributes:
        episodes: a line for each training episode, beside the metrics.

    Raises:
        WarmloopError: there is no such tracker, or its package is not installed.
    """

    def __init__(
        self, directory: str | Path, trackers: Sequence[str] = ("tensorboard",), name: str = "", config: Mapping[str, Any] | None = None
    ):
        self.directory = Path(directory)
        self._trackers = Trackers(trackers, TrackedRun(self.directory, name, config or {}))
        self.episodes = EpisodeLog(self.directory)
        self._lines: IO[str] | None = None
        self._thin_at, self._failing = 0.0, False

    def write(self, updates: int, metrics: Mapping[str, Any], environment_steps: int | None = None) -> dict[str, float]:
        """Records scalars at an update; returns them as floats."""
        scalars = {name: float(value) for name, value in metrics.items()}
        line: dict[str, Any] = {"updates": updates, "time": round(time.time(), 3)}
        if environment_steps is not None:
            line[STEPS] = environment_steps
        try:
            lines = self._opened()
            lines.write(json.dumps(line | scalars) + "\n")
            if os.fstat(lines.fileno()).st_size > MOST_BYTES and time.monotonic() >= self._thin_at:
                self._thin()
            self._failing = False
        except OSError as error:
            if not self._failing:
                log.error("Metrics cannot be written to %s (%s); free space there.", self.directory, error.strerror)
            self._failing = True
        self._trackers.write(line | scalars)
        return scalars

    def close(self) -> None:
        """Flushes and closes the file, and ends the trackers."""
        self._close_lines()
        self._trackers.close()

    def _close_lines(self) -> None:
        with contextlib.suppress(OSError):  # said before, at the writing
            if self._lines is not None:
                self._lines.close()
        self._lines = None

    def _thin(self) -> None:
        """Leaves out every second record of the older half. Raises OSError, after which the file is as it was."""
        self._thin_at = time.monotonic() + TRY_AGAIN_SECONDS
        path = self.directory / LINES
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        half = len(lines) // 2
        kept = [*lines[:half:2], *lines[half:]]
        with replacing(path) as file:
            file.write("".join(kept).encode())
        self._close_lines()
        self._trackers.replace(list(_parsed(kept[:-1])))  # the last record is still to come to them
        self._thin_at = 0.0
        log.info("%s has become large: every second record of its older half is left out.", path)

    def _opened(self) -> IO[str]:
        """The file, made if need be. Raises OSError."""
        if self._lines is None:
            self.directory.mkdir(parents=True, exist_ok=True)
            for leftover in self.directory.glob(f".{LINES}.*.part"):
                leftover.unlink()
            self._lines = open(self.directory / LINES, "a", buffering=1, encoding="utf-8")  # noqa: SIM115 - closed by close()
        return self._lines

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read(path: str | Path) -> list[dict[str, float]]:
    """The records of a `metrics.jsonl`, or of the run directory that holds one; lines that a crash or a full disk tore are left out."""
    path = Path(path)
    return list(_parsed((path / LINES if path.is_dir() else path).read_text(encoding="utf-8").splitlines()))


def _parsed(lines: Iterable[str]) -> Iterator[dict[str, float]]:
    for line in lines:
        with contextlib.suppress(ValueError):
            yield json.loads(line)
