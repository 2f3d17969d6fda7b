"""The learner's port under whatever a peer may send: calls that parse and calls that do not, metadata, and bytes that are no gRPC.

After every one the learner lives, has answered in time and with a status that it chose, and serves a well-behaved actor; its memory
stays flat. `make fuzz` gives this FUZZ_SECONDS seconds; the default run a few.
"""

import contextlib
import json
import math
import os
import socket
import time
from pathlib import Path

import grpc
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from learners import LearnerProcess, resident_bytes
from marked_rows import SCHEMA, marked
from secrets_folder import make_credentials
from waiting import until

from warmloop.actor.delivery.link import open_channel
from warmloop.data.wire import MIB, row_bytes
from warmloop.data.wire import warmloop_pb2 as pb
from warmloop.data.wire.keyring import ActorCredentials
from warmloop.data.wire.row_schema import flatten, unflatten
from warmloop.data.wire.warmloop_pb2_grpc import LearnerStub

SECONDS = float(os.environ.get("FUZZ_SECONDS", "5"))
ANSWER_SECONDS = 10.0
GROWTH = 16 * MIB  # of a learner of 200 MB, once it has seen a fifth of the examples; allocators keep some
hundred = settings(
    max_examples=100, deadline=None, database=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate, Phase.shrink]
)
METHODS = {
    "Hello": pb.HelloRequest,
    "Push": pb.PushRequest,
    "GetWeights": pb.WeightsRequest,
    "Heartbeat": pb.HeartbeatRequest,
    "Report": pb.ReportRequest,
    "Goodbye": pb.GoodbyeRequest,
}
CHOSEN = {
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.DATA_LOSS,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.PERMISSION_DENIED,
}
HELLO = {"protocol_min": 1, "protocol_max": 1, "actor_id": "fuzz", "stream_id": "fuzz", "schema": SCHEMA.json, "schema_hash": SCHEMA.hash}
FRAME = row_bytes.encode(SCHEMA, marked(0, 0, 3))

int64 = st.sampled_from([-(2**63), -1, 0, 1, 2, 3, 1024, 2**31, 2**48, 2**62, 2**63 - 2, 2**63 - 1]) | st.integers(-(2**63), 2**63 - 1)
text = st.text(max_size=80) | st.sampled_from(["fuzz", "../..", "a" * 10_000, "\0", SCHEMA.json[:-1]])
sessions = st.just("OPEN") | text  # "OPEN" stands for the session that the well-behaved actor has open
printable = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=200)
metadata = st.lists(
    st.tuples(st.from_regex(r"x[0-9a-z_.-]{0,20}x|authorization", fullmatch=True), printable)
    | st.tuples(st.from_regex(r"x[0-9a-z_.-]{0,20}-bin", fullmatch=True), st.binary(max_size=2000)),
    max_size=6,
)  # fmt: skip


odd = st.sampled_from([math.inf, math.nan, 10**400, -1, None, True, "O", "f4,(2,3)i8", "M8[s]", "(", ">U9999999999", "V0", {}, []])


@st.composite
def schemas(draw):
    """The schema's JSON with a value or two replaced."""
    whole = json.loads(SCHEMA.json)
    for _ in range(draw(st.integers(1, 2))):
        value = draw(odd | odd | text | int64)
        if draw(st.integers(0, 2)) == 0:
            whole[draw(st.sampled_from(sorted(whole)))] = value
        elif isinstance(whole["leaves"], list) and whole["leaves"]:
            leaf = whole["leaves"][draw(st.integers(0, len(whole["leaves"]) - 1))]
            if isinstance(leaf, list):
                leaf[draw(st.integers(0, len(leaf) - 1))] = draw(st.sampled_from([value, [value]]))
    return json.dumps(whole)


@st.composite
def hellos(draw):
    """A Hello with some fields wrong."""
    broken = draw(st.none() | text | st.just("[" * 60_000))
    wrong = {
        "protocol_min": st.integers(0, 2**32 - 1),
        "protocol_max": st.integers(0, 2**32 - 1),
        "actor_id": text,
        "stream_id": text,
        "schema": schemas() if broken is None else st.just(broken),
        "schema_hash": st.binary(max_size=40),
        "oldest_held": int64,
    }
    names = draw(st.just(["schema"]) | st.lists(st.sampled_from(sorted(wrong)), max_size=3))
    if "schema" in names:  # it is only read where its hash is another
        names.append("schema_hash")
    return pb.HelloRequest(**(HELLO | {name: draw(wrong[name]) for name in names}))


