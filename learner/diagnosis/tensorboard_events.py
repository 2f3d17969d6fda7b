"""Metrics as TensorBoard's event files. Not by tensorboardX's SummaryWriter, which dies of a full disk and from then on blocks whoever
writes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue] (generated)
from tensorboardX.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]

from .trackers import TrackedRun

FLUSH_SECONDS = 10.0
EVENTS = "events"
NO_TAGS = ("updates", "time", "environment_steps")


class TensorBoardEvents:
    """Event files in the run's folder, flushed every ten seconds."""

    def __init__(self, run: TrackedRun):
        self._directory, self._flush_at = run.directory, 0.0
        self._events = EventsWriter(str(run.directory / EVENTS))

    def write(self, record: Mapping[str, float]) -> None:
        self._events.write_event(_event(record))
        if time.monotonic() >= self._flush_at:
            self._events.flush()
            self._flush_at = time.monotonic() + FLUSH_SECONDS

    def replace(self, records: Sequence[Mapping[str, float]]) -> None:
        """Writes these records in place of all that are there."""
        older = list(self._directory.glob(f"{EVENTS}.*"))
        with contextlib.suppress(OSError):  # of what is thrown away
            self._events.close()
        for file in older:
            file.unlink()
        self._events = EventsWriter(str(self._directory / EVENTS))
        for record in records:
            self._events.write_event(_event(record))

    def close(self) -> None:
        self._events.close()


def _event(record: Mapping[str, float]) -> Event:
    """A record as TensorBoard has it."""
    values = [Summary.Value(tag=name, simple_value=value) for name, value in record.items() if name not in NO_TAGS]
    return Event(wall_time=record["time"], step=int(record["updates"]), summary=Summary(value=values))
