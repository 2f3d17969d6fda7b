"""Metrics on disk: TensorBoard's event file, and the same numbers as JSON lines."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue] (generated)
from tensorboardX.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]

from ...data.files.whole_files import replacing
from ...data.wire import MIB

FLUSH_SECONDS = 10.0
LINES, EVENTS, STEPS = "metrics.jsonl", "events", "environment_steps"
MOST_BYTES = 64 * MIB  # of the lines; the event files are about as large
TRY_AGAIN_SECONDS = 60.0

log = logging.getLogger(__name__)


class Recorder:
    """Writes `directory/metrics.jsonl` and an event file beside it, which the first record makes. A resumed run appends.

    However long a run is, the files stay small: beyond 64 MiB every second record of the older half is left out, in both.
    A full disk is said once and costs records, never the run. (So not tensorboardX's SummaryWriter: it dies of one, and from then
    on blocks whoever writes.)
    """

    def __init__(self, directory: str | Path):
        self.directory = Path(directory)
        self._lines: IO[str] | None = None
        self._events: EventsWriter | None = None
        self._flush_at, self._thin_at, self._failing = 0.0, 0.0, False

    def write(self, updates: int, metrics: Mapping[str, Any], environment_steps: int | None = None) -> dict[str, float]:
        """Records scalars at an update; returns them as floats."""
        scalars = {name: float(value) for name, value in metrics.items()}
        line: dict[str, Any] = {"updates": updates, "time": round(time.time(), 3)}
        if environment_steps is not None:
            line[STEPS] = environment_steps
        try:
            lines, events = self._opened()
            lines.write(json.dumps(line | scalars) + "\n")
            events.write_event(_event(line | scalars))
            if time.monotonic() >= self._flush_at:
                events.flush()
                self._flush_at = time.monotonic() + FLUSH_SECONDS
            if os.fstat(lines.fileno()).st_size > MOST_BYTES and time.monotonic() >= self._thin_at:
                self._thin()
            self._failing = False
        except OSError as error:
            if not self._failing:
                log.error("Metrics cannot be written to %s (%s); free space there.", self.directory, error.strerror)
            self._failing = True
        return scalars

    def close(self) -> None:
        """Flushes and closes both files."""
        for file in (self._lines, self._events):
            with contextlib.suppress(OSError):  # said before, at the writing
                if file is not None:
                    file.close()

    def _thin(self) -> None:
        """Leaves out every second record of the older half. Raises OSError, after which the files are as they were."""
        self._thin_at = time.monotonic() + TRY_AGAIN_SECONDS
        path, older = self.directory / LINES, list(self.directory.glob(f"{EVENTS}.*"))
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        half = len(lines) // 2
        kept = [*lines[:half:2], *lines[half:]]
        with replacing(path) as file:
            file.write("".join(kept).encode())
        self.close()
        self._lines = self._events = None
        for file in older:
            file.unlink()
        _, events = self._opened()
        for record in _parsed(kept):
            events.write_event(_event(record))
        self._thin_at = 0.0
        log.info("%s has become large: every second record of its older half is left out.", path)

    def _opened(self) -> tuple[IO[str], EventsWriter]:
        """Both files, made if need be. Raises OSError."""
        if self._lines is None:
            self.directory.mkdir(parents=True, exist_ok=True)
            for leftover in self.directory.glob(f".{LINES}.*.part"):
                leftover.unlink()
            self._lines = open(self.directory / LINES, "a", buffering=1, encoding="utf-8")  # noqa: SIM115 - closed by close()
        if self._events is None:
            self._events = EventsWriter(str(self.directory / EVENTS))
        return self._lines, self._events

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


def _event(record: Mapping[str, float]) -> Event:
    """A record as TensorBoard has it."""
    values = [Summary.Value(tag=name, simple_value=value) for name, value in record.items() if name not in ("updates", "time", STEPS)]
    return Event(wall_time=record["time"], step=int(record["updates"]), summary=Summary(value=values))
