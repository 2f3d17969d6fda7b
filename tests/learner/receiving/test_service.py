"""The gRPC service over a real socket: what it refuses, with which sentence, and what it answers."""

import contextlib
import socket

import grpc
import numpy as np
import pytest
from wire_rows import SCHEMA, SPEC, numbers, stream

from warmloop.data.errors import WarmloopError
from warmloop.data.transition import Leaf, Spec
from warmloop.data.wire import MIB, row_bytes, weights
from warmloop.data.wire import warmloop_pb2 as pb
from warmloop.data.wire.row_schema import Schema
from warmloop.data.wire.warmloop_pb2_grpc import LearnerStub
from warmloop.learner.receiving.intake import Intake, Limits
from warmloop.learner.receiving.service import serve

TIMEOUT = 60.0
WIDER = Schema.of(Spec((Leaf("", (4,), "float32"),), 2), "Rows-v0")


@pytest.fixture
def intake():
    return Intake(SCHEMA, limits=Limits(frame_bytes=MIB, push_rows=64, actors=3))


@pytest.fixture
def stub(intake):
    server = serve("127.0.0.1", 0, intake)
    with grpc.insecure_channel(f"127.0.0.1:{server.port}", options=[("grpc.enable_http_proxy", 0)]) as channel:
        yield LearnerStub(channel)
    server.close()


def hello(stub, schema=SCHEMA, **fields):
    request = {
        "protocol_min": 1,
        "protocol_max": 1,
        "actor_id": "arm",
        "stream_id": "s1",
        "schema": schema.json,
        "schema_hash": schema.hash,
    }
    return stub.Hello(pb.HelloRequest(**(request | fields)), timeout=TIMEOUT)


def push_request(session, first, rows, **fields):
    frame = row_bytes.encode(SCHEMA, rows)
    request = {"session": session, "first": first, "count": len(rows.reward), "frame": frame, "crc32": row_bytes.checksum(frame)}
    return pb.PushRequest(**(request | fields))


def push(stub, session, first, rows, **fields):
    return next(stub.Push(iter([push_request(session, first, rows, **fields)]), timeout=TIMEOUT))


@contextlib.contextmanager
def refused(code, words):
    with pytest.raises(grpc.RpcError) as caught:
        yield
    assert caught.value.code() == code
    assert words in caught.value.details()


def test_a_session_opens_with_the_limits_and_rows_come_through(stub, intake):
    reply = hello(stub)
    assert reply.refusal == ""
    assert (reply.protocol, reply.max_rows, reply.max_frame_bytes, reply.lease_seconds) == (1, 64, MIB, 30.0)
    assert (reply.status.received, reply.status.credits, reply.status.weights_version) == (0, 50_000, -1)
    assert push(stub, reply.session, 0, stream(20)).received == 20
    assert numbers(intake.take(100)) == list(range(20))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"protocol_min": 3, "protocol_max": 4}, "protocol 1 to 2 and the actor 3 to 4"),
        ({"protocol_min": 0, "protocol_max": 0}, "protocol"),
        ({"schema": Schema.of(SPEC, "Other-v0")}, "environment is Rows-v0 and the actor's is Other-v0"),
        ({"schema": WIDER}, '"next_observation" is float32 [3] and the actor\'s is float32 [4]'),
        ({"schema_hash": b"x" * 32}, "does not have the hash"),
        ({"oldest_held": -1}, "numbered from 0"),
        ({"actor_id": "../../etc"}, "not usable"),
    ],
)
def test_a_refusal_names_the_difference(stub, fields, words):
    assert words in hello(stub, **fields).refusal


def test_a_schema_that_is_no_json_is_refused_with_a_sentence(stub):
    request = pb.HelloRequest(protocol_min=1, protocol_max=1, actor_id="arm", stream_id="s1", schema="{" * 100_000, schema_hash=b"x")
    assert "cannot be read" in stub.Hello(request, timeout=TIMEOUT).refusal


def test_one_actor_too_many_is_refused_with_the_limit(stub):
    for i in range(3):
        assert hello(stub, actor_id=f"arm-{i}", stream_id=f"s{i}").refusal == ""
    assert "3 actors" in hello(stub, actor_id="arm-3", stream_id="s3").refusal


def test_a_frame_altered_on_the_way_is_refused_and_can_be_sent_again(stub, intake):
    session = hello(stub).session
    frame = bytearray(row_bytes.encode(SCHEMA, stream(5)))
    frame[7] ^= 1
    with refused(grpc.StatusCode.DATA_LOSS, "crc32"):
        push(stub, session, 0, stream(5), frame=bytes(frame))
    assert push(stub, session, 0, stream(5)).received == 5
    assert numbers(intake.take(100)) == [0, 1, 2, 3]


