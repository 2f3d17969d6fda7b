"""What gRPC says of a failure never reaches a person; what it means does."""

import contextlib
import re
import socket
import threading

import grpc
import pytest

from warmloop.actor.delivery.failures import BROKE, OURS, meaning
from warmloop.actor.delivery.link import LinkLost
from warmloop.data.errors import WarmloopError

RAW = re.compile(r"[A-Z]{4,}_|UNAVAILABLE|ipv[46]|errno|grpc|http2|\bfd\b|last error|failed to connect", re.IGNORECASE)


def failure_at(port: int) -> str:
    """What is said of the learner at a port of this machine by a Hello that a real channel carries."""
    from small_learner import SPEC

    from warmloop.actor.delivery.channel import open_channel
    from warmloop.actor.delivery.link import Link
    from warmloop.data.wire.row_schema import Schema

    with contextlib.closing(open_channel(f"127.0.0.1:{port}")) as channel, pytest.raises((LinkLost, WarmloopError)) as failed:
        Link(channel, Schema.of(SPEC, "x"), "actor-0", "stream").hello(0)
    return str(failed.value)


def test_a_port_where_nothing_listens():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert failure_at(port) == "nothing listens at its address"


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_a_port_where_something_else_answers_or_hangs_up(answer):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    connection.sendall(answer)
                    connection.close()

        threading.Thread(target=serve, daemon=True).start()
        said = failure_at(server.getsockname()[1])
    assert not RAW.search(said) and len(said) > 10, said


@pytest.mark.parametrize("code", list(grpc.StatusCode))
def test_no_code_passes_grpcs_own_text_on_and_our_sentences_stay(code):
    text = "failed to connect to all addresses; last error: UNAVAILABLE: ipv4:127.0.0.1:5488: Connection refused"
    assert not RAW.search(meaning(code, text)) or code in OURS
    assert meaning(code, None) and not RAW.search(meaning(code, None))
    if code in OURS:
        assert meaning(code, "The token is of another actor.") == "The token is of another actor."


def test_an_unknown_failure_of_the_network_is_a_broken_connection():
    assert meaning(grpc.StatusCode.UNAVAILABLE, "recvmsg:something new") == BROKE