@st.composite
def pushes(draw):
    """A Push of rows whose bytes, numbers or checksum may be wrong."""
    frame = draw(altered(st.just(FRAME)) | st.binary(max_size=3 * SCHEMA.row_bytes) | st.just(FRAME))
    honest = draw(st.booleans())
    crc32 = row_bytes.checksum(frame) if honest else draw(st.integers(0, 2**32 - 1))
    count = draw(st.just(len(frame) // SCHEMA.row_bytes) | int64)
    shared = draw(st.booleans())
    return pb.PushRequest(session=draw(sessions), first=draw(int64), count=count, frame=frame, crc32=crc32, shared=shared)


@st.composite
def rows(draw):
    """A Push in good form of rows whose values may be anything, which continues the fuzzing actor's stream or does not."""
    leaves = {name: np.array(leaf) for name, leaf in flatten(marked(0, 0, 3)).items()}
    for name in draw(st.lists(st.sampled_from(sorted(leaves)), max_size=3)):
        leaf = leaves[name]
        values = {"b": st.booleans(), "i": st.integers(-(2**31), 2**31 - 1), "f": st.floats(width=32)}[leaf.dtype.kind]
        leaf.reshape(-1)[draw(st.integers(0, leaf.size - 1))] = draw(values)
    frame = row_bytes.encode(SCHEMA, unflatten(leaves))
    return pb.PushRequest(session=draw(sessions), first=draw(st.just(0) | int64), count=3, frame=frame, crc32=row_bytes.checksum(frame))


@st.composite
def altered(draw, source):
    """Bytes with a few of them replaced, removed or added."""
    data = bytearray(draw(source))
    for place, byte, what in draw(st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 255), st.sampled_from("rda")), max_size=8)):
        place %= len(data) + 1
        data[place : place + (what != "a")] = bytes([byte] * (what != "d"))
    return bytes(data)


@st.composite
def calls(draw):
    """Method and payload."""
    method = draw(st.sampled_from(["Hello", "Hello", "Push", "Push", *METHODS]))
    if method == "Hello":
        message = hellos()
    elif method == "Push":
        message = pushes() | rows()
    elif method == "Report":
        names = st.text(max_size=20) | st.sampled_from(["x" * 200_000, "actor/success_rate", "evaluation/success_rate", "learner/x"])
        scalars = st.dictionaries(names, st.floats(), max_size=5) | st.just({f"n{place}": 1.0 for place in range(300)})
        message = st.builds(pb.ReportRequest, session=sessions, number=int64, scalars=scalars)
    elif method == "GetWeights":
        message = st.builds(pb.WeightsRequest, session=sessions, held=int64)
    else:
        message = st.builds(METHODS[method], session=sessions)
    whole = message.map(lambda built: built.SerializeToString())
    return method, draw((whole, whole, whole, altered(whole), st.binary(max_size=300))[draw(st.integers(0, 4))])


