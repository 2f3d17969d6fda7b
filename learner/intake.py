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
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from ..data.transition import PyTree, Transition, length, take
from ..data.wire.schema import Schema
from .actor_records import ActorRecord
from .journal import Journal
from .ledger import Ledger
from .quarantine import Quarantine, faults
from .recovery import Broken, repair, replay
from .sessions import Session, Sessions
from .streams import LOST, Chunk, Queue, Stream
from .terms import Limits, Progress, Report
from .weights_store import WeightsStore

MAX_REPORTS = 10_000

log = logging.getLogger(__name__)


class Intake:
    """See the module.

    Args:
        quarantine: the folder for rows that must not be learnt from; None keeps them nowhere.
        journal: takes what comes, and moves `durable`; without one only `mark_durable` does.
    """

    def __init__(
        self,
        schema: Schema,
        quarantine: str | Path | None = None,
        limits: Limits | None = None,
        clock: Callable[[], float] = time.monotonic,
        journal: Journal | None = None,
    ):
        self.schema, self.limits, self.weights = schema, limits or Limits(), WeightsStore()
        self._held = self._stopped = False
        self._before_pause = self._before_stop = math.inf
        self.capacity = max(1, min(self.limits.queue_rows, self.limits.queue_bytes // schema.row_bytes))
        self.max_rows = max(1, min(self.limits.push_rows, self.limits.frame_bytes // schema.row_bytes, self.capacity))
        self._quarantine = Quarantine(quarantine)
        self._sessions = Sessions(self.limits.actors, clock)
        self._ledger, self.journal = Ledger(schema, self._quarantine, journal), journal
        if journal is not None:
            journal.on_commit = self.mark_durable
        self._orphans: dict[str, float] = {}  # streams of an earlier learner's actors, until they come back or are given up
        self._queue = Queue()
        self._actors: dict[str, ActorRecord] = {}
        self._reports: deque[Report] = deque(maxlen=MAX_REPORTS)
        self._counts: Counter[str] = Counter(received=0, duplicates=0, gaps=0, quarantined=0, lost=0, cut=0)
        self._changed = threading.Condition()

    # The service's side.

    def open(self, actor_id: str, stream_id: str, oldest_held: int, lease: float | None = None) -> tuple[Session, Progress]:
        """Begins a session; the stream goes on where the learner has it. Raises WarmloopError where it is refused.

        `oldest_held` is the oldest row that the actor can still send; `lease` in seconds replaces the limits'.
        """
        with self._changed:
            self._expire()
            session, fenced = self._sessions.open(actor_id, stream_id, self.limits.lease_seconds if lease is None else lease)
            if fenced is not None and fenced.stream_id != stream_id:
                self._cut(fenced.stream_id, f"a newer process took over as {actor_id}")
            stream = self._ledger.stream(stream_id)
            self._orphans.pop(stream_id, None)
            if oldest_held > stream.received:
                lost = oldest_held - stream.received
                log.error("%d rows of %s are lost: it sent them to an earlier learner, which did not save them.", lost, actor_id)
                self._counts["lost"] += lost
                self._put(self._ledger.give_up(stream_id, oldest_held))
            return session, self._progress(stream)

    def accept(self, session_id: str, first: int, rows: Transition, frame: bytes | None = None) -> Progress:
        """Takes rows `[n]` numbered from `first`: what came before is dropped, and after a gap or without room, all.

        `frame` holds the rows' bytes if they are at hand. Raises Fenced or UnknownSession.
        """
        reasons = faults(rows)
        with self._changed:
            stream = self._stream(session_id)
            known = min(max(stream.received - first, 0), length(rows))
            self._counts["duplicates"] += known
            if first > stream.received:
                self._counts["gaps"] += 1
                return self._progress(stream)
            if known:
                first, rows, reasons, frame = first + known, take(rows, slice(known, None)), reasons[known:], None
            if length(rows) == 0 or length(rows) > self._room:
                return self._progress(stream)
            self._put(self._ledger.receive(stream.name, first, rows, reasons == "", frame))
            bad = int((reasons != "").sum())
            self._counts["received"] += length(rows)
            self._counts["quarantined"] += bad
            self._actor(session_id).saw(rows)
            progress = self._progress(stream)
        if bad:  # written before the actor hears that they came, but not under the lock
            self._quarantine.keep(stream.name, first + np.arange(len(reasons)), rows, reasons)
        return progress

    def touch(self, session_id: str) -> Progress:
        """Renews a lease. Raises Fenced or UnknownSession."""
        with self._changed:
            return self._progress(self._stream(session_id))

    def report(self, session_id: str, number: int, scalars: Mapping[str, float]) -> Progress:
        """Takes a report, once; beyond 10,000 that wait, the oldest is dropped. Raises Fenced or UnknownSession."""
        with self._changed:
            stream = self._stream(session_id)
            if number > stream.reports:
                self._ledger.note_report(stream.name, number)
                self._actor(session_id).heard(scalars)
                self._reports.append(Report(self._sessions.get(session_id).actor_id, dict(scalars)))
                self._changed.notify_all()
            return self._progress(stream)

    def close(self, session_id: str) -> Progress:
        """The actor leaves; its open episode is closed as truncated. Raises Fenced or UnknownSession."""
        with self._changed:
            session, stream = self._sessions.get(session_id), self._stream(session_id)
            self._sessions.close(session)
            self._cut(stream.name, "its actor left")
            self._changed.notify_all()
            return self._progress(stream)

    # The loop's side.

    def take(self, max_rows: int) -> list[Chunk]:
        """Up to `max_rows` rows, in order within each stream."""
        with self._changed:
            self._expire()
            return self._queue.take(max_rows)

    def reports(self) -> list[Report]:
        """The reports that came since the last call."""
        with self._changed:
            reports, self._reports = list(self._reports), deque(maxlen=MAX_REPORTS)
            return reports

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

    def admit(self, before_pause: float, before_stop: float = math.inf) -> None:
        """Asks the actors to pause, or to leave, after their episodes as soon as that many rows wait for the loop. It holds while
        the loop is busy with something else, and so keeps actors from running away from a learner that compiles or saves."""
        self._before_pause, self._before_stop = before_pause, before_stop

    @property
    def paused(self) -> bool:
        """Whether actors are asked to pause."""
        return self._held or self._queue.rows >= self._before_pause

    @property
    def stopping(self) -> bool:
        """Whether actors are asked to leave."""
        self._stopped |= self._queue.rows >= self._before_stop
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
                stream = self._ledger.streams[name]
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
            covered, after = chunk.split(max(position - number, 0))
            if length(covered.rows):
                yield number, covered
            if length(after.rows):
                self._queue.put([after])
        repair(self.journal.directory, broken)
        self.restore(state)
        self.mark_durable({name: stream.received for name, stream in self._ledger.streams.items()})
        given_up = self._sessions.clock() + self.limits.lease_seconds
        self._orphans = {name: given_up for name, stream in self._ledger.streams.items() if stream.open is not None}
        self._counts["lost"] += self._ledger.lost

    def statistics(self) -> dict[str, int]:
        """Counts since the start (rows received, duplicates, ...), rows that wait, actors."""
        with self._changed:
            return {**self._counts, "waiting": self._queue.rows, "actors": len(self._sessions.live)}

    def metrics(self) -> dict[str, float]:
        """`statistics` under `intake/`, each actor's numbers under `actors/NAME/`, and the journal's under `journal/`."""
        shown: dict[str, float] = {f"intake/{name}": value for name, value in self.statistics().items()}
        with self._changed:
            now, newest = self._sessions.clock(), self.weights.version
            silence = {session.actor_id: now - session.last_seen for session in self._sessions.live}
            for name, record in self._actors.items():
                shown |= record.metrics(name, silence.get(name), newest)
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
        return self._actors.setdefault(self._sessions.get(session_id).actor_id, ActorRecord())

    def _progress(self, stream: Stream) -> Progress:
        return Progress(stream.received, stream.durable, max(self._room, 0))

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
        if self._orphans:
            late = [name for name, given_up in self._orphans.items() if given_up < self._sessions.clock()]
            for name in late:
                del self._orphans[name]
                self._cut(name, "its actor did not come back")

    def _cut(self, name: str, reason: str) -> None:
        last = self._ledger.cut(name)
        if last:
            log.info("The open episode of stream %s is closed as truncated: %s.", name, reason)
            self._counts["cut"] += 1
            self._put(last)
