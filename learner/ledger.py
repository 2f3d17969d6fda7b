"""All streams, what they have released to the pool, and the journal that lets a later learner rebuild both.

The rows that streams release are numbered from 0 in the order of their release, over all streams: that number is also the row's
serial in the online pool. What is done to a stream is written to the journal first, in the same order; doing it again in that
order releases the same rows under the same numbers.
"""

from __future__ import annotations

import json
import logging

import numpy as np

from ..data.errors import WarmloopError
from ..data.transition import Array, Transition, length, take
from ..data.wire import frames
from ..data.wire.schema import Schema
from .journal import Journal
from .quarantine import Quarantine, faults
from .records import Kind, Record
from .streams import LOST, Chunk, Stream

LOST_ROWS = 1024  # in one chunk

log = logging.getLogger(__name__)


class Ledger:
    """See the module. Not thread-safe: its owner holds the lock.

    Attributes:
        streams: by name.
        released: rows handed on so far.
        lost: rows of which the journal says that they were released, and no longer what they were.
    """

    def __init__(self, schema: Schema, quarantine: Quarantine, journal: Journal | None = None):
        self.schema, self.quarantine, self.journal = schema, quarantine, journal
        self.streams: dict[str, Stream] = {}
        self.released = self.lost = 0

    def stream(self, name: str) -> Stream:
        """The stream of that name; a new one where there is none."""
        return self.streams.setdefault(name, Stream(name))

    def receive(self, name: str, first: int, rows: Transition, good: Array, frame: bytes | None = None) -> list[Chunk]:
        """Rows `[n]` arrived that continue a stream, of which those are learnt from that are `good`; returns what is released.

        `frame` is the rows' own, if it is at hand.
        """
        if self.journal is not None:
            self._write(Kind.ROWS, name, first, length(rows), frames.encode(self.schema, rows) if frame is None else frame)
        return self._release(self.streams[name].extend(first, rows, good))

    def cut(self, name: str) -> list[Chunk]:
        """A stream's open episode ends here; returns its last row."""
        if self.streams[name].open is None:
            return []
        self._write(Kind.CUT, name)
        return self._release(self.streams[name].cut())

    def give_up(self, name: str, number: int) -> list[Chunk]:
        """A stream goes on at `number`, later than it should; returns the last row of the episode that this interrupts."""
        self._write(Kind.GIVEN_UP, name, number)
        return self._given_up(name, number)

    def note_report(self, name: str, number: int) -> None:
        """A stream's report was taken."""
        self._write(Kind.REPORT, name, number)
        self.streams[name].reports = number

    def snapshot(self) -> Record:
        """Where all streams stand."""
        names = sorted(self.streams)
        held = [self.streams[name].open for name in names]
        state = {
            "schema": self.schema.hash.hex(),
            "streams": [
                [name, self.streams[name].received, self.streams[name].reports, -1 if chunk is None else chunk.first]
                for name, chunk in zip(names, held, strict=True)
            ],
        }
        rows = b"".join(frames.encode(self.schema, chunk.rows) for chunk in held if chunk is not None)
        return Record(Kind.SNAPSHOT, released=self.released, payload=json.dumps(state).encode() + b"\n" + rows)

    def replay(self, record: Record, first: bool) -> list[Chunk]:
        """Does again what a record says; returns what it releases, after as many lost rows as are missing before it.

        Before the `first` record of all, `released` says how many rows may be missing: they are not needed any more.

        Raises:
            WarmloopError: the journal is of another environment, or contradicts itself.
        """
        if record.released < self.released and not first:
            raise WarmloopError(f"The journal counts {self.released} rows up to a place that says {record.released}; it cannot be used.")
        missing = self.reach(record.released)
        self.released = record.released
        if record.kind == Kind.SNAPSHOT:
            self._begin(record, first)
            return missing
        stream = self.stream(record.stream)
        return missing + self._catch_up(stream, record) + self._do(stream, record)

    def reach(self, released: int) -> list[Chunk]:
        """Releases as lost what is missing up to a number of released rows."""
        missing = self._lost(released - self.released)
        self.released = max(self.released, released)
        return missing

    def _write(self, kind: Kind, name: str, number: int = 0, count: int = 0, payload: bytes = b"") -> None:
        if self.journal is None:
            return
        if self.journal.snapshot_due:
            self.journal.append(self.snapshot())
        held = self.streams[name].open is not None
        self.journal.append(Record(kind, name, number, count, payload, self.released, held))

    def _release(self, chunks: list[Chunk]) -> list[Chunk]:
        self.released += sum(length(chunk.rows) for chunk in chunks)
        return chunks

    def _begin(self, record: Record, first: bool) -> None:
        """Takes the streams' state from a snapshot, and says what it knows of and was not in the records before it."""
        text, _, rows = bytes(record.payload).partition(b"\n")
        state = json.loads(text)
        if state["schema"] != self.schema.hash.hex():
            raise WarmloopError(
                "The journal holds rows of another environment or of other shapes; go on with this run's own configuration."
            )
        known, self.streams, at = {name: stream.received for name, stream in self.streams.items()}, {}, 0
        for name, received, reports, held in state["streams"]:
            self.streams[name] = Stream(name, received, reports=reports)
            if held >= 0:
                one = frames.decode(self.schema, rows[at : at + self.schema.row_bytes], 1)
                self.streams[name].open, at = Chunk(name, held, one), at + self.schema.row_bytes
            if not first and received != known.get(name, 0):
                _say_missing(name, known.get(name, 0), received)

    def _catch_up(self, stream: Stream, record: Record) -> list[Chunk]:
        """Brings a stream to where a record found it; returns the row that it held back, if that is lost."""
        if record.kind == Kind.ROWS and record.number > stream.received:
            _say_missing(stream.name, stream.received, record.number)
            stream.received, stream.open = record.number, None
        if not record.held:
            stream.open = None  # if there was one, it is among those that were released and are lost
        return self.reach(self.released + 1) if record.held and stream.open is None else []

    def _do(self, stream: Stream, record: Record) -> list[Chunk]:
        match record.kind:
            case Kind.ROWS:
                rows = frames.decode(self.schema, bytes(record.payload), record.count)
                reasons = faults(rows)
                if (reasons != "").any():
                    self.quarantine.keep_again(record.stream, record.number + np.arange(record.count), rows, reasons)
                return self._release(stream.extend(record.number, rows, reasons == ""))
            case Kind.CUT:
                return self._release(stream.cut())
            case Kind.GIVEN_UP:
                return self._given_up(record.stream, record.number)
            case _:
                stream.reports = record.number
                return []

    def _given_up(self, name: str, number: int) -> list[Chunk]:
        last = self._release(self.streams[name].cut())
        self.streams[name].received = number
        return last

    def _lost(self, count: int) -> list[Chunk]:
        """Rows of zeros, of quality zero: they keep their numbers and are never learnt from."""
        if count <= 0:
            return []
        log.error("%d rows of the online pool are lost, from number %d on; they are not learnt from.", count, self.released)
        self.lost += count
        zeros = frames.decode(self.schema, bytes(LOST_ROWS * self.schema.row_bytes), LOST_ROWS)
        starts = range(0, count, LOST_ROWS)
        return [Chunk(LOST, self.released + start, take(zeros, slice(min(LOST_ROWS, count - start)))) for start in starts]


def _say_missing(name: str, first: int, end: int) -> None:
    log.error("Rows %d to %d of stream %s are missing from the journal.", first, end - 1, name)
