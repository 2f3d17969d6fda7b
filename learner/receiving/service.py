"""The learner's gRPC service: reads what actors send, hands it to the intake, and answers."""

from __future__ import annotations

import functools
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import grpc

from ...data.errors import WarmloopError
from ...data.running.threads import vital_thread
from ...data.wire import END_OF_NUMBERS, MIB, PROTOCOL_MAX, PROTOCOL_MIN, row_bytes, shared_pictures, weights
from ...data.wire import warmloop_pb2 as pb
from ...data.wire import warmloop_pb2_grpc as pb_grpc
from ...data.wire.address import join
from ...data.wire.direct import DirectContext
from ...data.wire.keyring import LearnerCredentials
from ...data.wire.row_schema import Schema, difference
from ...data.wire.shared_pictures import Packed
from . import security
from .intake import Intake, Progress
from .sessions import Fenced, UnknownSession

MAX_SCHEMA_CHARACTERS = 1 << 16
MAX_REPORT_SCALARS = 256
MAX_SENTENCE = 1000  # characters of a refusal, which may quote what was sent
CLOSE_SECONDS = 5.0  # that calls may take to notice that they were cancelled
PULSE_SECONDS = 1.0
FIRST_SECONDS, IDLE_SECONDS = 5.0, 30.0  # that a Push may take to its first request, and to each other one; actors begin one every 15 s
CODES = {Fenced: grpc.StatusCode.FAILED_PRECONDITION, UnknownSession: grpc.StatusCode.NOT_FOUND}

log = logging.getLogger(__name__)


def _aborting(method: Callable[..., Any]) -> Callable[..., Any]:
    """Turns the sentence that a call raises into its gRPC status."""

    @functools.wraps(method)
    def call(self: Servicer, request: Any, context: Any) -> Any:
        try:
            return method(self, request, context)
        except WarmloopError as error:
            context.abort(CODES.get(type(error), grpc.StatusCode.INVALID_ARGUMENT), str(error))

    return call


class Servicer(pb_grpc.LearnerServicer):
    """Answers the calls of warmloop.proto. Works behind a socket (`serve`) and in process (`data.wire.direct`).

    A refused call ends with a status code: NOT_FOUND (say Hello again), FAILED_PRECONDITION (stop), DATA_LOSS (send it
    again), INVALID_ARGUMENT (a frame that is not of the schema), each with a sentence.
    """

    def __init__(self, intake: Intake):
        self.intake = intake
        self._pushes: dict[Any, float] = {}  # the calls under way, and when each has to be heard of next

    def Hello(self, request: pb.HelloRequest, context: Any) -> pb.HelloReply:  # noqa: N802
        """Opens a session, or refuses with a sentence."""
        try:
            self._check(request)
            # An actor in this process cannot vanish, and what it does must not depend on time.
            lease = math.inf if isinstance(context, DirectContext) else None
            session, progress = self.intake.open(request.actor_id, request.stream_id, request.oldest_held, lease)
        except WarmloopError as error:
            return pb.HelloReply(refusal=str(error)[:MAX_SENTENCE])
        return pb.HelloReply(
            session=session.id,
            protocol=min(PROTOCOL_MAX, request.protocol_max),
            lease_seconds=session.lease,
            max_frame_bytes=self.intake.limits.frame_bytes,
            max_rows=self.intake.max_rows,
            status=self._status(progress),
        )

    def Push(self, request_iterator: Iterator[pb.PushRequest], context: Any) -> Iterator[pb.Status]:  # noqa: N802
        """Takes rows in, one request after another, each answered before the next is read."""
        self._pushes[context] = time.monotonic() + FIRST_SECONDS
        try:
            for request in request_iterator:
                yield self._take_in(request, context)
                self._pushes[context] = time.monotonic() + IDLE_SECONDS
        finally:
            self._pushes.pop(context, None)

    def end_idle_pushes(self) -> None:
        """Ends the calls that hold a thread and send nothing."""
        now = time.monotonic()
        for context, due in list(self._pushes.items()):
            if due < now and hasattr(context, "cancel"):
                context.cancel()

    @_aborting
    def _take_in(self, request: pb.PushRequest, context: Any) -> pb.Status:
        """One request's rows; the frame's length and checksum are checked before it is read."""
        if not (0 <= request.first < END_OF_NUMBERS and 1 <= request.count <= self.intake.max_rows):
            context.abort(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"A push of {request.count} rows from number {request.first}; the learner takes 1 to {self.intake.max_rows} rows, "
                "numbered from 0.",
            )
        if row_bytes.checksum(request.frame) != request.crc32:
            context.abort(grpc.StatusCode.DATA_LOSS, f"The rows from number {request.first} arrived damaged: their crc32 differs.")
        if not request.shared:
            rows = row_bytes.decode(self.intake.schema, request.frame, request.count)
            return self._status(self.intake.accept(request.session, request.first, rows, Packed(request.frame)))
        before = self.intake.pictures_before(request.session, request.first)
        found = shared_pictures.decode(self.intake.schema, request.frame, request.count, before)
        if found.missing:  # as after a gap: the actor goes on where the stream is, with whole rows
            return self._status(self.intake.touch(request.session))
        frame = Packed(request.frame, shared=True, leans=found.leans)
        return self._status(self.intake.accept(request.session, request.first, found.rows, frame))

    @_aborting
    def GetWeights(self, request: pb.WeightsRequest, context: Any) -> Iterator[pb.WeightsChunk]:  # noqa: N802
        """The newest snapshot in chunks, or nothing when the actor holds it."""
        self.intake.touch(request.session)
        snapshot = self.intake.weights.newest
        return iter(()) if snapshot is None or snapshot.version == request.held else weights.chunks(snapshot)

    @_aborting
    def Heartbeat(self, request: pb.HeartbeatRequest, context: Any) -> pb.Status:  # noqa: N802
        """Renews the lease."""
        return self._status(self.intake.touch(request.session))

    @_aborting
    def Report(self, request: pb.ReportRequest, context: Any) -> pb.Status:  # noqa: N802
        """Takes an episode's metrics."""
        if len(request.scalars) > MAX_REPORT_SCALARS:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"A report holds at most {MAX_REPORT_SCALARS} numbers.")
        if request.number < 0:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"Reports are numbered from 0; this one is {request.number}.")
        return self._status(self.intake.report(request.session, request.number, request.scalars))

    @_aborting
    def Goodbye(self, request: pb.GoodbyeRequest, context: Any) -> pb.Status:  # noqa: N802
        """Ends the session."""
        return self._status(self.intake.close(request.session))

    def _check(self, request: pb.HelloRequest) -> None:
        if request.protocol_max < PROTOCOL_MIN or request.protocol_min > PROTOCOL_MAX:
            raise WarmloopError(
                f"The learner speaks protocol {PROTOCOL_MIN} to {PROTOCOL_MAX} and the actor {request.protocol_min} to "
                f"{request.protocol_max}; install the same version of warmloop on both."
            )
        if not 0 <= request.oldest_held < END_OF_NUMBERS:
            raise WarmloopError(f"Rows are numbered from 0 to {END_OF_NUMBERS}; the actor's oldest is {request.oldest_held}.")
        mine = self.intake.schema
        if request.schema_hash != mine.hash:
            theirs = Schema.from_json(request.schema[:MAX_SCHEMA_CHARACTERS])
            raise WarmloopError(difference(mine, theirs) or "The actor's schema does not have the hash that it names.")

    def _status(self, progress: Progress) -> pb.Status:
        return pb.Status(
            received=progress.received,
            durable=progress.durable,
            credits=progress.credits,
            weights_version=self.intake.weights.version,
            directive=pb.STOP if self.intake.stopping else pb.PAUSE if self.intake.paused else pb.GO_ON,
        )


