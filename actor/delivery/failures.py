"""What gRPC's failures mean, in words: its own texts are for those who write it."""

from __future__ import annotations

import logging

import grpc

CODE = grpc.StatusCode
# The learner's own refusals, whose text is a sentence of ours.
OURS = {
    CODE.FAILED_PRECONDITION, CODE.NOT_FOUND, CODE.INVALID_ARGUMENT, CODE.DATA_LOSS, CODE.UNAUTHENTICATED, CODE.PERMISSION_DENIED,
}  # fmt: skip
BROKE = "the connection broke"
MEANINGS = {
    CODE.DEADLINE_EXCEEDED: "it did not answer in time",
    CODE.CANCELLED: "the call was ended",
    CODE.RESOURCE_EXHAUSTED: "it is too busy to answer",
    CODE.UNIMPLEMENTED: "what answers there is another program, or another version of warmloop",
}
# Of one that cannot be reached, by what the system says of its network; the first that occurs counts.
NETWORK = {
    "connection refused": "nothing listens at its address",
    "dns resolution": "no host of its name is known",
    "name resolution": "no host of its name is known",
    "no route to host": "no way leads to its host",
    "unreachable": "its network cannot be reached",
    "handshake": "the two did not agree on TLS",
    "ssl": "the two did not agree on TLS",
    "timed out": "its host does not answer",
    "timeout": "its host does not answer",
    "too many pings": "it is too busy to answer",
    "socket closed": "it closed the connection",
    "connection reset": "it closed the connection",
    "broken pipe": "it closed the connection",
    "end of tcp stream": "it closed the connection",
    "goaway": "it closed the connection",
    "ping timeout": "its host does not answer",
}

log = logging.getLogger(__name__)


def meaning(code: grpc.StatusCode, details: str | None) -> str:
    """What a failed call means, as the end of a sentence about the learner; gRPC's own text goes to the log's debug level."""
    if code in OURS:
        return details or BROKE
    log.debug("gRPC says %s: %s", code.name, details)
    if code in MEANINGS:
        return MEANINGS[code]
    text = (details or "").lower()
    return next((said for mark, said in NETWORK.items() if mark in text), BROKE)
