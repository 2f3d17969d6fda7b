"""The actor's side of the wire: keeps rows until the learner has them safe, sends them, and fetches weights.

With a thread of its own (`background`) the control loop never waits for the network. Without, everything happens inside
the calls, in order, so that a lock-step run is deterministic.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Mapping

import grpc
import jax

from ..agents.base import Agent
from ..data.errors import WarmloopError
from ..data.transition import PyTree, Transition, example, length
from ..data.wire import warmloop_pb2 as pb
from ..data.wire import weights
from ..data.wire.direct import Stub
from ..data.wire.schema import Schema
from .buffer import RowBuffer
from .config import ActorConfig
from .link import Link, LinkLost, open_channel
from .patience import Patience

BATCH_ROWS = 64  # rows that are worth a call
LINGER_SECONDS = 0.05  # that a row waits for others
BEAT_SECONDS = 1.0  # between two signs of life, which also tell of new weights
FULL_SECONDS = 0.02  # before asking a full learner again
ROBOT_OVERSHOOT = 1.25  # of the buffer's capacity, so that a robot can end its episode

log = logging.getLogger(__name__)


class Client:
    """One actor's connection. Says Hello when made, and waits for the learner up to `config.patience` seconds.

    Every method raises WarmloopError when the connection has ended for good: refused, taken over by another process of the
    same name, out of patience, or broken.
    """

    def __init__(
        self,
        stub: Stub | grpc.Channel,
        schema: Schema,
        agent: Agent,
        actor_id: str,
        config: ActorConfig | None = None,
        *,
        background: bool = True,
        buffer: RowBuffer | None = None,
    ):
        self._config = config or ActorConfig()
        self._background, self._channel = background, stub if isinstance(stub, grpc.Channel) else None
        self._buffer = RowBuffer(schema) if buffer is None else buffer
        self._link = Link(stub, schema, actor_id, self._buffer.stream_id)
        self._template = jax.eval_shape(lambda: agent.actor_params(agent.init(jax.random.key(0), example(agent.spec))))
        self._patience = Patience(self._config.patience)
        self._hellos = self._reported = self._urgent = 0  # urgent: calls of flush under way
        self._reports: deque[tuple[int, dict[str, float]]] = deque()
        self._weights: tuple[int, PyTree] | None = None
        self._failure: Exception | None = None
        self._stop = self._deserted = self._closed = False
        self._closing = threading.Event()
        self._changed = threading.Condition()
        while not (self._link.connected or self._deserted):
            self._exchange()
        self._thread = threading.Thread(target=self._run, name="client", daemon=True)
        if background:
            self._thread.start()

    @classmethod
    def connect(cls, address: str, schema: Schema, agent: Agent, actor_id: str, config: ActorConfig | None = None) -> Client:
        """A client of the learner at `host:port`, over gRPC."""
        channel = open_channel(address)
        try:
            return cls(channel, schema, agent, actor_id, config)
        except BaseException:
            channel.close()
            raise

    def statistics(self) -> dict[str, int]:
        """Reconnects; rows pending; rows that a full buffer gave up unprotected: lost if the learner crashes before it saves."""
        return {"reconnects": self._hellos - 1, "pending": self._buffer.pending, "unprotected": self._buffer.unprotected}

    @property
    def stopped(self) -> bool:
        """The actor shall finish its episode and leave: the learner said so, or `stop` was called."""
        self._raise_failure()
        return self._stop

    @property
    def paused(self) -> bool:
        """The actor shall finish its episode and wait: for the learner, or (a robot) for room in the buffer."""
        self._raise_failure()
        if not self._background:  # in lock step the learner has caught up before the actor can ask
            return False
        full = not self._config.simulator and self._buffer.pending >= self._buffer.capacity
        return full or self._link.status.directive == pb.PAUSE

    def stop(self) -> None:
        """Makes `stopped` true. Takes no lock: signal handlers call it."""
        self._stop = True

    def record(self, rows: Transition) -> None:
        """Takes one row (leaves without a leading axis) or rows `[n]` over; copies them.

        Waits only when the buffer is full of rows that the learner has not received and the environment is a simulator.
        """
        self._raise_failure()
        with self._changed:
            self._make_room(1 if rows.reward.ndim == 0 else length(rows))
            before = self._buffer.pending
            self._buffer.append(rows)
            if before == 0 or self._buffer.pending >= BATCH_ROWS:
                self._changed.notify_all()
        if not self._background:
            self._exchange()

    def report(self, scalars: Mapping[str, float]) -> None:
        """Sends metrics of a finished episode or evaluation, after the rows recorded so far."""
        self._raise_failure()
        with self._changed:
            self._reports.append((self._reported, dict(scalars)))
            self._reported += 1
            self._changed.notify_all()
        if not self._background:
            self._exchange()

    def newest_weights(self) -> tuple[int, PyTree] | None:
        """Version and parameters (NumPy leaves) that came last; None before the first. Never waits for the network."""
        self._raise_failure()
        if not self._background:
            self._exchange()
        return self._weights

    def wait_for_weights(self, timeout: float) -> tuple[int, PyTree]:
        """As `newest_weights`, after waiting up to `timeout` seconds for the first."""
        deadline = time.monotonic() + timeout
        while (newest := self.newest_weights()) is None:
            if self._stop or time.monotonic() >= deadline:
                raise WarmloopError(f"The learner offered no weights within {timeout:.0f} s; see that it has begun to learn.")
            with self._changed:
                self._changed.wait(0.1)
        return newest

    def flush(self, timeout: float = 30.0) -> None:
        """Waits until the learner has received every row and report. Raises WarmloopError after `timeout` seconds."""
        if not self._background:
            self._exchange()
        deadline = time.monotonic() + timeout
        with self._changed:
            self._urgent += 1
            self._changed.notify_all()
            try:
                while (self._buffer.pending or self._reports) and not self._deserted and time.monotonic() < deadline:
                    self._raise_failure()
                    self._changed.wait(0.1)
            finally:
                self._urgent -= 1
            if self._buffer.pending or self._reports:
                raise WarmloopError(f"{self._buffer.pending} rows and {len(self._reports)} reports did not reach the learner.")

    def close(self, timeout: float = 10.0) -> None:
        """Flushes, says Goodbye and ends the thread. Rows left behind are an error, unless the actor was told to stop."""
        if self._closed:
            return
        self._closed = True
        try:
            self._raise_failure()
            self.flush(timeout)
        except WarmloopError as error:
            if not self._stop:
                raise
            log.warning("%s", error)
        finally:
            self._leave()

    def _raise_failure(self) -> None:
        if isinstance(self._failure, WarmloopError):
            raise self._failure
        if self._failure is not None:
            raise WarmloopError(f"The thread that talks to the learner broke: {self._failure!r}.") from self._failure

    def _make_room(self, count: int) -> None:
        """With the lock held: makes or awaits room for rows."""
        buffer = self._buffer
        while (excess := len(buffer) + count - buffer.capacity) > 0 and not self._stop:
            buffer.yield_room(excess)
            if len(buffer) == 0 or len(buffer) + count <= buffer.capacity:
                return
            if self._background and self._config.simulator:
                self._changed.wait(0.1)
                self._raise_failure()
            elif self._background and len(buffer) + count <= ROBOT_OVERSHOOT * buffer.capacity:
                return
            else:
                raise WarmloopError(f"The buffer is full: {len(buffer)} rows wait for a learner that does not take them.")

    def _run(self) -> None:
        """The thread."""
        try:
            while not self._closing.is_set() and not self._deserted:
                self._await_work()
                self._exchange()
        except Exception as error:  # handed to the control loop, which raises it at its next call
            self._failure = error
        with self._changed:
            self._changed.notify_all()

    def _await_work(self) -> None:
        """Waits until a batch is full, its first row old enough, or a sign of life due."""
        if self._buffer.pending and self._link.status.credits <= 0:
            self._closing.wait(FULL_SECONDS)
            return
        with self._changed:
            due = max(0.0, self._silence_left())
            self._changed.wait_for(lambda: self._buffer.pending or self._reports or self._urgent or self._closing.is_set(), due)
            if self._buffer.pending:
                self._changed.wait_for(lambda: self._buffer.pending >= BATCH_ROWS or self._urgent or self._closing.is_set(), LINGER_SECONDS)

    def _silence_left(self) -> float:
        return self._link.spoke_at + min(BEAT_SECONDS, self._link.lease / 3) - time.monotonic()

    def _exchange(self) -> None:
        """Says and asks what is due. A lost learner is waited for, up to the limit of patience."""
        link = self._link
        try:
            if not link.connected:
                with self._changed:  # what an earlier learner received may be lost, so nothing of it is given up now
                    oldest = self._buffer.sent = self._buffer.first
                link.hello(oldest)
                self._hellos += 1
                self._acknowledge()
            self._send_rows()
            while self._reports:
                link.report(*self._reports[0])
                self._reports.popleft()
            if not self._background or self._silence_left() <= 0 or link.status.credits <= 0:
                link.heartbeat()
            self._acknowledge()
            if link.status.weights_version not in (-1, self._weights[0] if self._weights else -1):
                self._fetch_weights()
            self._patience.succeeded()
        except LinkLost as lost:
            if link.status.directive == pb.STOP:
                log.info("The learner has ended.")
                self._deserted = True
            else:
                self._closing.wait(self._patience.failed(str(lost)))

    def _send_rows(self) -> None:
        """Pushes what waits, as far as the learner has room."""
        while True:
            with self._changed:
                first, count = self._buffer.sent, min(self._buffer.pending, self._link.max_rows, self._link.status.credits)
                if count <= 0:
                    return
                frame = self._buffer.frame(first, count)
            self._link.push(first, count, frame)
            self._acknowledge()

    def _acknowledge(self) -> None:
        """Takes the learner's status in: where to go on, and what may be forgotten."""
        status = self._link.status
        with self._changed:
            if status.received > self._buffer.end:
                raise WarmloopError(f"The learner has {status.received} rows of a stream of {self._buffer.end}; start this actor anew.")
            self._buffer.sent = status.received
            # In one process, a crash takes both sides: nothing is gained by keeping what the learner holds.
            self._buffer.forget(status.durable if self._background else status.received)
            self._stop = self._stop or status.directive == pb.STOP
            self._changed.notify_all()

    def _fetch_weights(self) -> None:
        snapshot = self._link.weights(self._weights[0] if self._weights else -1)
        if snapshot is not None:
            params = weights.load(snapshot, self._template)
            with self._changed:
                self._weights = (snapshot.version, params)
                self._changed.notify_all()

    def _leave(self) -> None:
        with self._changed:
            self._closing.set()
            self._changed.notify_all()
        if self._background:
            self._thread.join()
        try:
            if self._link.connected and self._failure is None:
                self._link.goodbye()
        except (LinkLost, WarmloopError) as error:
            log.info("The learner did not hear the Goodbye (%s); it closes the episode when the lease runs out.", error)
        if self._channel is not None:
            self._channel.close()
