"""Who may call the learner, and how much of it each caller can take up.

Everything here happens before a call's message is read: gRPC hands it over only when the method runs, in a thread of the
caller's own lane. So a caller without a token costs no memory, and one that floods or trickles delays nobody else.
"""

from __future__ import annotations

import errno
import functools
import hmac
import logging
import re
import socket
import threading
import time
from collections.abc import Callable, Container
from concurrent import futures
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from ...data.errors import WarmloopError
from ...data.wire import MIB, keyring
from ...data.wire.address import is_loopback
from ...data.wire.keyring import LearnerCredentials

CALLS_PER_ACTOR = 2  # a call and its retry after a deadline, for each kind of transfer and for the others
WAITING_PER_ACTOR = 16  # calls that may wait for those
TRANSFERS = {"Push", "GetWeights"}
MOST_SIMULATORS = 64  # of an actor for which its lane grows: each has a call that carries its rows
SIMULATOR = re.compile(r"\.[1-9][0-9]*$")
MAX_CALLS = 1024  # of all callers together; the rest are turned away at once
SMALL_MESSAGE = MIB // 4  # bytes of any message that carries no rows
OPTIONS = [
    ("grpc.http2.bdp_probe", 0),  # else the next one grows with what callers send
    ("grpc.http2.lookahead_bytes", MIB),  # of a message that may come before it is asked for
    ("grpc.max_allowed_incoming_connections", 1024),
    ("grpc.max_connection_idle_ms", 120_000),  # an actor gives a sign of life every second
    ("grpc.server_handshake_timeout_ms", 10_000),
    ("grpc.keepalive_time_ms", 30_000),  # finds connections that have died without a word
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 2_000),  # actors look for dead connections too, every 5 s
    ("grpc.keepalive_permit_without_calls", 1),
]
SAY_EVERY = 10.0  # seconds between two messages about refused callers
NO_TOKEN = "The learner wants a token: start this actor with --credentials=FOLDER, its own of those that warmloop.launch.credentials made."
WRONG_TOKEN = "The learner does not know this actor's token: copy the actor's folder anew from where warmloop.launch.credentials made it."
BUSY = "This actor has too many calls under way."

log = logging.getLogger(__name__)


def check_address(host: str, secured: bool) -> None:
    """Raises WarmloopError where others could reach `host` and nothing would keep them out."""
    if not secured and not is_loopback(host):
        name = socket.gethostname() if host in ("0.0.0.0", "::", "") else host
        raise WarmloopError(
            f'Other machines can reach "{host}", so the learner needs certificates and tokens there: '
            f"make them with `{keyring.COMMAND.format(host=name)}` and add --credentials=credentials; or listen on 127.0.0.1."
        )


def why_not(host: str, port: int) -> str:
    """Why `host:port` cannot be listened on; empty where it can be."""
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            return ""
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return "another learner runs there? Choose another --port"
        return f"{error.strerror or error}; --ip is an address of this machine, or 0.0.0.0 for all of them"


def tls(secrets: LearnerCredentials) -> grpc.ServerCredentials:
    """TLS for the learner's port; with `clients`, actors need a certificate as well."""
    return grpc.ssl_server_credentials(
        [(secrets.key, secrets.certificate)], root_certificates=secrets.clients, require_client_auth=secrets.clients is not None
    )


class Lane(futures.ThreadPoolExecutor):
    """Threads for one kind of calls of one actor; `full` when as many more wait as may."""

    def __init__(self, threads: int, waiting: int):
        super().__init__(threads, thread_name_prefix="service")
        self._limit, self._lock, self._under_way = threads + waiting, threading.Lock(), 0

    @property
    def full(self) -> bool:
        return self._under_way >= self._limit

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> futures.Future:
        """As the base class's, counted until done."""
        self._count(1)
        future = super().submit(fn, *args, **kwargs)
        future.add_done_callback(lambda _: self._count(-1))
        return future

    def _count(self, change: int) -> None:
        with self._lock:
            self._under_way += change