class Server:
    """A running service; `port` is the one it listens on.

    A thread of its own ends what holds on to the service without a word, and the process if gRPC's own thread has died: nobody would be
    answered any more.
    """

    def __init__(self, server: grpc.Server, servicer: Servicer, port: int):
        self._server, self._servicer, self._intake, self.port = server, servicer, servicer.intake, port
        before = set(threading.enumerate())
        server.start()
        self._serving = [thread for thread in threading.enumerate() if thread not in before and "_serve" in thread.name]
        self._closed = threading.Event()
        self._intake.pulse()
        vital_thread(self._watch, "service", "answers the actors").start()

    def stop(self, grace: float = 5.0) -> None:
        """Tells the actors to stop, serves them until the last has left or `grace` seconds have passed, and closes the port."""
        self._intake.stop()
        self._intake.wait_for_goodbyes(grace)
        self.close(1.0)

    def _watch(self) -> None:
        while not self._closed.wait(PULSE_SECONDS):
            self._intake.pulse()
            self._servicer.end_idle_pushes()
            if not (self._closed.is_set() or all(thread.is_alive() for thread in self._serving)):
                raise RuntimeError("gRPC's thread ended")

    def close(self, grace: float | None = None) -> None:
        """Closes the port; calls under way have `grace` seconds to end."""
        self._closed.set()
        if not self._server.stop(grace).wait((grace or 0.0) + CLOSE_SECONDS):
            log.warning("A call to port %d did not end; it ends with this process.", self.port)


def serve(address: str, port: int, intake: Intake, secrets: LearnerCredentials | None = None) -> Server:
    """Serves `intake` at an address; port 0 takes any free one. Without `secrets` the address must be a loopback one.

    Raises:
        WarmloopError: an address that others can reach and nothing protects, or that cannot be listened on.
    """
    security.check_address(address, secrets is not None)
    limits = intake.limits
    server = grpc.server(
        futures.ThreadPoolExecutor(1),  # every call has a lane of its own
        interceptors=[security.Gate(secrets, limits.actors, intake.owner)],
        maximum_concurrent_rpcs=security.MAX_CALLS,
        options=[
            ("grpc.max_receive_message_length", max(limits.frame_bytes, intake.schema.row_bytes) + MIB),
            ("grpc.max_send_message_length", 2 * MIB),
            ("grpc.so_reuseport", 0),  # else a second learner would share the port, and actors reach either
            *security.OPTIONS,
        ],
    )
    servicer = Servicer(intake)
    pb_grpc.add_LearnerServicer_to_server(servicer, server)
    target = join(address, port)
    if refused := security.why_not(address, port):  # asked before gRPC, which would write lines of its own
        raise WarmloopError(f"Port {port} of {address} cannot be listened on: {refused}.")
    try:
        bound = server.add_secure_port(target, security.tls(secrets)) if secrets else server.add_insecure_port(target)
    except RuntimeError as error:
        raise WarmloopError(f"Port {port} of {address} cannot be listened on: gRPC refused it.") from error
    return Server(server, servicer, bound)