class Peer:
    """A well-behaved actor of the learner under test, and the hand that sends the rest."""

    def __init__(self, learner: LearnerProcess, secrets: Path | None):
        self.learner, self.session, self.examples = learner, "", 0
        tokens = [ActorCredentials.read(secrets, name) for name in ("good", "fuzz")] if secrets else [None, None]
        self.channel = open_channel(f"127.0.0.1:{learner.port}", tokens[0])
        self.stub, self.token = LearnerStub(self.channel), tokens[1] and tokens[1].token

    def send(self, method: str, payload: bytes, extra: list, honest: bool) -> None:
        """Any bytes as a call, with a token where the learner wants one and we are `honest`; checks that the answer is one that the
        learner chose."""
        with contextlib.suppress(Exception):
            message = METHODS[method].FromString(payload)
            if getattr(message, "session", "") == "OPEN":
                message.session = self.session
                payload = message.SerializeToString()
        call = self.channel.unary_stream(f"/warmloop.v1.Learner/{method}", request_serializer=None, response_deserializer=None)
        if self.token and honest:
            extra = [("authorization", f"Bearer {self.token}"), *extra]
        try:
            answers = list(call(payload, timeout=ANSWER_SECONDS, metadata=extra))
            assert method == "GetWeights" or len(answers) == 1
            assert honest or not self.token
        except grpc.RpcError as error:
            if self.token and not honest:
                assert error.code() == grpc.StatusCode.UNAUTHENTICATED
                return
            assert error.code() in CHOSEN, f"{method}: {error.code()}: {error.details()}"

    def behave(self) -> None:
        """Sends a few honest rows: they must arrive whatever came before."""
        hello = pb.HelloRequest(**(HELLO | {"actor_id": "good", "stream_id": "good"}))
        reply = self.stub.Hello(hello, timeout=ANSWER_SECONDS)
        assert not reply.refusal, reply.refusal
        first = reply.status.received
        frame = row_bytes.encode(SCHEMA, marked(0, first, 3))
        request = pb.PushRequest(session=reply.session, first=first, count=3, frame=frame, crc32=row_bytes.checksum(frame))
        assert next(self.stub.Push(iter([request]), timeout=ANSWER_SECONDS)).received == first + 3
        self.session = reply.session
        until(lambda: self.durable() >= first + 3, ANSWER_SECONDS, "rows stay unacknowledged")
        assert self.learner.alive
        self.examples += 1

    def durable(self) -> int:
        """How many rows of its stream are on the learner's disk."""
        return self.stub.Heartbeat(pb.HeartbeatRequest(session=self.session), timeout=ANSWER_SECONDS).durable


@pytest.fixture(scope="module", params=["plain", "secured"])
def peer(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz")
    secrets = make_credentials(folder / "credentials", "good", "fuzz") if request.param == "secured" else None
    options = [f"--credentials={secrets}"] if secrets else []
    with LearnerProcess(folder / "learner", "--unchecked", *options) as learner:
        yield Peer(learner, secrets)
        assert "Exception calling application" not in learner.log()


def run_for(seconds: float, example) -> None:
    """Draws and runs examples until the time is over."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        example()


def check_memory(peer: Peer, before: int) -> None:
    grown = resident_bytes(peer.learner.pid) - before
    print(f"{peer.examples} rounds of an honest actor; the learner grew by {grown / MIB:.1f} MiB to {(before + grown) / MIB:.0f} MiB")
    assert grown < GROWTH


@pytest.mark.long
def test_any_call_with_any_payload_and_metadata_is_answered_and_memory_stays_flat(peer):
    @hundred
    @given(st.lists(st.tuples(calls(), metadata, st.integers(0, 4)), min_size=1, max_size=5))
    def example(batch):
        for (method, payload), extra, chance in batch:
            peer.send(method, payload, extra, honest=chance > 0)
        peer.behave()

    run_for(0.1 * SECONDS, example)
    before = resident_bytes(peer.learner.pid)
    run_for(0.25 * SECONDS, example)
    check_memory(peer, before)


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
frame_heads = st.tuples(st.integers(0, 2**24 - 1), st.integers(0, 255), st.integers(0, 255), st.integers(0, 2**32 - 1))
http2 = st.lists(st.tuples(frame_heads, st.binary(max_size=200)), max_size=10).map(
    lambda parts: PREFACE + b"".join(h[0].to_bytes(3, "big") + bytes(h[1:3]) + h[3].to_bytes(4, "big") + body for h, body in parts)
)


@pytest.mark.long
def test_bytes_that_are_no_grpc_end_their_own_connection_only(peer):
    @hundred
    @given(st.binary(max_size=500) | http2 | altered(st.just(PREFACE)), st.booleans())
    def example(data, patient):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", peer.learner.port), timeout=0.05) as end:
            end.sendall(data)
            if patient:
                end.recv(1000)
        peer.behave()

    before = resident_bytes(peer.learner.pid)
    run_for(0.15 * SECONDS, example)
    check_memory(peer, before)
