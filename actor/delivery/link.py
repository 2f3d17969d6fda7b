"""One actor's conversation with the learner: each call with a deadline, each answer remembered, each failure classed."""

from __future__ import annotations

import contextlib
import queue
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import grpc

from ...data.errors import WarmloopError
from ...data.transition import Array
from ...data.wire import END_OF_NUMBERS, PROTOCOL_MAX, PROTOCOL_MIN, SHARED_PICTURES, row_bytes, weights
from ...data.wire import warmloop_pb2 as pb
from ...data.wire.direct import Stub
from ...data.wire.row_schema import Schema
from ...data.wire.shared_pictures import Packer
from ...data.wire.warmloop_pb2_grpc import LearnerStub
from .channel import open_channel as open_channel
from .failures import meaning

CALL_SECONDS = 5.0
TRANSFER_SECONDS = 30.0  # for calls that carry rows or weights
STREAM_SECONDS = TRANSFER_SECONDS / 2  # after which a call that carries rows is ended, and another begun
UNANSWERED = 32  # pushes under way at once
FATAL = {
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.UNIMPLEMENTED,
}


class LinkLost(Exception):  # noqa: N818 (not an error yet: the client says Hello again)
    """The learner did not answer, or no longer knows this session."""


class Pushes:
    """One call that carries rows: requests are sent as they come, and their answers taken in the same order."""

    def __init__(self, stub: Any):
        self._requests: queue.SimpleQueue[pb.PushRequest | None] = queue.SimpleQueue()
        self._answers: Iterator[pb.Status] = stub.Push(iter(self._requests.get, None), timeout=TRANSFER_SECONDS)
        self._ends_at = time.monotonic() + STREAM_SECONDS

    @property
    def old(self) -> bool:
        """Too close to the call's deadline for another request."""
        return time.monotonic() > self._ends_at

    def send(self, request: pb.PushRequest) -> None:
        self._requests.put(request)

    def answer(self) -> pb.Status:
        """Waits for the next one. Raises grpc.RpcError."""
        return next(self._answers)

    def end(self) -> None:
        self._requests.put(None)


