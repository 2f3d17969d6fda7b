"""The control loop's side of the connection to the learner: rows and reports go in, weights and directives come out.

With a thread of its own (`background`) the control loop never waits for the network. Without, everything happens inside
the calls, in order, so that a lock-step run is deterministic.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Mapping

import grpc
import numpy as np

from ...data.errors import WarmloopError
from ...data.running.threads import vital_thread
from ...data.transition import PyTree, Transition, length
from ...data.wire import warmloop_pb2 as pb
from ...data.wire.direct import Stub
from ..config import ActorConfig
from .buffer import RowBuffer
from .link import open_channel
from .sender import Introduction, Sender

ROWS_AHEAD = 32  # that a simulator may have on their way before it waits for an answer
LEAST_AHEAD = 8  # of each of an actor's simulators
ROBOT_OVERSHOOT = 1.25  # of the buffer's capacity, so that a robot can end its episode
LAST_ACKNOWLEDGEMENT_SECONDS = 2.0

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Among:
    """A client's place among those of an actor with several environments, each of which has a stream of its own.

    Attributes:
        count: how many there are.
        leader: the one that fetches the weights for all; None for that one itself.
    """

    count: int = 1
    leader: Client | None = None


class Client:
    """One actor's connection. Says Hello when made, and waits for the learner up to `config.patience` seconds.

    `rows` is a spool's, so that they outlive this process; without it they are kept in memory alone. A gRPC channel given as
    `stub` is closed with the client.

    Every method raises WarmloopError when the connection has ended for good: refused, taken over by another process of the
    same name, out of patience, or broken.
    """

    def __init__(
        self,
        stub: Stub | grpc.Channel,
        introduction: Introduction,
        config: ActorConfig | None = None,
        *,
        background: bool = True,
        rows: RowBuffer | None = None,
        among: Among | None = None,
    ):
        self._config, self._among = config or ActorConfig(), among or Among()
        self._background, self._channel = background, stub if isinstance(stub, grpc.Channel) else None
        self._rows = RowBuffer(introduction.schema) if rows is None else rows
        self.actor_id, self._interrupted, self._closed = introduction.actor_id, False, False
        try:
            self._sender = Sender(stub, introduction, self._config.patience, self._rows, background)
            self._most_ahead = max(LEAST_AHEAD, ROWS_AHEAD // self._among.count)
            self._sender.gather_rows = self._most_ahead // 2
            self._sender.fetches = self._among.leader is None
            self._sender.connect()
        except BaseException:
            self._close_channel()
            raise
        self._thread = vital_thread(self._sender.run, "client", "talks to the learner", lambda name, error: self._sender.end(error))
        if background:
            self._thread.start()

    @classmethod
    def connect(cls, address: str, introduction: Introduction, config: ActorConfig | None = None, rows: RowBuffer | None = None) -> Client:
        """A client of the learner at `host:port`, over gRPC on this machine."""
        return cls(open_channel(address), introduction, config, rows=rows)

    def statistics(self) -> dict[str, int]:
        """Reconnects; rows that the learner has not received (`pending`), and that it does not have on disk (`held`)."""
        return {"reconnects": self._sender.hellos - 1, "pending": self._rows.pending, "held": len(self._rows)}

    @property
    def stopped(self) -> bool:
        """The actor shall finish its episode and leave: the learner said so, or `stop` was called."""
        self._raise_failure()
        return self._interrupted or self._sender.stop

    @property
    def ahead(self) -> bool:
        """So many rows are on their way that the learner's wish to pause may be, too. Never of a learner that is gone."""
        return self._background and self._sender.connected and self._rows.pending > self._most_ahead

    @property
    def spent(self) -> bool:
        """The learner wants the actor to leave and takes no further row, not even of the running episode."""
        return self._sender.spent

    @property
    def interrupted(self) -> bool:
        """`stop` was called: a person or a supervisor wants the actor to end."""
        return self._interrupted

    @property
    def paused(self) -> bool:
        """The actor shall finish its episode and wait: a simulator for the learner, a robot only for room or for its disk."""
        self._raise_failure()
        if not self._background:  # in lock step the learner has caught up before the actor can ask
            return False
        if self._config.simulator:
            return self._sender.status.directive == pb.PAUSE
        return len(self._rows) >= self._rows.capacity or bool(self._rows.trouble)

    @property
    def newest_version(self) -> int:
        """The newest weights' version that the learner has told of, fetched or not; -1 before the first."""
        return self._sender.status.weights_version

    @property
    def weights_age(self) -> float:
        """Seconds since the newest weights came; 0 before the first."""
        if self._among.leader is not None:
            return self._among.leader.weights_age
        newest = self._sender.weights
        return 0.0 if newest is None else time.monotonic() - newest[2]

    def stop(self) -> None:
        """Makes `stopped` true. Takes no lock: signal handlers call it."""
        self._interrupted = True

    def record(self, rows: Transition) -> None:
        """Takes one row (leaves without a leading axis) or rows `[n]` over; copies them.

        Waits only where the environment is a simulator and the buffer is full of rows that the learner does not have on disk, or
        the spool cannot be written.
        """
        self._raise_failure()
        with self._rows.lock:
            self._make_room(1 if rows.reward.ndim == 0 else length(rows), bool(np.any(rows.intervened)))
            self._rows.append(rows)
        if not self._background:
            self._sender.exchange()

    def report(self, scalars: Mapping[str, float]) -> None:
        """Sends metrics of a finished episode or evaluation, after the rows recorded so far."""
        self._raise_failure()
        with self._rows.lock:
            self._sender.report(scalars)
            self._rows.changed.notify_all()
        if not self._background:
            self._sender.exchange()

    def newest_weights(self) -> tuple[int, PyTree] | None:
        """Version and parameters (NumPy leaves) that came last; None before the first. Never waits for the network."""
        self._raise_failure()
        if self._among.leader is not None:
            return self._among.leader.newest_weights()
        if not self._background:
            self._sender.exchange()
        return self._sender.weights and self._sender.weights[:2]

    def wait_for_weights(self, timeout: float) -> tuple[int, PyTree]:
        """As `newest_weights`, after waiting up to `timeout` seconds for the first."""
        deadline = time.monotonic() + timeout
        while (newest := self.newest_weights()) is None:
            if self.stopped or time.monotonic() >= deadline:
                raise WarmloopError(f"The learner offered no weights within {timeout:.0f} s; see that it has begun to learn.")
            with self._rows.lock:
                self._rows.changed.wait(0.1)
        return newest

    def flush(self, timeout: float = 30.0) -> None:
        """Waits until the learner has received every row and report. Raises WarmloopError after `timeout` seconds."""
        if not self._background:
            self._sender.exchange()
        sender, deadline = self._sender, time.monotonic() + timeout
        with self._rows.lock:
            while (self._rows.pending or sender.reports) and not (sender.deserted or sender.spent) and time.monotonic() < deadline:
                self._raise_failure()
                self._rows.changed.wait(0.1)
            if sender.spent and self._rows.pending:
                log.info("The run has all its environment steps: %d rows beyond them are not sent.", self._rows.pending)
            elif self._rows.pending or sender.reports:
                kept = "" if self._rows.writer is None else " The rows stay in the spool and are sent when this actor starts again."
                left = {"rows": self._rows.pending, "reports": len(sender.reports)}
                said = " and ".join(f"{count} {what}" for what, count in left.items() if count)
                raise WarmloopError(f"{said} did not reach the learner.{kept if left['rows'] else ''}")

    def close(self, timeout: float = 10.0) -> None:
        """Flushes, says Goodbye and ends the thread. Rows left behind are an error, unless the actor was told to stop."""
        if self._closed:
            return
        self._closed = True
        try:
            self._raise_failure()
            self.flush(timeout)
            self._await_durable(min(timeout, LAST_ACKNOWLEDGEMENT_SECONDS))
        except WarmloopError as error:
            if not (self._interrupted or self._sender.stop):
                raise
            log.warning("%s", error)
        finally:
            self._leave()

    def _raise_failure(self) -> None:
        failure = self._sender.failure or self._rows.failure
        if isinstance(failure, WarmloopError):
            raise failure
        if failure is not None:
            thread = "talks to the learner" if self._sender.failure else "writes the spool"
            raise WarmloopError(f"The thread that {thread} broke: {failure!r}.") from failure

    def _make_room(self, count: int, intervened: bool) -> None:
        """With the lock held: awaits room for rows. Rows of a human's intervention are never refused."""
        rows = self._rows
        while len(rows) and (rows.trouble or len(rows) + count > rows.capacity) and not (self._interrupted or self._sender.stop):
            if self._background and self._config.simulator:
                rows.changed.wait(0.1)
                self._raise_failure()
            elif self._background and (intervened or len(rows) + count <= ROBOT_OVERSHOOT * rows.capacity):
                return
            else:
                raise WarmloopError(rows.trouble or f"The buffer is full: {len(rows)} rows wait for a learner that does not save them.")

    def _await_durable(self, timeout: float) -> None:
        """Gives the learner a moment to acknowledge, so that a spool need not keep what nobody will send again."""
        if self._rows.writer is not None and not self._sender.deserted:
            with self._rows.lock:
                self._rows.changed.wait_for(lambda: len(self._rows) == 0 or self._sender.failure, timeout)

    def _leave(self) -> None:
        self._sender.closing.set()
        with self._rows.lock:
            self._rows.changed.notify_all()
        if self._background:
            self._thread.join()
        self._sender.goodbye()
        self._close_channel()

    def _close_channel(self) -> None:
        if self._channel is not None:
            self._channel.close()