class Gate(grpc.ServerInterceptor):
    """Lets calls with an actor's token in, each into its actor's lane; without `secrets` (on loopback), all into one.

    Args:
        actors: the number served at once.
        owner: the actor of a session, None for an unknown one: a token is good for the sessions of its own actor alone.
    """

    def __init__(self, secrets: LearnerCredentials | None, actors: int, owner: Callable[[str], str | None]):
        self._secrets, self._actors, self._owner = secrets, actors, owner
        self._handlers: dict[tuple[str, str, int], tuple[Lane, Any]] = {}  # by caller, method and size of the lane
        self._lanes: dict[tuple[str, str, int], Lane] = {}  # by caller, kind of transfer and size
        self._names: dict[str, set[str]] = {}  # by caller: those of its simulators that have said Hello
        self._doormen = futures.ThreadPoolExecutor(1, thread_name_prefix="gate")
        self._refused, self._said = 0, float("-inf")

    def intercept_service(self, continuation: Callable[[Any], Any], handler_call_details: Any) -> Any:
        """Called by gRPC, from one thread, with a call's method and metadata."""
        caller, problem = self._identify(handler_call_details.invocation_metadata)
        if caller is None:
            return self._refusal(grpc.StatusCode.UNAUTHENTICATED, problem)
        method = handler_call_details.method
        key = caller, method, self._size(caller, method.rpartition("/")[2])
        if key not in self._handlers:
            handler = continuation(handler_call_details)
            if handler is None:
                return None
            self._handlers[key] = self._admit(handler, *key)
        lane, handler = self._handlers[key]
        return self._refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, BUSY) if lane.full else handler

    def _identify(self, metadata: Any) -> tuple[str | None, str]:
        """The actor whose token a call carries, or None and what is wrong. Takes the same time whichever token is wrong."""
        if self._secrets is None:
            return "", ""
        given = next((value for key, value in metadata if key == keyring.HEADER), None)
        if given is None:
            return None, NO_TOKEN
        found, caller = keyring.digest(given.removeprefix("Bearer ")), None
        for actor, expected in self._secrets.tokens.items():
            if hmac.compare_digest(found, expected):
                caller = actor
        return caller, WRONG_TOKEN

    def _admit(self, handler: Any, caller: str, method: str, size: int) -> tuple[Lane, Any]:
        """The handler in its caller's lane; Hello only under the caller's own name, and the others only in its own sessions."""
        name = method.rpartition("/")[2]
        lane = self._lane(caller, name if name in TRANSFERS else "", size)
        kind = f"{'stream' if handler.request_streaming else 'unary'}_{'stream' if handler.response_streaming else 'unary'}"
        behaviour = getattr(handler, kind)
        if name == "Hello" and self._secrets is not None:
            names = self._names.setdefault(caller, set())
            behaviour = functools.partial(_own_names_only, behaviour, caller, self._secrets.tokens, names)
        parse = functools.partial(self._parsed, caller, handler.request_deserializer, None if name == "Push" else SMALL_MESSAGE)
        behaviour = functools.partial(_parsing, behaviour, parse, handler.request_streaming)
        handler = handler._replace(request_deserializer=None)

        def call(request: Any, context: grpc.ServicerContext) -> Any:
            return behaviour(request, context)

        call.experimental_thread_pool = lane  # pyright: ignore[reportFunctionMemberAccess] (where gRPC looks for it)
        return lane, handler._replace(**{kind: call})

    def _parsed(self, caller: str, parse: Callable[[bytes], Any], most: int | None, message: bytes) -> Any:
        """A caller's message, if it is one, is not too large, and speaks for no other actor. Raises Refused."""
        if most is not None and len(message) > most:
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, f"The message has {len(message)} bytes; this call takes {most}.")
        try:
            request = parse(message)
        except DecodeError:
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "These bytes are no message of this call's.") from None
        owner = self._owner(request.session) if caller and hasattr(request, "session") else None
        if owner is not None and not _is_of(owner, caller, self._secrets.tokens if self._secrets else ()):
            raise Refused(grpc.StatusCode.PERMISSION_DENIED, f'The token is of actor "{caller}", and this session of another.')
        return request

    def _size(self, caller: str, name: str) -> int:
        """How many actors' calls of a method the caller's lane is for: each of its simulators has a call that carries its rows. Sizes are
        powers of two, since each is a lane of its own."""
        if self._secrets is None:
            return self._actors
        return 1 << max(len(self._names.get(caller, ())) - 1, 0).bit_length() if name == "Push" else 1

    def _lane(self, caller: str, transfer: str, size: int) -> Lane:
        key = caller, transfer, size
        if key not in self._lanes:
            self._lanes[key] = Lane(CALLS_PER_ACTOR * size, WAITING_PER_ACTOR * size)
        return self._lanes[key]

    def _refusal(self, code: grpc.StatusCode, sentence: str) -> Any:
        """A handler that refuses without asking for the message."""

        def refuse(_: Any, context: grpc.ServicerContext) -> None:
            self._say(context.peer(), sentence)
            context.abort(code, sentence)

        refuse.experimental_thread_pool = self._doormen  # pyright: ignore[reportFunctionMemberAccess]
        return grpc.stream_stream_rpc_method_handler(refuse)  # pyright: ignore[reportArgumentType] (it never answers)

    def _say(self, peer: str, sentence: str) -> None:
        """Logs a refusal, and of many the number."""
        self._refused += 1
        now = time.monotonic()
        if now - self._said >= SAY_EVERY:
            log.warning("%d calls refused, the last from %s: %s", self._refused, peer, sentence)
            self._refused, self._said = 0, now


