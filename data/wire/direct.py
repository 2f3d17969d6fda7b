"""The service called in process: lock-step runs use the same client and service, without a socket or a thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn, Protocol

import grpc


class Stub(Protocol):
    """What a client calls: the generated gRPC stub, or a `DirectStub`. Each takes a request (Push: an iterator of them) and
    `timeout=` seconds."""

    Hello: Callable[..., Any]
    Push: Callable[..., Any]
    GetWeights: Callable[..., Any]
    Heartbeat: Callable[..., Any]
    Report: Callable[..., Any]
    Goodbye: Callable[..., Any]


class DirectError(grpc.RpcError):
    """The error a servicer gave, with the accessors that gRPC's own has."""

    def __init__(self, code: grpc.StatusCode, details: str):
        super().__init__(details)
        self._code, self._details = code, details

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return self._details


class DirectContext:
    """The part of gRPC's ServicerContext that the service uses."""

    def abort(self, code: grpc.StatusCode, details: str) -> NoReturn:
        raise DirectError(code, details)


class DirectStub:
    """The stub's methods bound to a servicer. Messages pass through unserialised; `timeout` has no meaning here."""

    def __init__(self, servicer: Any):
        self.Hello = _direct(servicer.Hello)
        self.Push = _direct(servicer.Push)
        self.GetWeights = _direct(servicer.GetWeights)
        self.Heartbeat = _direct(servicer.Heartbeat)
        self.Report = _direct(servicer.Report)
        self.Goodbye = _direct(servicer.Goodbye)


def _direct(method: Callable[..., Any]) -> Callable[..., Any]:
    def call(request: Any, timeout: float | None = None) -> Any:
        return method(request, DirectContext())

    return call
