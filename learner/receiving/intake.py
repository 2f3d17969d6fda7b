"""What the learner has from its actors, and for them: rows exactly once and in order, reports, weights, a directive.

The loop's side is `recover`, `take`, `reports`, `wait`, `publish`, `admit` and `state`; the service's side is `open`, `accept`,
`touch`, `report` and `close`. All of it may be called from any thread. What came goes to the journal, whose commits move `durable`;
nothing here waits for the disk.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from ...data.plausible import PlausibleLimits
from ...data.running.seldom import Seldom
from ...data.transition import PyTree, Transition, length, take
from ...data.wire.row_schema import Schema
from ...data.wire.shared_pictures import Packed, Pictures
from ..journal.journal import Journal
from ..journal.ledger import Ledger
from ..journal.quarantine import Quarantine, faults
from ..journal.recovery import Broken, believed, repair, replay
from ..journal.streams import LOST, Chunk, Queue, Stream
from .actor_records import ActorRecord, ActorRecords
from .reports import ReportQueue
from .sessions import Session, Sessions
from .terms import Limits, Progress, Report
from .weights_store import WeightsStore

log = logging.getLogger(__name__)


class Intake:
    """See the module.

    Args:
        quarantine: the folder for rows that must not be learnt from; None keeps them nowhere.
        journal: takes what comes, and moves `durable`; without one only `mark_durable` does.
        plausible: what is believed of a row; without it every finite number is.
    """

    def __init__(
        self,
        schema: Schema,
        quarantine: str | Path | None = None,
        limits: Limits | None = None,
        clock: Callable[[], float] = time.monotonic,
        journal: Journal | None = None,
        plausible: PlausibleLimits | None = None,
    ):
        self.schema, self.limits, self.weights = schema, limits or Limits(), WeightsStore()
        self._held = self._stopped = False
        self._before_pause = math.inf
        self.capacity = max(1, min(self.limits.queue_rows, self.limits.queue_bytes // schema.row_bytes))
        self.max_rows = max(1, min(self.limits.push_rows, self.limits.frame_bytes // schema.row_bytes, self.capacity))
        self._quarantine, self._plausible = Quarantine(quarantine), plausible
        self._sessions = Sessions(self.limits.actors, clock)
        self._ledger, self.journal = Ledger(schema, self._quarantine, journal), journal
        if journal is not None:
            journal.on_commit = self.mark_durable
        self._queue = Queue()
        self._actors = ActorRecords()
        self._reports, self._say_lost = ReportQueue(), Seldom(log, level=logging.ERROR)
        self._counts: Counter[str] = Counter(received=0, duplicates=0, gaps=0, quarantined=0, lost=0, cut=0)
        self._changed = threading.Condition()

    # The service's side.

    def open(self, actor_id: str, stream_id: str, oldest_held: int, lease: float | None = None) -> tuple[Session, Progress]:
        """Begins a session; the stream goes on where the learner has it. Raises WarmloopError where it is refused.

        `oldest_held` is the oldest row that the actor can still send; `lease` in seconds replaces the limits'.
        """
        with self._changed:
            self._expire()
            self._ledger.check_owner(stream_id, actor_id)
            session, fenced = self._sessions.open(actor_id, stream_id, self.limits.lease_seconds if lease is None else lease)
            if fenced is not None and fenced.stream_id != stream_id:
                self._cut(fenced.stream_id, f"a newer process took over as {actor_id}")
            stream = self._ledger.open(stream_id, actor_id)
            if oldest_held > stream.received:
                lost = oldest_held - stream.received
                self._say_lost("%d rows of %s are lost: it sent them to an earlier learner, which did not save them.", lost, actor_id)
                self._counts["lost"] += lost
                self._put(self._ledger.give_up(stream_id, oldest_held))
            self._ledger.forget(self._sessions.busy_streams | self._queue.oldest().keys())
            return session, self._progress(stream)

    def pictures_before(self, session_id: str, first: int) -> Pictures | None:
        """What the cameras showed after the row before number `first`; None where that is not the newest row of the session's stream.
        Raises Fenced or UnknownSession."""
        with self._changed:
            return self._stream(session_id).pictures_before(first)

    def accept(self, session_id: str, first: int, rows: Transition, frame: Packed | None = None) -> Progress:
        """Takes rows `[n]` numbered from `first`: what came before is dropped, and after a gap or without room, all.

        `frame` holds the rows' bytes if they are at hand. Raises Fenced or UnknownSession.
        """
        reasons = faults(rows, self._plausible)
        with self._changed:
            stream = self._stream(session_id)
            known = min(max(stream.received - first, 0), length(rows))
            self._counts["duplicates"] += known
            if first > stream.received:
                self._counts["gaps"] += 1
                return self._progress(stream)
            if known:
                first, rows, reasons, frame = first + known, take(rows, slice(known, None)), reasons[known:], None
            rows, reasons, frame = self._ledger.within(rows, reasons, frame)
            if length(rows) == 0 or length(rows) > self._room:
                return self._progress(stream)
            self._put(self._ledger.receive(stream.name, first, rows, reasons == "", frame))
            self._stopped |= not (self._ledger.plenty or self._ledger.left)
            bad = int((reasons != "").sum())
            self._counts["received"] += length(rows)
            self._counts["quarantined"] += bad
            self._actor(session_id).saw(rows)
            progress, received = self._progress(stream), self._counts["received"]
        if bad:  # written before the actor hears that they came, but not under the lock
            self._quarantine.keep(stream.name, first + np.arange(len(reasons)), rows, reasons, received)
        return progress

    def touch(self, session_id: str) -> Progress:
        """Renews a lease. Raises Fenced or UnknownSession."""
        with self._changed:
            return self._progress(self._stream(session_id))

    def report(self, session_id: str, number: int, scalars: Mapping[str, float]) -> Progress:
        """Takes a report, once; of an actor that sends more of them than rows it is dropped. Raises Fenced or UnknownSession."""
        with self._changed:
            stream = self._stream(session_id)
            if number > stream.reports:
                actor = self._actor(session_id)
                if actor.may_report(self._sessions.clock()):
                    self._ledger.note_report(stream.name, number)
                    self._reports.put(self._sessions.get(session_id).actor_id, actor, scalars)
                    self._changed.notify_all()
                else:
                    stream.reports, self._reports.dropped = number, self._reports.dropped + 1
            return self._progress(stream)

    def close(self, session_id: str) -> Progress:
        """The actor leaves; its open episode is closed as truncated. Raises Fenced or UnknownSession."""
        with self._changed:
            session, stream = self._sessions.get(session_id), self._stream(session_id)
            self._sessions.close(session)
            self._cut(stream.name, "its actor left")
            self._changed.notify_all()
            return self._progress(stream)

    def owner(self, session_id: str) -> str | None:
        """The actor that a session was opened for; None for an unknown session."""
        return self._sessions.owner(session_id)

    def pulse(self) -> None:
        """To be called every second where actors are other processes: ends sessions whose lease ran out."""
        with self._changed:
            self._sessions.pulse()
            self._expire()

    # The loop's side.

    def take(self, max_rows: int) -> list[Chunk]:
        """Up to `max_rows` rows, in order within each stream."""
        with self._changed:
            self._expire()
            return self._queue.take(max_rows)

    def reports(self) -> list[Report]:
        """The reports that came since the last call."""
        with self._changed:
            return self._reports.take()

    def wait(self, timeout: float) -> bool:
        """Waits until there are rows or reports, at most `timeout` seconds; whether there are."""
        with self._changed:
            self._expire()
            return self._changed.wait_for(lambda: self._queue.rows > 0 or len(self._reports) > 0, timeout)

    def publish(self, version: int, params: PyTree) -> None:
        """Makes `params` (of `agent.actor_params`) the weights that actors fetch; they may be donated afterwards."""
        self.weights.publish(version, params)

    def hold(self, paused: bool) -> None:
        """Asks the actors to pause after their episodes, or to go on."""
        self._held = paused

    def admit(self, before_pause: float, budget: float = math.inf) -> None:
        """Asks the actors to pause as soon as that many rows wait for the loop, and to leave once `budget` rows came in all, beyond which
        none is taken. It holds while the loop is busy, and so keeps actors from running away from one that compiles or saves."""
        with self._changed:
            self._before_pause, self._ledger.budget = before_pause, budget
            self._stopped |= not self._ledger.left

    @property
    def paused(self) -> bool:
        """Whether actors are asked to pause."""
        return self._held or self._queue.rows >= self._before_pause

    @property
    def stopping(self) -> bool:
        """Whether actors are asked to leave."""
        return self._stopped

    def stop(self) -> None:
        """Asks the actors to leave after their episodes."""
        self._stopped = True

    def wait_for_goodbyes(self, timeout: float) -> bool:
        """Waits until no actor is left, at most `timeout` seconds; whether none is."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._live(), timeout)

    def state(self) -> dict[str, int]:
        """For each stream the number up to which `take` has handed it over: what a checkpoint made now covers."""
        with self._changed:
            streams = self._ledger.streams.items()
            received = {name: stream.received for name, stream in streams}
            held = {name: stream.open.first for name, stream in streams if stream.open is not None}
            return received | held | {name: first for name, first in self._queue.oldest().items() if name != LOST}

    def mark_durable(self, state: Mapping[str, int]) -> None:
        """The rows below these numbers are on disk: their actors may forget them."""
        with self._changed:
            for name, number in state.items():
                if (stream := self._ledger.streams.get(name)) is not None:  # else it was forgotten meanwhile
                    stream.durable = max(stream.durable, number)

    def restore(self, state: Mapping[str, int]) -> None:
        """Goes on from a checkpoint's `state`: what it covers is not taken again."""
        with self._changed:
            for name, number in state.items():
                stream = self._ledger.stream(name)
                if self.journal is not None and stream.received < number:
                    log.error("Rows %d to %d of stream %s are missing from the journal.", stream.received, number - 1, name)
                stream.received = stream.durable = max(stream.received, number)

    def recover(self, position: int, state: Mapping[str, int], since: int = 0) -> Iterator[tuple[int, Chunk]]:
        """Goes on from the journal and a checkpoint that covers its first `position` released rows and `state` of the streams.

        Yields the rows before `position` as `(number, chunk)`, for the pool; of those from `since` on none is left out: what the
        journal lost comes as rows of stream LOST. The rows after `position` wait for `take`. To be exhausted before any other call.
        """
        assert self.journal is not None
        self._ledger.released = since
        broken: list[Broken] = []
        for number, chunk in replay(self.journal.directory, self._ledger, position, broken):
            chunk, refused = believed(chunk, self._plausible, self.schema)
            self._counts["quarantined"] += refused
            covered, after = chunk.split(max(position - number, 0))
            if length(covered.rows):
                yield number, covered
            if length(after.rows):
                self._queue.put([after])
        repair(self.journal.directory, broken)
        self.restore(state)
        self._ledger.forget_pictures()
        self.mark_durable({name: stream.received for name, stream in self._ledger.streams.items()})
        self._sessions.expect((stream.name for stream in self._ledger.streams.values() if stream.open), self.limits.lease_seconds)
        self._counts["lost"] += self._ledger.lost

    def statistics(self) -> dict[str, int]:
        """Counts since the start (rows received, duplicates, ...), rows that wait, actors."""
        with self._changed:
            reports = {"reports_dropped": self._reports.dropped, "numbers_left_out": self._reports.left_out}
            return {**self._counts, **reports, "waiting": self._queue.rows, "actors": len(self._sessions.live)}

    def metrics(self) -> dict[str, float]:
        """`statistics` under `intake/`, each actor's numbers under `actors/NAME/`, and the journal's under `journal/`."""
        shown: dict[str, float] = {f"intake/{name}": value for name, value in self.statistics().items()}
        with self._changed:
            now = self._sessions.clock()
            silence = {session.actor_id: now - session.last_seen for session in self._sessions.live}
            shown |= self._actors.metrics(silence, self.weights.version)
        return shown | ({} if self.journal is None else self.journal.metrics())

    # With the lock held.

    @property
    def _room(self) -> int:
        """Rows that can be taken: few when the loop or the disk is slow, and none while the disk fails."""
        if self.journal is not None and self.journal.failing:
            return 0
        return self.capacity - max(self._queue.rows, 0 if self.journal is None else self.journal.waiting_rows)

    def _stream(self, session_id: str) -> Stream:
        self._expire()
        return self._ledger.streams[self._sessions.get(session_id).stream_id]

    def _actor(self, session_id: str) -> ActorRecord:
        return self._actors.of(self._sessions.get(session_id).actor_id)

    def _progress(self, stream: Stream) -> Progress:
        return Progress(
            stream.received, stream.durable, int(max(self._room, 0) if self._ledger.plenty else min(max(self._room, 0), self._ledger.left))
        )

    def _put(self, chunks: list[Chunk]) -> None:
        self._queue.put(chunks)
        self._changed.notify_all()

    def _live(self) -> list[Session]:
        self._expire()
        return self._sessions.live

    def _expire(self) -> None:
        for session in self._sessions.expire():
            log.warning("Nothing heard of %s for %.0f s: it counts as gone.", session.actor_id, session.lease)
            self._cut(session.stream_id, "its actor is gone")
        for name in self._sessions.abandoned():
            self._cut(name, "its actor did not come back")

    def _cut(self, name: str, reason: str) -> None:
        last = self._ledger.cut(name)
        if last:
            log.info("The open episode of stream %s is closed as truncated: %s.", name, reason)
            self._counts["cut"] += 1
            self._put(last)