class Refused(Exception):  # noqa: N818 (a call's end, not an error of ours)
    """A message that is refused, with the status and the sentence that its sender gets."""

    def __init__(self, code: grpc.StatusCode, sentence: str):
        super().__init__(sentence)
        self.code = code


def _parsing(
    behaviour: Callable[..., Any], parse: Callable[[bytes], Any], streaming: bool, received: Any, context: grpc.ServicerContext
) -> Any:
    """Calls a method with its message, or its stream of them. Where one is no message, gRPC's own parsing keeps the call for ever."""

    def parsed(message: bytes) -> Any:
        try:
            return parse(message)
        except Refused as refused:
            context.abort(refused.code, str(refused))

    return behaviour(map(parsed, received) if streaming else parsed(received), context)


def _is_of(name: str, caller: str, actors: Container[str]) -> bool:
    """Whether `name` is the `caller`'s own, or that of one of its further simulators, CALLER.1 and so on, and no other actor's."""
    return name == caller or (name not in actors and SIMULATOR.sub("", name) == caller)


def _own_names_only(
    behaviour: Callable[..., Any], caller: str, actors: Container[str], names: set[str], request: Any, context: grpc.ServicerContext
) -> Any:
    """Calls Hello for an actor whose name, token and (where it has one) certificate are the same actor's, and adds its name to `names`."""
    if not _is_of(request.actor_id, caller, actors):
        context.abort(
            grpc.StatusCode.PERMISSION_DENIED,
            f'The token is of actor "{caller}", and this process says that it is "{request.actor_id[:80]}"; give it the folder of its own '
            "name.",
        )
    certified = [str(name, "utf-8", "replace") for name in context.auth_context().get("x509_common_name", [])]  # pyright: ignore[reportArgumentType]
    if certified and certified != [caller]:
        context.abort(grpc.StatusCode.PERMISSION_DENIED, f'The token is of actor "{caller}", and the certificate of "{certified[0]}".')
    if len(names) < MOST_SIMULATORS:
        names.add(request.actor_id)
    return behaviour(request, context)
