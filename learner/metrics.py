"""Metrics on disk: TensorBoard's event file, and the same numbers as JSON lines."""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue] (generated)
from tensorboardX.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]

FLUSH_SECONDS = 10.0

log = logging.getLogger(__name__)


class Recorder:
    """Writes `directory/metrics.jsonl` and an event file beside it, which the first record makes. A resumed run appends.

    A full disk is said once and costs records, never the run. (So not tensorboardX's SummaryWriter: it dies of one, and from then
    on blocks whoever writes.)
    """

    def __init__(self, directory: str | Path):
        self.directory = Path(directory)
        self._lines: IO[str] | None = None
        self._events: EventsWriter | None = None
        self._flush_at, self._failing = 0.0, False

    def write(self, updates: int, metrics: Mapping[str, Any], environment_steps: int | None = None) -> dict[str, float]:
        """Records scalars at an update; returns them as floats."""
        scalars = {name: float(value) for name, value in metrics.items()}
        line: dict[str, Any] = {"updates": updates, "time": round(time.time(), 3)}
        if environment_steps is not None:
            line["environment_steps"] = environment_steps
        values = [Summary.Value(tag=name, simple_value=value) for name, value in scalars.items()]
        try:
            lines, events = self._opened()
            lines.write(json.dumps(line | scalars) + "\n")
            events.write_event(Event(wall_time=time.time(), step=updates, summary=Summary(value=values)))
            if time.monotonic() >= self._flush_at:
                events.flush()
                self._flush_at = time.monotonic() + FLUSH_SECONDS
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

    def _opened(self) -> tuple[IO[str], EventsWriter]:
        """Both files, made if need be. Raises OSError."""
        if self._lines is None:
            self.directory.mkdir(parents=True, exist_ok=True)
            self._lines = open(self.directory / "metrics.jsonl", "a", buffering=1)  # noqa: SIM115 - closed by close()
        if self._events is None:
            self._events = EventsWriter(str(self.directory / "events"))
        return self._lines, self._events

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read(path: str | Path) -> list[dict[str, float]]:
    """The records of a `metrics.jsonl`, or of the run directory that holds one; lines that a crash or a full disk tore are left out."""
    path = Path(path)
    path = path / "metrics.jsonl" if path.is_dir() else path
    records = []
    for line in path.read_text().splitlines():
        with contextlib.suppress(ValueError):
            records.append(json.loads(line))
    return records
