"""What the client says to the learner and when: rows as soon as they may be sent, reports after their rows, signs of life."""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections import deque
from collections.abc import Mapping

import grpc
import jax

from ...agents.base import Agent
from ...data.errors import WarmloopError
from ...data.transition import Array, PyTree, example
from ...data.wire import warmloop_pb2 as pb
from ...data.wire import weights
from ...data.wire.direct import Stub
from ...data.wire.row_schema import Schema
from .buffer import RowBuffer
from .link import Link, LinkLost
from .patience import Patience

BEAT_SECONDS = 1.0  # between two signs of life, which also tell of new weights
ASK_SECONDS = 0.02  # before asking whether rows are durable by now; doubled while they are not
GATHER_SECONDS = 0.025  # in which the rows of quick steps gather for one message: its price is the same for one as for many
GATHER_ROWS = 16  # that are not waited for any longer
PAUSED_SECONDS = 0.05  # between two questions whether the actor may go on
FULL_SECONDS = 0.02  # before asking a full learner again
REPORT_BITS = 32  # of a report's number; the bits above say how often the stream was opened, so that numbers always grow

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Introduction:
    """Who an actor is to its learner.

    Attributes:
        schema: its rows, and the settings that decide them, on which both must agree.
        agent: whose weights it acts by.
        actor_id: its name, which no other actor of the learner has.
    """

    schema: Schema
    agent: Agent
    actor_id: str


