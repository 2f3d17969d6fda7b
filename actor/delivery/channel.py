"""The channel to the learner: plain on this machine, with TLS and the actor's token to any other."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from typing import Any

import grpc

from ...data.errors import WarmloopError
from ...data.wire import MIB, keyring
from ...data.wire.address import is_loopback, split
from ...data.wire.keyring import MAKER, ActorCredentials

PROBE_SECONDS = 3.0
NOT_TLS = {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG", "HTTP_REQUEST"}  # what OpenSSL makes of HTTP/2
OPTIONS = [
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 5000),  # in fact the time one attempt to connect may take
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.max_receive_message_length", 2 * MIB),
    ("grpc.max_send_message_length", -1),  # the learner names its limit in Hello
    ("grpc.enable_http_proxy", 0),  # robots and learners share a network; a proxy of the site's cannot help
    ("grpc.enable_retries", 0),  # the link tries again itself; with them, a call whose connection is refused may never end (1.85)
    ("grpc.keepalive_time_ms", 5_000),  # finds a connection that has died without a word
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),  # no limit
    ("grpc.http2.ping_timeout_ms", 5_000),  # or else a lost ping of another kind holds those back for a minute
]


def open_channel(address: str, secrets: ActorCredentials | None = None) -> grpc.Channel:
    """A channel to `host:port`; nothing is sent before the first call.

    A Hello that cannot connect for a reason that waiting does not mend (a certificate that is not trusted, TLS on one side
    only) raises WarmloopError with the reason; every other failure is gRPC's own.

    Raises:
        WarmloopError: another machine's address without `secrets`.
    """
    if secrets is None and not is_loopback(split(address)[0]):
        raise WarmloopError(
            f"The learner at {address} is on another machine, so it wants a token: start the actor with --credentials=FOLDER, its own "
            f"of those that `{keyring.COMMAND.format(host=split(address)[0])}` makes there; or tunnel, and connect to 127.0.0.1."
        )
    if secrets is None:
        return _Channel(grpc.insecure_channel(address, OPTIONS), None, lambda: diagnose(address, None))
    tls = grpc.ssl_channel_credentials(secrets.ca, secrets.key, secrets.certificate)
    metadata = ((keyring.HEADER, f"Bearer {secrets.token}"),)
    return _Channel(grpc.secure_channel(address, tls, OPTIONS), metadata, lambda: diagnose(address, secrets))


def diagnose(address: str, secrets: ActorCredentials | None) -> str | None:
    """Why actor and learner cannot agree on a connection, found by trying one; None where they can, or where nobody answers."""
    host, learner = split(address)[0], f"The learner at {address}"
    try:
        if secrets is None:
            _try_tls(address, None)
            return f"{learner} uses TLS: start this actor with --credentials=FOLDER, its own of those that {MAKER} made."
        if all(_try_tls(address, secrets) == b"" for _ in range(2)):  # in TLS 1.3 it looks at our certificate after the handshake
            wrong = "does not accept this actor's certificate" if secrets.certificate else "wants a certificate of the actor"
            return f"{learner} {wrong}: let {MAKER} make one with --mutual_tls, and copy the actor's folder anew."
    except ssl.SSLCertVerificationError as error:
        return f"{learner} cannot be trusted: {_problem(error, host)}."
    except ssl.SSLError as error:
        if secrets is not None and error.reason in NOT_TLS:
            return f"{learner} does not use TLS: start it with --credentials too, or this actor without."
    except OSError:
        pass
    return None


def _try_tls(address: str, secrets: ActorCredentials | None) -> bytes:
    """The first byte that a learner sends after a TLS handshake; none where it hangs up instead."""
    with (
        socket.create_connection(split(address), PROBE_SECONDS) as plain,
        _tls(secrets).wrap_socket(plain, do_handshake_on_connect=False, server_hostname=split(address)[0]) as secured,
    ):
        secured.do_handshake()  # by itself `wrap_socket` leaves it out, silently, where the connection is gone by then
        try:
            return secured.recv(1) if secrets is not None else b""
        except (ConnectionError, ssl.SSLEOFError):
            return b""
        except ssl.SSLError as error:
            if "ALERT" in (error.reason or ""):
                return b""
            raise


def _tls(secrets: ActorCredentials | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols(["h2"])
    if secrets is None:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    else:
        context.load_verify_locations(cadata=secrets.ca.decode())
    if secrets is not None and secrets.certificate:
        context.load_cert_chain(secrets.folder / keyring.CERTIFICATE, secrets.folder / keyring.KEY)
    return context


def _problem(error: ssl.SSLCertVerificationError, host: str) -> str:
    """A failed verification in words."""
    said = error.verify_message
    if "expired" in said or "not yet valid" in said:
        return f"its certificate says {said!r}; see the clock here, or make a new certificate there"
    if "mismatch" in said:
        return f"its certificate is not for {host}; make one with --host={host} (several: commas between)"
    return f"its certificate is not of the authority in this actor's ca.pem ({said}); copy the actor's folder anew"


class _Channel(grpc.Channel):
    """A channel whose calls carry `metadata`, and whose Hello says why it could not connect."""

    def __init__(self, channel: grpc.Channel, metadata: Any, find_reason: Callable[[], str | None]):
        self._channel, self._metadata, self._find_reason = channel, metadata, find_reason

    def unary_unary(self, method: str, *arguments: Any, **options: Any) -> Any:
        call = self._with_metadata(self._channel.unary_unary(method, *arguments, **options))
        return self._explained(call) if method.endswith("/Hello") else call

    def unary_stream(self, method: str, *arguments: Any, **options: Any) -> Any:
        return self._with_metadata(self._channel.unary_stream(method, *arguments, **options))

    def stream_unary(self, method: str, *arguments: Any, **options: Any) -> Any:
        return self._with_metadata(self._channel.stream_unary(method, *arguments, **options))

    def stream_stream(self, method: str, *arguments: Any, **options: Any) -> Any:
        return self._with_metadata(self._channel.stream_stream(method, *arguments, **options))

    def subscribe(self, callback: Any, try_to_connect: bool | None = False) -> None:
        self._channel.subscribe(callback, bool(try_to_connect))

    def unsubscribe(self, callback: Any) -> None:
        self._channel.unsubscribe(callback)

    def close(self) -> None:
        self._channel.close()

    def __enter__(self) -> _Channel:
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()

    def _with_metadata(self, method: Callable[..., Any]) -> Callable[..., Any]:
        return lambda request, **options: method(request, **({"metadata": self._metadata} | options))

    def _explained(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def hello(request: Any, **options: Any) -> Any:
            try:
                return method(request, **options)
            except grpc.RpcError as error:
                unavailable = error.code() is grpc.StatusCode.UNAVAILABLE  # pyright: ignore[reportAttributeAccessIssue] (calls' errors have it)
                if unavailable and (reason := self._find_reason()):
                    raise WarmloopError(reason) from error
                raise

        return hello