@pytest.mark.parametrize(("first", "count"), [(0, 4), (0, 0), (0, -5), (0, 65), (-1, 5), (0, 2**40)])
def test_a_push_whose_numbers_do_not_fit_its_frame_is_refused_whole(stub, intake, first, count):
    session = hello(stub).session
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "rows"):
        push(stub, session, first, stream(5), count=count)
    assert intake.statistics()["received"] == 0


def test_a_message_above_the_limit_is_refused_before_it_is_read(stub, intake):
    session = hello(stub).session
    with refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "larger than max"):
        push(stub, session, 0, stream(1), frame=bytes(3 * MIB))
    assert push(stub, session, 0, stream(5)).received == 5


@pytest.mark.parametrize("before", [0, 1])
def test_bytes_that_are_no_push_end_the_call_with_a_sentence_and_nothing_stays_open(intake, caplog, before):
    for _ in range(10):  # with gRPC's own parsing, about every second of these calls stayed open for ever
        server = serve("127.0.0.1", 0, intake)
        with grpc.insecure_channel(f"127.0.0.1:{server.port}", options=[("grpc.enable_http_proxy", 0)]) as channel:
            good = push_request(hello(LearnerStub(channel)).session, 0, stream(1)).SerializeToString()
            answers = channel.stream_stream("/warmloop.v1.Learner/Push")(iter([good] * before + [b"\xff" * 1000, good]), timeout=TIMEOUT)
            assert [pb.Status.FromString(next(answers)).received for _ in range(before)] == [1] * before
            with refused(grpc.StatusCode.INVALID_ARGUMENT, "no message of this call's"):
                next(answers)
        server.close()
    assert "did not end" not in caplog.text


def test_a_session_that_the_learner_does_not_know_has_to_say_hello(stub):
    with refused(grpc.StatusCode.NOT_FOUND, "does not know this session"):
        push(stub, "no such session", 0, stream(1))
    with refused(grpc.StatusCode.NOT_FOUND, "does not know this session"):
        list(stub.GetWeights(pb.WeightsRequest(session="", held=-1), timeout=TIMEOUT))


def test_a_fenced_session_is_told_to_stop(stub):
    old = hello(stub).session
    hello(stub, stream_id="s2")
    for call in (
        lambda: push(stub, old, 0, stream(1)),
        lambda: stub.Heartbeat(pb.HeartbeatRequest(session=old), timeout=TIMEOUT),
        lambda: stub.Goodbye(pb.GoodbyeRequest(session=old), timeout=TIMEOUT),
    ):
        with refused(grpc.StatusCode.FAILED_PRECONDITION, 'took over as actor "arm"'):
            call()


def test_weights_come_in_chunks_and_only_when_they_are_new(stub, intake):
    session = hello(stub).session

    def fetch(held):
        return list(stub.GetWeights(pb.WeightsRequest(session=session, held=held), timeout=TIMEOUT))

    assert fetch(-1) == []
    intake.publish(5, {"w": np.arange(600_000, dtype=np.float32)})
    chunks = fetch(-1)
    assert len(chunks) == 3
    snapshot = weights.assemble(chunks)
    assert snapshot is not None
    assert snapshot == intake.weights.newest
    assert fetch(5) == []
    assert stub.Heartbeat(pb.HeartbeatRequest(session=session), timeout=TIMEOUT).weights_version == 5


def test_reports_come_through_and_too_large_a_one_is_refused(stub, intake):
    session = hello(stub).session
    stub.Report(pb.ReportRequest(session=session, number=0, scalars={"actor/success_rate": 1.0}), timeout=TIMEOUT)
    assert [report.scalars for report in intake.reports()] == [{"actor/success_rate": 1.0}]
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "at most 256"):
        stub.Report(pb.ReportRequest(session=session, number=1, scalars={str(i): 0.0 for i in range(300)}), timeout=TIMEOUT)


def test_the_directive_follows_the_loop(stub, intake):
    session = hello(stub).session

    def directive():
        return stub.Heartbeat(pb.HeartbeatRequest(session=session), timeout=TIMEOUT).directive

    assert directive() == pb.GO_ON
    intake.hold(True)
    assert directive() == pb.PAUSE
    intake.hold(False)
    assert directive() == pb.GO_ON
    intake.stop()
    assert directive() == pb.STOP


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.168.1.5", "robot.lab", ""])
def test_an_address_that_others_can_reach_is_refused_and_the_command_named(intake, address):
    with pytest.raises(WarmloopError, match=r"certificates and tokens.*warmloop\.launch\.credentials --out=credentials --host=\S"):
        serve(address, 5488, intake)


def test_a_port_that_is_taken_is_refused_with_a_sentence_and_nothing_of_grpc(intake, capfd):
    server = serve("127.0.0.1", 0, intake)
    with pytest.raises(WarmloopError, match=f"Port {server.port} .* another learner"):
        serve("127.0.0.1", server.port, Intake(SCHEMA))
    server.close()
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(WarmloopError, match="cannot be listened on"):
        serve("127.0.0.1", other.getsockname()[1], intake)
    assert not "".join(capfd.readouterr()).strip()
