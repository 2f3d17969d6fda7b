"""All streams, what they have released to the pool, and the journal that lets a later learner rebuild both.

The rows that streams release are numbered from 0 in the order of their release, over all streams: that number is also the row's
serial in the online pool. What is done to a stream is written to the journal first, in the same order; doing it again in that
order releases the same rows under the same numbers.
"""

from __future__ import annotations

import json
import logging
import math
from collections import Counter
from collections.abc import Container

import numpy as np

from ...data.errors import WarmloopError
from ...data.transition import Array, Transition, length, take
from ...data.wire import row_bytes, shared_pictures
from ...data.wire.row_schema import Schema, differences, settings_told
from ...data.wire.shared_pictures import Packed
from .journal import Journal
from .quarantine import Quarantine, faults
from .records import JournalRecord, Kind
from .streams import LOST, Chunk, Stream

PLENTY = 100_000  # more rows than any message has, or the learner has room for
LOST_ROWS = 1024  # in one chunk
STREAMS_OF_ACTOR = 64  # that are remembered; an actor's spool holds one, and begins another only once that is empty or moved away
STREAMS = 4096  # of all actors
REFUSED_BEFORE = "was refused by the bounds of the learner that received it"

log = logging.getLogger(__name__)


class Ledger:
    """See the module. Not thread-safe: its owner holds the lock.

    Attributes:
        streams: by name.
        released: rows handed on so far.
        budget: rows that are taken in all; what comes beyond them is not, and every open episode is closed as truncated.
        lost: rows of which the journal says that they were released, and no longer what they were.
    """

    def __init__(self, schema: Schema, quarantine: Quarantine, journal: Journal | None = None):
        self.schema, self.quarantine, self.journal = schema, quarantine, journal
        self.streams: dict[str, Stream] = {}
        self.released = self.lost = 0
        self.budget: float = math.inf

    def stream(self, name: str) -> Stream:
        """The stream of that name; a new one where there is none."""
        return self.streams.setdefault(name, Stream(name))

    def check_owner(self, name: str, actor: str) -> None:
        """Raises WarmloopError where a stream is another actor's."""
        owner = self.streams[name].owner if name in self.streams else ""
        if owner not in ("", actor):
            raise WarmloopError(
                f'Another actor than "{actor}" sent stream {name}: "{owner}". Start this one with the id that its spool was made with, or '
                "give every actor its own stream, by a spool of its own."
            )

    def open(self, name: str, owner: str) -> Stream:
        """An actor's stream, which counts from now on as the one that was heard of last."""
        stream = self.streams[name] = self.streams.pop(name, None) or Stream(name)
        stream.owner = owner
        return stream

    def forget(self, busy: Container[str]) -> None:
        """Forgets streams that were not heard of for longest, of an actor with too many of them or of all, but for those in `busy`."""
        kept: Counter[str] = Counter()
        for count, stream in enumerate(reversed(list(self.streams.values()))):
            kept[stream.owner] += 1
            if stream.name in busy or stream.open is not None:
                continue
            if stream.untouched or kept[stream.owner] > STREAMS_OF_ACTOR or count >= STREAMS:
                del self.streams[stream.name]

    @property
    def left(self) -> float:
        """Rows that the budget still has, beside those that are held back."""
        return max(0, self.budget - self.released - sum(stream.open is not None for stream in self.streams.values()))

    @property
    def plenty(self) -> bool:
        """Whether the budget has rows left for any message, without counting what is held back."""
        return self.budget - self.released > len(self.streams) + PLENTY

    def within(self, rows: Transition, reasons: Array, frame: Packed | None) -> tuple[Transition, Array, Packed | None]:
        """As many of rows `[n]`, of their `reasons` against them, "" for a good one, and of their frame as the budget has room for."""
        if self.plenty or (left := self.left) >= length(rows):
            return rows, reasons, frame
        count = int(np.searchsorted(np.cumsum(reasons == ""), left, side="right"))
        return (rows, reasons, frame) if count == length(rows) else (take(rows, slice(count)), reasons[:count], None)

    def receive(self, name: str, first: int, rows: Transition, good: Array, frame: Packed | None = None) -> list[Chunk]:
        """Rows `[n]` arrived that continue a stream, of which those are learnt from that are `good`; returns what is released.

        `frame` is the rows' own, if it is at hand.
        """
        stream = self.streams[name]
        self._write_rows(stream, first, rows, good, frame)
        stream.remember(self.schema, first, rows)
        released = self._release(stream.extend(first, rows, good))
        return released if self.plenty or self.left else [*released, *(chunk for other in list(self.streams) for chunk in self.cut(other))]

    def cut(self, name: str) -> list[Chunk]:
        """A stream's open episode ends here; returns its last row."""
        self.streams[name].pictures = None
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

    def snapshot(self) -> JournalRecord:
        """Where all streams stand. What follows may refer to the pictures of the rows in it."""
        streams = sorted(self.streams.values(), key=lambda stream: stream.name)
        state = {
            "schema": self.schema.without_settings.hash.hex(),
            "settings": dict(self.schema.settings),
            "streams": [
                [stream.name, stream.received, stream.reports, -1 if stream.open is None else stream.open.first, stream.owner]
                for stream in streams
            ],
        }
        for stream in streams:
            stream.journaled = -1 if stream.open is None else stream.open.end
        rows = b"".join(row_bytes.encode(self.schema, chunk.rows) for chunk in (stream.open for stream in streams) if chunk is not None)
        return JournalRecord(Kind.SNAPSHOT, released=self.released, payload=json.dumps(state).encode() + b"\n" + rows)

    def replay(self, record: JournalRecord, first: bool) -> list[Chunk]:
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
            self._begin(record, quiet=first or not missing)
            return missing
        stream = self.stream(record.stream)
        return missing + self._catch_up(stream, record) + self._do(stream, record)

    def forget_pictures(self) -> None:
        """Of all streams: to be called after the last `replay`. Actors that go on send whole rows first."""
        for stream in self.streams.values():
            stream.pictures = None

    def reach(self, released: int) -> list[Chunk]:
        """Releases as lost what is missing up to a number of released rows."""
        missing = self._lost(released - self.released)
        self.released = max(self.released, released)
        return missing

    def _write(self, kind: Kind, name: str, number: int = 0) -> None:
        if self.journal is None:
            return
        stream = self.streams[name]
        self._begin_record(self.journal, stream)
        self.journal.append(JournalRecord(kind, name, number, released=self.released, held=stream.open is not None))

    def _write_rows(self, stream: Stream, first: int, rows: Transition, good: Array, frame: Packed | None) -> None:
        """Their `frame`, unless it refers to pictures that the segment does not have."""
        if self.journal is None:
            return
        self._begin_record(self.journal, stream)
        if frame is None or (frame.leans and stream.journaled != first):
            frame = shared_pictures.whole(self.schema, rows)
        refused, count, held = b"" if good.all() else np.packbits(~good).tobytes(), length(rows), stream.open is not None
        self.journal.append(JournalRecord(Kind.ROWS, stream.name, first, count, frame.data, self.released, held, refused, frame.shared))
        stream.journaled = first + count

    def _begin_record(self, journal: Journal, stream: Stream) -> None:
        """Writes what has to be there before a record of a stream."""
        if journal.snapshot_due:
            journal.append(self.snapshot())
        elif stream.owner and not stream.owner_noted:
            owner = stream.owner.encode()
            journal.append(JournalRecord(Kind.OWNER, stream.name, payload=owner, released=self.released, held=stream.open is not None))
        stream.owner_noted = True

    def _release(self, chunks: list[Chunk]) -> list[Chunk]:
        self.released += sum(length(chunk.rows) for chunk in chunks)
        return chunks

    def _begin(self, record: JournalRecord, quiet: bool) -> None:
        """Takes the streams' state from a snapshot, and says, unless `quiet`, what it knows of and was not in the records before it."""
        text, _, rows = bytes(record.payload).partition(b"\n")
        state = json.loads(text)
        if state["schema"] != self.schema.without_settings.hash.hex():
            raise WarmloopError(
                "The journal holds rows of another environment or of other shapes; resume with this run's own configuration."
            )
        theirs = tuple(sorted(state.get("settings", {}).items()))  # of which earlier versions knew nothing
        if theirs and self.schema.settings and (differing := list(differences(theirs, self.schema.settings))):
            said = settings_told(differing, "the journal's", "now it")
            raise WarmloopError(f"The journal holds rows that other settings made: {said}. Go on with this run's own configuration.")
        known, self.streams, at = {name: stream.received for name, stream in self.streams.items()}, {}, 0
        for name, received, reports, held, *owner in state["streams"]:  # earlier versions knew no owner
            self.streams[name] = Stream(name, received, reports=reports, owner=owner[0] if owner else "")
            if held >= 0:
                one = row_bytes.decode(self.schema, rows[at : at + self.schema.row_bytes], 1)
                self.streams[name].open, at = Chunk(name, held, one), at + self.schema.row_bytes
                self.streams[name].remember(self.schema, held, one)
            if not quiet and received != known.get(name, 0):
                _say_missing(name, known.get(name, 0), received)

    def _catch_up(self, stream: Stream, record: JournalRecord) -> list[Chunk]:
        """Brings a stream to where a record found it; returns the row that it held back, if that is lost."""
        if record.kind == Kind.ROWS and record.number > stream.received:
            _say_missing(stream.name, stream.received, record.number)
            stream.received, stream.open = record.number, None
        if not record.held:
            stream.open = None  # if there was one, it is among those that were released and are lost
        return self.reach(self.released + 1) if record.held and stream.open is None else []

    def _do(self, stream: Stream, record: JournalRecord) -> list[Chunk]:
        match record.kind:
            case Kind.ROWS:
                rows, missing = self._rows_of(stream, record)
                reasons = _reasons(rows, record)
                if black := int((reasons[:missing] == "").sum()):
                    log.error("The journal lost pictures of %d rows of stream %s, from %d on.", black, stream.name, record.number)
                    self.lost += black
                if (reasons != "").any():
                    self.quarantine.keep_again(record.stream, record.number + np.arange(record.count), rows, reasons)
                return self._release(stream.extend(record.number, rows, reasons == ""))
            case Kind.CUT:
                return self._release(stream.cut())
            case Kind.GIVEN_UP:
                return self._given_up(record.stream, record.number)
            case Kind.OWNER:
                stream.owner = str(record.payload, "utf-8")
                return []
            case _:
                stream.reports = record.number
                return []

    def _rows_of(self, stream: Stream, record: JournalRecord) -> tuple[Transition, int]:
        """The rows of a record; the first so many, of quality zero, refer to pictures that the journal lost."""
        if not record.shared:
            rows, missing = row_bytes.decode(self.schema, bytes(record.payload), record.count), 0
        else:
            before = stream.pictures_before(record.number)
            rows, _, missing = shared_pictures.decode(self.schema, bytes(record.payload), record.count, before)
        if missing:
            rows = rows.replace(quality=np.where(np.arange(record.count) < missing, np.float32(0), rows.quality))
        stream.remember(self.schema, record.number, rows)
        return rows, missing

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
        zeros = row_bytes.decode(self.schema, bytes(LOST_ROWS * self.schema.row_bytes), LOST_ROWS)
        starts = range(0, count, LOST_ROWS)
        return [Chunk(LOST, self.released + start, take(zeros, slice(min(LOST_ROWS, count - start)))) for start in starts]


def _reasons(rows: Transition, record: JournalRecord) -> Array:
    """Why rows `[n]` of a record are not learnt from, "" for a good one: as the learner judged that received them. Where its record does
    not say which it refused, it was an earlier version's, whose rule `faults` still has."""
    reasons = faults(rows)
    if not record.refused:
        return reasons
    refused = np.unpackbits(np.frombuffer(record.refused, np.uint8), count=record.count).astype(bool)
    return np.where(refused, np.where(reasons == "", REFUSED_BEFORE, reasons), "")


def _say_missing(name: str, first: int, end: int) -> None:
    log.error("Rows %d to %d of stream %s are missing from the journal.", first, end - 1, name)
