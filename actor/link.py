"""One actor's conversation with the learner: each call with a deadline, each answer remembered, each failure classed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import grpc

from ..data.errors import WarmloopError
from ..data.wire import PROTOCOL_MAX, PROTOCOL_MIN, frames, weights
from ..data.wire import warmloop_pb2 as pb
from ..data.wire.direct import Stub
from ..data.wire.schema import Schema
from ..data.wire.warmloop_pb2_grpc import LearnerStub
from .channel import open_channel as open_channel

CALL_SECONDS = 5.0
TRANSFER_SECONDS = 30.0  # for calls that carry rows or weights
FATAL = {
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.UNIMPLEMENTED,
}


class LinkLost(Exception):  # noqa: N818 (not an error yet: the client says Hello again)
    """The learner did not answer, or no longer knows this session."""


class Link:
    """Speaks for one stream of one actor. Every call raises LinkLost to be tried again, or WarmloopError to stop.

    Attributes:
        status: the learner's newest answer; before the first Hello an empty one.
        max_rows: that one push may carry.
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
        self._session = ""
        self.status, self.max_rows, self.lease, self.spoke_at = pb.Status(weights_version=-1), 1, 1.0, 0.0

    @property
    def connected(self) -> bool:
        return bool(self._session)

    def hello(self, oldest_held: int) -> None:
        """Opens a session; `status.received` is then where to go on. Raises WarmloopError with the sentence of a refusal."""
        self._hello.oldest_held = oldest_held
        reply = self._call(self._stub.Hello, self._hello, CALL_SECONDS)
        if reply.refusal:
            raise WarmloopError(reply.refusal)
        self._session, self.status, self.max_rows, self.lease = reply.session, reply.status, reply.max_rows, reply.lease_seconds

    def push(self, first: int, count: int, frame: bytes) -> None:
        """Sends rows."""
        request = pb.PushRequest(session=self._session, first=first, count=count, frame=frame, crc32=frames.checksum(frame))
        self.status = self._call(self._stub.Push, request, TRANSFER_SECONDS)

    def heartbeat(self) -> None:
        """Renews the lease and the status."""
        self.status = self._call(self._stub.Heartbeat, pb.HeartbeatRequest(session=self._session), CALL_SECONDS)

    def report(self, number: int, scalars: Mapping[str, float]) -> None:
        """Sends metrics; the same number is counted once."""
        request = pb.ReportRequest(session=self._session, number=number, scalars=scalars)
        self.status = self._call(self._stub.Report, request, CALL_SECONDS)

    def goodbye(self) -> None:
        """Ends the session."""
        self._call(self._stub.Goodbye, pb.GoodbyeRequest(session=self._session), CALL_SECONDS)
        self._session = ""

    def drop(self) -> None:
        """Forgets the session, so that the next thing to say is Hello."""
        self._session = ""

    def weights(self, held: int) -> weights.Snapshot | None:
        """The newest weights, or None when the actor holds them."""

        def fetch(request: pb.WeightsRequest, timeout: float) -> weights.Snapshot | None:
            return weights.assemble(self._stub.GetWeights(request, timeout=timeout))

        try:
            return self._call(fetch, pb.WeightsRequest(session=self._session, held=held), TRANSFER_SECONDS)
        except weights.Damaged as error:
            self._session = ""
            raise LinkLost(str(error)) from error

    def _call(self, method: Callable[..., Any], request: Any, seconds: float) -> Any:
        try:
            answer = method(request, timeout=seconds)
            self.spoke_at = time.monotonic()
            return answer
        except grpc.RpcError as error:
            code, details = error.code(), error.details()  # pyright: ignore[reportAttributeAccessIssue] (every call's error has them)
            if code in FATAL:
                raise WarmloopError(f"The learner refused: {details}") from error
            self._session = ""
            raise LinkLost(f"{code.name}: {details}") from error
