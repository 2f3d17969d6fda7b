"""The spool: an actor's rows on its own disk until the learner has them on its, so that a crash of the actor loses none.

Rows are appended to a `RowBuffer` in memory by the control loop, written here by a thread of the spool's own, and only then
sent. A row handed to the operating system outlives the process; it is also flushed to the disk, to outlive a loss of power,
where the learner has not acknowledged it within a second. Opened again, a spool goes on with the same stream and the next number.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections import deque
from pathlib import Path

from ...data.errors import WarmloopError
from ...data.files.disk import lock_directory, sync_directory
from ...data.files.sealed_json import read_sealed, write_sealed
from ...data.running.threads import vital_thread
from ...data.transition import Array, length, take
from ...data.wire import MIB, row_bytes
from ...data.wire.row_schema import Schema, differences, settings_told
from ...data.wire.shared_pictures import Packer
from . import segments
from .buffer import RowBuffer
from .segments import Contents, Header, Segment

SEGMENT_BYTES = 32 * MIB
FREE_BYTES = MIB  # of rows that the learner has, in the segment that is being written, after which another is begun
FLUSH_SECONDS = 1.0  # that rows may wait for the learner before they are flushed to the disk here
RETRY_SECONDS = 1.0
SCHEMA = "schema.json"  # of the rows, to say by what they differ from those of now

log = logging.getLogger(__name__)


class Spool:
    """A folder of segments, and the thread that writes them. Close it after the client that sends from `rows`.

    Raises WarmloopError when made: the folder cannot be written, is another process's, or holds rows of another schema.

    Attributes:
        rows: what is held, with the stream's id; those of earlier processes are in it when the spool opens.
    """

    def __init__(
        self,
        folder: str | Path,
        schema: Schema,
        max_rows: int = 200_000,
        max_bytes: int = 1024 * MIB,
        segment_bytes: int = SEGMENT_BYTES,
    ):
        self.folder, self._schema, self._segment_bytes = Path(folder), schema, segment_bytes
        self._lock = lock_directory(self.folder, "The spool", "give every actor its own --actor_id, or stop that one")
        self._old: deque[tuple[Path, int, bool]] = deque()  # segments of closed files: path, end, damaged
        self._serial, self._packer = 0, Packer(schema)
        try:
            self.rows = self._restored(max_rows, max_bytes)
            write_sealed(self.folder / SCHEMA, json.loads(schema.json))
            self._flushed = self.rows.end
            self._segment: Segment | None = self._new_segment(self.rows.end)
        except BaseException as error:
            os.close(self._lock)
            if isinstance(error, OSError):
                raise WarmloopError(f"The spool {self.folder} cannot be used: {error.strerror or error}.") from error
            raise
        self.rows.opening = self._serial
        self._unflushed_since: float | None = None
        self._work = self.rows.writer = threading.Condition(self.rows.lock)
        self._closing = threading.Event()
        self._thread = vital_thread(self._run, "spool", "writes the spool", self._died)
        self._thread.start()

    def close(self) -> None:
        """Writes what remains, flushes it, and lets the folder go; removes the files when the learner has every row.

        Raises WarmloopError where rows could not be written.
        """
        if self._closing.is_set():
            return
        with self.rows.changed:
            self._closing.set()
            self._work.notify()
        self._thread.join()
        if self._segment is not None:
            self._retire(self._segment)
        if len(self.rows) == 0:
            self._delete(self.rows.end)
        os.close(self._lock)
        if self.rows.written < self.rows.end:
            raise WarmloopError(f"{self.rows.end - self.rows.written} rows are lost with this process. {self.rows.trouble}")

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            self.close()
        except WarmloopError as error:
            if kind is None:
                raise
            log.error("%s", error)  # what went wrong first is raised

    # The thread.

    def _run(self) -> None:
        while self._write():
            pass

    def _died(self, name: str, error: BaseException) -> None:
        with self.rows.changed:  # the client raises it in the control loop
            self.rows.failure = error
            self.rows.changed.notify_all()

    def _write(self) -> bool:
        """Waits for rows and writes them; whether to go on."""
        rows = self.rows
        with rows.changed:
            self._work.wait_for(
                lambda: rows.end > rows.written or rows.trouble or self._closing.is_set() or self._acknowledged(rows.first),
                self._until_flush(),
            )
            first, count = rows.written, min(rows.end - rows.written, rows.block_rows)
            parts, safe = rows.parts(first, count), rows.first
        closing = self._closing.is_set()
        try:
            self._free(safe)  # first, since it makes room on a full disk
            if count:
                self._append(first, count, parts)
            if self._until_flush() == 0.0 or closing:
                self._flush(safe)
        except OSError as error:
            self._stumble(error)
            return not closing
        with rows.changed:
            if rows.trouble:
                log.warning("The spool %s can be written again.", self.folder)
            rows.written, rows.trouble = first + count, ""
            rows.changed.notify_all()
            return not closing or rows.written < rows.end

    def _append(self, first: int, count: int, parts: list[dict[str, Array]]) -> None:
        segment = self._segment
        if segment is not None and (segment.end != first or segment.size >= self._segment_bytes):
            self._flush(self.rows.first)
            self._retire(segment)
            segment = None
        if segment is None:
            segment = self._segment = self._new_segment(first)
        frame = self._packer.pack(first, count, parts) if self._schema.cameras else row_bytes.join(self._schema, parts)
        segment.append(first, count, frame)
        self._unflushed_since = self._unflushed_since or time.monotonic()

    def _until_flush(self) -> float | None:
        return None if self._unflushed_since is None else max(0.0, self._unflushed_since + FLUSH_SECONDS - time.monotonic())

    def _flush(self, safe: int) -> None:
        """Brings rows to the disk, unless the learner has them all on its own (`safe` is the number below which it has)."""
        if self._segment is not None and self._segment.end > safe:
            self._segment.sync()
            sync_directory(self.folder)
        if self._segment is not None:
            self._flushed = self._segment.end
        self._unflushed_since = None

    def _stumble(self, error: OSError) -> None:
        """Says that the disk failed, goes back to what is known to be on it, and waits before the next try in a new segment."""
        rows = self.rows
        trouble = f"The spool {self.folder} cannot be written ({error.strerror or error}): free space there, or see to the disk."
        segment, self._segment = self._segment, None
        if segment is not None:
            segment.abandon()
            if segment.end > segment.first:
                self._old.append((segment.path, segment.end, False))
        with rows.changed:
            if not rows.trouble:
                log.error("%s The rows wait in memory.", trouble)
            rows.trouble = trouble
            if segment is not None:  # after a failed flush nothing says what of the segment is on the disk
                rows.written = max(rows.first, self._flushed if segment.doubtful else segment.end)
            rows.changed.notify_all()
        self._closing.wait(RETRY_SECONDS)

    # Files.

    def _acknowledged(self, below: int) -> bool:
        """Whether there is disk space to free, where the learner has the rows below a number."""
        segment = self._segment
        spent = segment is not None and segment.end <= below and segment.size > FREE_BYTES
        return spent or bool(self._old and self._old[0][1] <= below)

    def _free(self, below: int) -> None:
        """Removes what holds only rows below a number, and goes on in a new segment where that is the current one."""
        segment = self._segment
        if segment is not None and segment.end <= below and segment.size > FREE_BYTES:
            self._retire(segment)
            self._delete(below)
            self._segment = self._new_segment(segment.end)
            self._flushed, self._unflushed_since = segment.end, None
        self._delete(below)

    def _new_segment(self, first: int) -> Segment:
        header = Header(self.rows.stream_id, self._schema.hash, self._serial + 1, first, shared=bool(self._schema.cameras))
        self._packer.restart()
        segment = Segment(self.folder / f"{header.serial:010d}-{header.stream_id}.rows", header)
        self._serial = header.serial
        return segment

    def _retire(self, segment: Segment) -> None:
        segment.close()
        self._old.append((segment.path, segment.end, False))
        self._segment = None

    def _delete(self, below: int) -> None:
        """Removes the segments that hold only rows below a number; damaged ones are kept aside for a person."""
        while self._old and self._old[0][1] <= below:
            path, _, damaged = self._old.popleft()
            if damaged:
                path.rename(path.with_suffix(".damaged"))
            else:
                path.unlink()

    def _restored(self, max_rows: int, max_bytes: int) -> RowBuffer:
        """The rows that earlier processes left."""
        paths = sorted(self.folder.glob("[0-9]*-*.rows"))
        streams = {path.stem.partition("-")[2] for path in paths}
        if len(streams) > 1:
            raise WarmloopError(f"The spool {self.folder} holds rows of {len(streams)} streams; move the older one's files away.")
        rows = RowBuffer(self._schema, max_rows, max_bytes, next(iter(streams), None))
        for path in paths:
            contents = segments.read(path, self._schema)
            if contents.header is not None and contents.header.schema_hash not in (self._schema.hash, self._schema.without_settings.hash):
                raise WarmloopError(self._other_rows())
            self._serial = int(path.stem.partition("-")[0])
            with rows.lock:
                missing = self._fill(rows, contents)
            damaged = self._judged(path, contents, missing, last=path == paths[-1])
            if path.exists():
                _sync_file(path)
                self._old.append((path, rows.end, damaged))
        if len(rows):
            log.info("The spool %s holds %d rows of an earlier process; what the learner lacks of them is sent.", self.folder, len(rows))
        return rows

    def _other_rows(self) -> str:
        """What to say of rows that other settings made than those of now."""
        try:
            theirs = Schema.from_json(json.dumps(read_sealed(self.folder / SCHEMA, "")))
        except WarmloopError:  # an earlier version left none, or it is damaged: the rows' own hash tells enough
            theirs = self._schema
        differing = list(differences(theirs.settings, self._schema.settings))
        told = ": " + settings_told(differing, "the spool's", "now it") if differing else ""
        return (
            f"The spool {self.folder} holds rows of another environment or other settings, which the learner has not taken{told}. "
            "Send them with the configuration that made them, or move the folder away."
        )

    def _fill(self, rows: RowBuffer, contents: Contents) -> int:
        """Appends a segment's rows; returns how many are missing before or between them."""
        starts = [contents.header.first] if contents.header else [record.first for record in contents.records[:1]]
        if not self._old and starts:  # the oldest segment says where the stream begins
            rows.skip(starts[0])
        missing = sum(self._reach(rows, number) for number in starts)
        for first, piece, lost in segments.pieces(contents, self._schema):
            missing += self._reach(rows, first + lost)
            known = rows.end - first
            if known < length(piece):
                rows.append(take(piece, slice(known, None)) if known else piece)
        rows.written = rows.end
        return missing

    @staticmethod
    def _reach(rows: RowBuffer, number: int) -> int:
        """Goes on at a number; returns how many rows are missing before it."""
        missing = number - rows.end
        if missing > 0:
            rows.skip(number)
        return max(0, missing)

    def _judged(self, path: Path, contents: Contents, missing: int, last: bool) -> bool:
        """Cuts a torn tail off the last segment, and says what is damaged anywhere; whether anything is."""
        torn = contents.size - contents.end
        header_lost = contents.header is None and (contents.records or not last)
        if torn and last and contents.torn:
            log.warning("The last %d bytes of %s were not written whole; they are cut off.", torn, path)
            if contents.header is None and not contents.records:
                path.unlink()
                return False
            os.truncate(path, contents.end)
            torn = 0
        if not (torn or contents.damaged or missing or header_lost):
            return False
        log.error(
            "%s: %d bytes are damaged, and %d rows missing in it or before it are lost unless the learner has them. The file is kept.",
            path, contents.damaged + torn + (segments.HEADER_BYTES if header_lost else 0), missing,
        )  # fmt: skip
        return True


def _sync_file(path: Path) -> None:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)
