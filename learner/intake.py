"""What the learner has from its actors, and for them: rows exactly once and in order, reports, weights, a directive.

The loop's side is `take`, `reports`, `wait`, `publish`, `hold`, `state` and `mark_durable`; the service's side is `open`,
`accept`, `touch`, `report` and `close`. All of it may be called from any thread.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from ..data.transition import PyTree, Transition, length, take
from ..data.wire import MIB
from ..data.wire.schema import Schema
from .quarantine import Quarantine, faults
from .sessions import Session, Sessions
from .streams import Chunk, Queue, Stream
from .weights_store import WeightsStore

MAX_REPORTS = 10_000

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Limits:
    """What the learner grants.

    Attributes:
        queue_rows, queue_bytes: rows that wait for the loop, at most; the smaller of the two holds.
        frame_bytes, push_rows: size of one push, at most.
        actors: at once.
        lease_seconds: silence after which an actor of another process counts as gone.
    """

    queue_rows: int = 50_000
    queue_bytes: int = 1024 * MIB
    frame_bytes: int = 16 * MIB
    push_rows: int = 1024
    actors: int = 16
    lease_seconds: float = 30.0


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far a stream is: `received` and `durable` as in `Stream`, and the rows there is room for."""

    received: int
    durable: int
    credits: int


@dataclasses.dataclass(frozen=True)
class Report:
    """Metrics of one finished episode (or evaluation) of an actor."""

    actor: str
    scalars: Mapping[str, float]


class Intake:
    """See the module. `quarantine` is the folder for rows that must not be learnt from; None keeps them nowhere."""

    def __init__(
        self,
        schema: Schema,
        quarantine: str | Path | None = None,
        limits: Limits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.schema, self.limits, self.weights = schema, limits or Limits(), WeightsStore()
        self._held = self._stopped = False
        self._before_pause = self._before_stop = math.inf
        self.capacity = max(1, min(self.limits.queue_rows, self.limits.queue_bytes // schema.row_bytes))
        self.max_rows = max(1, min(self.limits.push_rows, self.limits.frame_bytes // schema.row_bytes, self.capacity))
        self._quarantine = Quarantine(quarantine)
        self._sessions = Sessions(self.limits.actors, clock)
        self._streams: dict[str, Stream] = {}
        self._queue = Queue()
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
            stream = self._streams.setdefault(stream_id, Stream(stream_id))
            if oldest_held > stream.received:
                lost = oldest_held - stream.received
                log.error("%d rows of %s are lost: it sent them to an earlier learner, which did not save them.", lost, actor_id)
                self._counts["lost"] += lost
                self._cut(stream_id, "the rows after it are lost")
                stream.received = oldest_held
            return session, self._progress(stream)

    def accept(self, session_id: str, first: int, rows: Transition) -> Progress:
        """Takes rows `[n]` numbered from `first`: what came before is dropped, and after a gap or without room, all.

        Raises Fenced or UnknownSession.
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
                first, rows, reasons = first + known, take(rows, slice(known, None)), reasons[known:]
            if length(rows) == 0 or self._queue.rows + length(rows) > self.capacity:
                return self._progress(stream)
            self._queue.put(stream.extend(first, rows, reasons == ""))
            bad = int((reasons != "").sum())
            self._counts["received"] += length(rows)
            self._counts["quarantined"] += bad
            self._changed.notify_all()
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
                stream.reports = number
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
            reports = list(self._reports)
            self._reports.clear()
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

        def none_left() -> bool:
            self._expire()
            return not self._sessions.live

        with self._changed:
            return self._changed.wait_for(none_left, timeout)

    def state(self) -> dict[str, int]:
        """For each stream the number up to which `take` has handed it over: what a checkpoint made now covers."""
        with self._changed:
            held = {name: stream.open.first for name, stream in self._streams.items() if stream.open is not None}
            received = {name: stream.received for name, stream in self._streams.items()}
            return received | held | self._queue.oldest()

    def mark_durable(self, state: Mapping[str, int]) -> None:
        """Tells the actors that they may forget what `state` covers. A run without checkpoints says so of `state()` itself."""
        with self._changed:
            for name, number in state.items():
                self._streams[name].durable = max(self._streams[name].durable, number)

    def restore(self, state: Mapping[str, int]) -> None:
        """Goes on from a checkpoint's `state`: actors send again what came after it."""
        with self._changed:
            self._streams = {name: Stream(name, received=number, durable=number) for name, number in state.items()}

    def statistics(self) -> dict[str, float]:
        """Counts since the start (rows received, duplicates, ...), rows that wait, and each live actor's seconds of silence."""
        with self._changed:
            now = self._sessions.clock()
            silence = {f"silence/{session.actor_id}": now - session.last_seen for session in self._sessions.live}
            return {**self._counts, "waiting": self._queue.rows, "actors": len(self._sessions.live), **silence}

    # With the lock held.

    def _stream(self, session_id: str) -> Stream:
        self._expire()
        return self._streams[self._sessions.get(session_id).stream_id]

    def _progress(self, stream: Stream) -> Progress:
        return Progress(stream.received, stream.durable, self.capacity - self._queue.rows)

    def _expire(self) -> None:
        for session in self._sessions.expire():
            log.warning("Nothing heard of %s for %.0f s: it counts as gone.", session.actor_id, session.lease)
            self._cut(session.stream_id, "its actor is gone")

    def _cut(self, name: str, reason: str) -> None:
        last = self._streams[name].cut()
        if last:
            log.info("The open episode of stream %s is closed as truncated: %s.", name, reason)
            self._counts["cut"] += 1
            self._queue.put(last)
            self._changed.notify_all()
