"""The learner's journal: what came from the actors, on disk before they forget it.

Whoever appends never waits for the disk. A thread takes all that is queued, writes it, makes it durable (fsync), tells `on_commit`,
and takes what queued meanwhile: so a row waits for two of them at most, and a few milliseconds. When the disk fails or is full,
nothing is acknowledged; all that is not yet durable is written again, to a new segment, until it succeeds.
"""

from __future__ import annotations

import itertools
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ...data.files.disk import lock_directory, sync_directory
from ...data.running.threads import vital_thread
from ...data.wire import MIB
from . import records
from .records import JournalRecord, Kind

RETRY_SECONDS = 1.0
REST_SECONDS = 0.005  # between commits: one costs the processor as much for a row as for hundreds, and the service needs it
WRITE_BYTES = 4 * MIB  # handed to the system at a time
CLOSE_SECONDS = 10.0
OnCommit = Callable[[Mapping[str, int]], object]

log = logging.getLogger(__name__)


class Journal:
    """Appends records to the segments in `directory`, of which it is the only writer.

    Args:
        on_commit: called, from the journal's thread, with the number below which each stream's rows are now on disk.
        background: has a thread of its own. Without, only `sync` (and every few MiB) writes, for runs in lock step.
        segment_bytes: size beyond which `snapshot_due` asks for a new segment.

    Raises:
        WarmloopError: the directory cannot be used, or another learner writes to it.
    """

    def __init__(
        self,
        directory: str | Path,
        on_commit: OnCommit = lambda numbers: None,
        *,
        background: bool = True,
        segment_bytes: int = 64 * MIB,
    ):
        self.directory, self.on_commit, self._background, self._segment_bytes = Path(directory), on_commit, background, segment_bytes
        self._lock = lock_directory(self.directory, "The journal", "another learner writes there; stop it, or choose another --exp_name")
        self._segments = self._found()
        self._file = -1  # descriptor of the segment being written, if any; `_committed_bytes` of it are durable
        self._committed_bytes = 0
        self._pending: deque[JournalRecord] = deque()  # neither written nor, after a failure, known to be on disk
        self._appended = self._committed = 0  # records
        self._pending_bytes = self._pending_rows = self._committed_rows = 0
        self._since_snapshot, self._commit_seconds = segment_bytes, 0.0
        self._failure: str | None = None
        self._closing = False
        self._changed = threading.Condition()
        self._waiting_since: float | None = None  # the oldest record in `_pending`
        self._thread = vital_thread(self._run, "journal", "writes the journal")
        if background:
            self._thread.start()

    @property
    def failing(self) -> str | None:
        """Why nothing can be written now, or None."""
        return self._failure

    @property
    def waiting_rows(self) -> int:
        """Rows that are not yet on disk."""
        return self._pending_rows

    @property
    def snapshot_due(self) -> bool:
        """Whether the next record has to be a snapshot: it begins a segment."""
        return self._since_snapshot >= self._segment_bytes

    @property
    def end(self) -> tuple[int, int]:
        """Number of the newest segment and how much of it is durable; (0, 0) before the first."""
        if not self._segments:
            return 0, 0
        index, path, _ = self._segments[-1]
        return index, self._committed_bytes if self._file >= 0 else path.stat().st_size

    def drop_after(self, index: int, size: int) -> None:
        """Takes back what was written after the journal ended at byte `size` of segment `index`; to be called before anything else."""
        for found, path, _ in self._segments:
            if found > index:
                path.unlink()
            elif found == index:
                os.truncate(path, size)
        self._segments = self._found()

    def append(self, record: JournalRecord) -> None:
        """Queues a record. Never waits for the disk."""
        with self._changed:
            self._since_snapshot = (0 if record.kind == Kind.SNAPSHOT else self._since_snapshot) + record.size
            self._waiting_since = time.monotonic() if self._waiting_since is None else self._waiting_since
            self._pending.append(record)
            self._appended += 1
            self._pending_bytes += record.size
            self._pending_rows += record.count
            self._changed.notify_all()
        if not self._background and self._pending_bytes >= WRITE_BYTES:
            self._commit()

    def sync(self, timeout: float = 60.0) -> bool:
        """Waits until all that was appended before is on disk, or cannot be written, or `timeout` seconds; whether it is there."""
        if not self._background:
            return self._commit()
        with self._changed:
            target = self._appended
            self._changed.wait_for(lambda: self._committed >= target or self._failure is not None, timeout)
            return self._committed >= target

    def discard(self, below: int, before: int = 0) -> None:
        """Deletes the segments whose rows were all released to the pool under numbers below `below`, and of those with a number under
        `before` the ones that released none: refused rows, reports and empty streams must not fill a disk."""
        with self._changed:
            starts = [place for place, (_, _, number) in enumerate(self._segments) if number is not None and number <= below]
            old = self._segments[: starts[-1]] if starts else []
            rest = self._segments[len(old) :]
            for segment, following in itertools.pairwise(rest):
                if segment[0] < before and segment[2] is not None and segment[2] == following[2]:
                    old.append(segment)
            self._segments = [segment for segment in rest if segment not in old]
        for _, path, _ in old:
            path.unlink(missing_ok=True)

    def metrics(self) -> dict[str, float]:
        """Rows committed since the start, rows that wait and for how long, segments on disk, seconds that the last commit took, and
        whether it failed."""
        since = self._waiting_since
        return {
            "journal/committed": self._committed_rows,
            "journal/waiting": self._pending_rows,
            "journal/waiting_seconds": 0.0 if since is None else time.monotonic() - since,
            "journal/segments": len(self._segments),
            "journal/commit_seconds": self._commit_seconds,
            "journal/failing": float(self._failure is not None),
        }

    def close(self) -> None:
        """Writes what is queued, if that can be done within a few seconds, and ends. What cannot be written stays with the actors."""
        written = self.sync(CLOSE_SECONDS)
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._background:
            self._thread.join()
        if not written:
            log.error("%d rows could not be written to %s; their actors still hold them.", self._pending_rows, self.directory)
        self._close_file()
        os.close(self._lock)

    def _found(self) -> list[tuple[int, Path, int | None]]:
        """The segments on disk: number, file, and the number of released rows at which each begins."""
        return [(index, path, records.released_before(path)) for index, path in records.segments(self.directory)]

    def _run(self) -> None:
        """The thread."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._pending or self._closing)
                if self._failure is not None:
                    self._changed.wait_for(lambda: self._closing, RETRY_SECONDS)
                if self._closing:
                    return
            self._commit()
            time.sleep(REST_SECONDS)

    def _commit(self) -> bool:
        """Makes all that is queued durable; whether that succeeded. Only one thread ever calls it."""
        while self._pending:
            with self._changed:
                batch = list(self._pending)
            # A snapshot begins a segment, so what comes before the next one goes into this.
            cut = next((place for place, record in enumerate(batch) if place and record.kind == Kind.SNAPSHOT), len(batch))
            began = time.monotonic()
            try:
                self._write(batch[:cut])
            except OSError as error:
                self._fail(error)
                return False
            self._commit_seconds = time.monotonic() - began
            self._acknowledge(batch[:cut])
        return True

    def _write(self, batch: Sequence[JournalRecord]) -> None:
        if self._file < 0 or self._failure is not None or batch[0].kind == Kind.SNAPSHOT:
            self._begin_segment(batch[0].released if batch[0].kind == Kind.SNAPSHOT else None)
        size, block, block_bytes = self._committed_bytes, [], 0
        for record in batch:
            block += record.parts()
            block_bytes += record.size
            if block_bytes >= WRITE_BYTES:
                size += _write_all(self._file, block)
                block, block_bytes = [], 0
        size += _write_all(self._file, block)
        os.fsync(self._file)
        self._committed_bytes = size

    def _acknowledge(self, batch: Sequence[JournalRecord]) -> None:
        rows = sum(record.count for record in batch if record.kind == Kind.ROWS)
        with self._changed:
            for record in batch:
                self._pending.popleft()
                self._pending_bytes -= record.size
            self._waiting_since = time.monotonic() if self._pending else None
            self._pending_rows -= rows
            self._committed_rows += rows
            self._committed += len(batch)
            if self._failure is not None:
                log.info("The journal in %s is written again.", self.directory)
            self._failure = None
            self._changed.notify_all()
        advanced = {record.stream: record.number + record.count for record in batch if record.kind in (Kind.ROWS, Kind.GIVEN_UP)}
        if advanced:
            self.on_commit(advanced)

    def _begin_segment(self, released: int | None) -> None:
        """A new file; without a number of `released` rows it goes on where the last one had to stop."""
        self._repair()
        self._close_file()
        index = self._segments[-1][0] + 1 if self._segments else 1
        path = records.segment_path(self.directory, index)
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        self._committed_bytes = 0
        with self._changed:
            self._segments.append((index, path, released))
        sync_directory(self.directory)

    def _repair(self) -> None:
        """After a failure: cuts from the newest segment what was written and never acknowledged; it is written again elsewhere."""
        if self._failure is None or self._file < 0:
            return
        os.ftruncate(self._file, self._committed_bytes)
        os.fsync(self._file)
        if self._committed_bytes == 0:
            self._segments[-1][1].unlink(missing_ok=True)
            with self._changed:
                self._segments.pop()
        self._close_file()

    def _fail(self, error: OSError) -> None:
        with self._changed:
            if self._failure is None:
                log.error(
                    "The journal in %s cannot be written (%s): nothing more is taken from the actors until it can; free space there.",
                    self.directory,
                    error.strerror,
                )
            self._failure = error.strerror or str(error)
            self._changed.notify_all()

    def _close_file(self) -> None:
        if self._file >= 0:
            file, self._file = self._file, -1
            os.close(file)


def _write_all(file: int, block: Sequence[bytes | memoryview]) -> int:
    """Writes every byte; returns how many. Raises OSError."""
    data = memoryview(b"".join(block))
    written = 0
    while written < len(data):
        written += os.write(file, data[written:])
    return written