class Sender:
    """`exchange` is one round of talk; `run` makes rounds until `closing` is set.

    Attributes:
        rows: what is sent; its lock guards the attributes below too, and `rows.changed` is notified when one changes.
        reports: that have not been sent: number, the row that it follows, and its scalars.
        weights: version, parameters and `time.monotonic()` of the newest weights; None before the first.
        stop: the learner asked the actor to leave.
        deserted: it did, and has ended.
        failure: why the connection has ended for good.
        hellos: sessions so far.
        fetches: whether it fetches the weights; another client of this process may do so for it.
        gather_rows: rows that are sent at once, without waiting for more.
    """

    def __init__(self, stub: Stub | grpc.Channel, introduction: Introduction, patience: float, rows: RowBuffer, background: bool):
        agent = introduction.agent
        self.rows, self._background = rows, background
        self._link = Link(stub, introduction.schema, introduction.actor_id, rows.stream_id)
        self._template = jax.eval_shape(lambda: agent.actor_params(agent.init(jax.random.key(0), example(agent.spec))))
        self._patience = Patience(patience)
        self._ask_after = ASK_SECONDS
        self.reports: deque[tuple[int, int, Mapping[str, float]]] = deque()
        self._next_report = rows.opening << REPORT_BITS
        self.weights: tuple[int, PyTree, float] | None = None
        self.stop = self.deserted = False
        self.failure: BaseException | None = None
        self.hellos, self.fetches = 0, True
        self.gather_rows, self._sent_at = GATHER_ROWS, 0.0
        self.closing = threading.Event()

    @property
    def status(self) -> pb.Status:
        """The learner's newest answer."""
        return self._link.status

    @property
    def connected(self) -> bool:
        """The learner answered when it was last spoken to."""
        return self._link.connected

    @property
    def spent(self) -> bool:
        """The learner asked the actor to leave, and has no room for a single row: its run has all its environment steps."""
        return self.status.directive == pb.STOP and self.status.credits <= 0

    def connect(self) -> None:
        """Says Hello until the learner answers. Raises WarmloopError when it refuses, or patience ends."""
        while not (self._link.connected or self.deserted):
            self.exchange()

    def report(self, scalars: Mapping[str, float]) -> None:
        """Queues a report behind the rows recorded so far; with the lock held."""
        self.reports.append((self._next_report, self.rows.end, dict(scalars)))
        self._next_report += 1

    def run(self) -> None:
        """The thread."""
        try:
            while not self.closing.is_set() and not self.deserted:
                self._await_work()
                self.exchange()
        except WarmloopError as error:
            self.end(error)
        with self.rows.lock:
            self.rows.changed.notify_all()

    def end(self, error: BaseException) -> None:
        """The connection has ended for good; the client raises the reason in the control loop."""
        self.failure = error
        with self.rows.lock:
            self.rows.changed.notify_all()

    def exchange(self) -> None:
        """Says and asks what is due. A lost learner is waited for, up to the limit of patience."""
        link = self._link
        try:
            if not link.connected:
                self._hello()
            self._send_rows()
            self._send_reports()
            if not self._background or self._until_due() <= 0 or self._full:
                self._ask()
            if self.fetches and link.status.weights_version not in (-1, self._version):
                self._fetch_weights()
            self._patience.succeeded()
        except LinkLost as lost:
            if link.status.directive == pb.STOP:
                log.info("The learner has ended.")
                self.deserted = True
            else:
                self.closing.wait(self._patience.failed(str(lost)))

    def goodbye(self) -> None:
        """Ends the session, if there is one."""
        try:
            if self._link.connected and self.failure is None:
                self._link.goodbye()
        except (LinkLost, WarmloopError) as error:
            log.info("The learner did not hear the Goodbye (%s); it closes the episode when the lease runs out.", error)

    @property
    def _version(self) -> int:
        return self.weights[0] if self.weights else -1

    @property
    def _full(self) -> bool:
        """The learner has no room for what waits."""
        return self.rows.sendable > 0 and self._link.status.credits <= 0

    def _await_work(self) -> None:
        """Waits until there is something to send, or something to ask."""
        if self._full:
            self.closing.wait(FULL_SECONDS)
            return
        timeout = max(0.0, self._until_due())
        with self.rows.lock:
            self.rows.changed.wait_for(lambda: self.rows.sendable or self._report_due() or self.closing.is_set(), timeout)
            if self.rows.sendable and not self._report_due():
                self.rows.changed.wait_for(
                    lambda: self._gathered or self.closing.is_set(), self._sent_at + GATHER_SECONDS - time.monotonic()
                )

    @property
    def _gathered(self) -> bool:
        """Whether what is to be sent waits for nothing more; with the lock held."""
        quick = self.rows.sendable - self._link.under_way < self.gather_rows
        return not (self._background and quick and time.monotonic() < self._sent_at + GATHER_SECONDS)

    def _until_due(self) -> float:
        """Seconds until the learner should hear of us again."""
        silence = min(PAUSED_SECONDS if self.status.directive == pb.PAUSE else BEAT_SECONDS, self._link.lease / 3)
        if self.rows.sent > self.rows.first:
            silence = min(silence, self._ask_after)
        return self._link.spoke_at + silence - time.monotonic()

    def _report_due(self) -> bool:
        return bool(self.reports) and self.reports[0][1] <= self.rows.sent

    def _hello(self) -> None:
        with self.rows.lock:  # what an earlier learner received may be lost, so all that is held may have to be sent again
            oldest = self.rows.sent = self.rows.first
        self._link.hello(oldest)
        if self.hellos == 0 and self._link.status.received > self.rows.end:
            log.warning("The learner has rows that the spool here has lost; the stream goes on after them.")
            with self.rows.lock:
                self.rows.skip(self._link.status.received)
        self.hellos += 1
        self._acknowledge()

    def _send_rows(self) -> None:
        """Pushes what may be sent, as far as the learner has room, some messages ahead of its answers."""
        link = self._link
        while True:
            batch = self._next_batch()
            if batch is not None:
                first, count, parts = batch
                self._sent_at = time.monotonic()
                link.send_rows(first, count, parts)
            elif link.under_way:
                link.receive()
                self._ask_after = ASK_SECONDS
                self._acknowledge()
            else:
                return

    def _next_batch(self) -> tuple[int, int, list[dict[str, Array]]] | None:
        """The first row's number, how many there are and the rows, of the next message; None where none may be sent now."""
        rows, link = self.rows, self._link
        if not link.ready:
            return None
        with rows.lock:
            if not (self._gathered or self.closing.is_set()):
                return None
            count = min(min(rows.sendable, link.status.credits) - link.under_way, link.max_rows, rows.block_rows)
            first = rows.sent + link.under_way
            return (first, count, rows.parts(first, count)) if count > 0 else None

    def _send_reports(self) -> None:
        while self._report_due():
            number, _, scalars = self.reports[0]
            self._link.report(number, scalars)
            self.reports.popleft()
            self._acknowledge()

    def _ask(self) -> None:
        held = self.rows.first
        self._link.heartbeat()
        self._acknowledge()
        self._ask_after = ASK_SECONDS if self.rows.first > held else min(2 * self._ask_after, BEAT_SECONDS)

    def _acknowledge(self) -> None:
        """Takes the learner's status in: where to go on, and what may be forgotten."""
        status, rows = self._link.status, self.rows
        with rows.lock:
            if status.received > rows.end:
                raise WarmloopError(f"The learner has {status.received} rows of a stream of {rows.end}; start this actor anew.")
            rows.sent = max(status.received, rows.first)
            # In one process, a crash takes both sides: nothing is gained by keeping what the learner holds.
            rows.forget(status.durable if self._background else status.received)
            self.stop = self.stop or status.directive == pb.STOP
            rows.changed.notify_all()
            if rows.first > status.received:  # past a gap: the learner has to hear of it
                self._link.drop()

    def _fetch_weights(self) -> None:
        snapshot = self._link.weights(self._version)
        if snapshot is not None:
            params = weights.load(snapshot, self._template)
            with self.rows.lock:
                self.weights = (snapshot.version, params, time.monotonic())
                self.rows.changed.notify_all()