class Link:
    """Speaks for one stream of one actor. Every call raises LinkLost to be tried again, or WarmloopError to stop.

    Attributes:
        status: the learner's newest answer; before the first Hello an empty one.
        max_rows: that one push may carry.
        under_way: rows that were sent and not yet answered.
        lease: seconds of silence after which the learner gives the actor up.
        connected: a session is open.
        spoke_at: `time.monotonic()` of the newest answer.
    """

    def __init__(self, stub: Stub | grpc.Channel, schema: Schema, actor_id: str, stream_id: str):
        self._stub: Any = LearnerStub(stub) if isinstance(stub, grpc.Channel) else stub
        self._hello = pb.HelloRequest(
            protocol_min=PROTOCOL_MIN,
            protocol_max=PROTOCOL_MAX,
            actor_id=actor_id,
            stream_id=stream_id,
            schema=schema.json,
            schema_hash=schema.hash,
        )
        self._session, self._schema, self._packer = "", schema, Packer(schema)
        self._shares = False  # pictures of rows with those before them: the schema has some, and the learner knows how
        self._pushes: Pushes | None = None
        self._unanswered: deque[tuple[int, int]] = deque()  # where each push under way ends, and its rows
        self.under_way, self._rewinding = 0, False
        self._status, self.max_rows, self.lease, self.spoke_at = pb.Status(weights_version=-1), 1, 1.0, 0.0

    @property
    def status(self) -> pb.Status:
        return self._status

    @status.setter
    def status(self, status: pb.Status) -> None:
        if not 0 <= status.durable <= status.received < END_OF_NUMBERS:
            raise WarmloopError(
                f"The learner says that {status.received} rows came and {status.durable} are on its disk; it cannot be believed."
            )
        self._status = status

    @property
    def connected(self) -> bool:
        return bool(self._session)

    def hello(self, oldest_held: int) -> None:
        """Opens a session; `status.received` is then where to go on. Raises WarmloopError with the sentence of a refusal."""
        self._hello.oldest_held = oldest_held
        reply = self._call(self._stub.Hello, self._hello, CALL_SECONDS)
        if reply.refusal:
            raise WarmloopError(reply.refusal)
        if reply.max_rows < 1 or not reply.lease_seconds > 0:
            raise WarmloopError(
                f"The learner takes {reply.max_rows} rows at a time and gives a lease of {reply.lease_seconds:g} s; it cannot be believed."
            )
        self._session, self.status, self.max_rows, self.lease = reply.session, reply.status, reply.max_rows, reply.lease_seconds
        self._shares = bool(self._schema.cameras) and reply.protocol >= SHARED_PICTURES
        self._packer.restart()

    @property
    def ready(self) -> bool:
        """Whether another push may be sent before those under way are answered."""
        aging = self._pushes is not None and self._pushes.old
        return not self._unanswered or not (self._rewinding or aging or len(self._unanswered) >= UNANSWERED)

    def send_rows(self, first: int, count: int, parts: Sequence[Mapping[str, Array]]) -> None:
        """Sends rows, given as pieces with leaves `[n_i, ...]` by name that never change, without awaiting the answer.

        A picture goes over once: rows that follow those sent before refer to these. The learner takes such rows only where it took the
        others, and else says where to go on; rows from there on refer to none before them.
        """
        frame = self._packer.pack(first, count, parts) if self._shares else row_bytes.join(self._schema, parts)
        self.send(first, count, frame, shared=self._shares)

    def send(self, first: int, count: int, frame: bytes, shared: bool = False) -> None:
        """Sends the bytes of rows, without awaiting the answer; `shared`: as in `shared_pictures`, not as in `row_bytes`."""
        if self._pushes is not None and self._pushes.old and not self._unanswered:
            self._end_pushes()
        if self._pushes is None:
            self._pushes = Pushes(self._stub)
        crc32 = row_bytes.checksum(frame)
        self._pushes.send(pb.PushRequest(session=self._session, first=first, count=count, frame=frame, crc32=crc32, shared=shared))
        self._unanswered.append((first + count, count))
        self.under_way += count

    def receive(self) -> None:
        """Waits for the answer to the oldest push under way."""
        assert self._pushes is not None
        with self._failures():
            self.status = self._pushes.answer()
        end, count = self._unanswered.popleft()
        self.under_way -= count
        # Where a push was not taken as expected, those after it were not either: no more of them before all are answered.
        self._rewinding = bool(self._unanswered) and (self._rewinding or self.status.received != end)

    def push(self, first: int, count: int, frame: bytes) -> None:
        """Sends rows, and waits for the answer."""
        self.send(first, count, frame)
        self.receive()

    def heartbeat(self) -> None:
        """Renews the lease and the status."""
        self.status = self._call(self._stub.Heartbeat, pb.HeartbeatRequest(session=self._session), CALL_SECONDS)

    def report(self, number: int, scalars: Mapping[str, float]) -> None:
        """Sends metrics; the same number is counted once."""
        request = pb.ReportRequest(session=self._session, number=number, scalars=scalars)
        self.status = self._call(self._stub.Report, request, CALL_SECONDS)

    def goodbye(self) -> None:
        """Ends the session."""
        self._end_pushes()
        self._call(self._stub.Goodbye, pb.GoodbyeRequest(session=self._session), CALL_SECONDS)
        self.drop()

    def drop(self) -> None:
        """Forgets the session, so that the next thing to say is Hello."""
        self._end_pushes()
        self._session = ""

    def weights(self, held: int) -> weights.Snapshot | None:
        """The newest weights, or None when the actor holds them."""

        def fetch(request: pb.WeightsRequest, timeout: float) -> weights.Snapshot | None:
            return weights.assemble(self._stub.GetWeights(request, timeout=timeout))

        try:
            return self._call(fetch, pb.WeightsRequest(session=self._session, held=held), TRANSFER_SECONDS)
        except weights.Damaged as error:
            self.drop()
            raise LinkLost(str(error)) from error

    def _end_pushes(self) -> None:
        if self._pushes is not None:
            self._pushes.end()
        self._pushes, self.under_way, self._rewinding = None, 0, False
        self._unanswered.clear()

    def _call(self, method: Callable[..., Any], request: Any, seconds: float) -> Any:
        with self._failures():
            return method(request, timeout=seconds)

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        """Notes when the learner answered, or says what its failure to do so means."""
        try:
            yield
            self.spoke_at = time.monotonic()
        except grpc.RpcError as error:
            code, details = error.code(), error.details()  # pyright: ignore[reportAttributeAccessIssue] (every call's error has them)
            said = meaning(code, details)
            if code in FATAL:
                raise WarmloopError(f"The learner refused: {said}") from error
            self.drop()
            raise LinkLost(said) from error
        except StopIteration:
            self.drop()
            raise LinkLost("the learner ended the call") from None
