"""Actors that should not be there, or send what they should not: each is refused with a sentence, and the others notice nothing."""

import contextlib

import grpc
import numpy as np
import pytest
from actors import Actor, ActorProcess
from learners import assert_each_once
from marked_rows import SCHEMA, SPEC, marked
from waiting import until

from warmloop.actor.delivery.link import Link, open_channel
from warmloop.data.errors import WarmloopError
from warmloop.data.transition import Leaf, Spec, concatenate, take
from warmloop.data.wire import PROTOCOL_MAX, PROTOCOL_MIN, row_bytes
from warmloop.data.wire import warmloop_pb2 as pb
from warmloop.data.wire.row_schema import Schema
from warmloop.data.wire.warmloop_pb2_grpc import LearnerStub


@contextlib.contextmanager
def linked(process, actor_id="bad", schema=SCHEMA):
    channel = open_channel(f"127.0.0.1:{process.port}")
    with channel:
        yield Link(channel, schema, actor_id, f"stream-of-{actor_id}")


@pytest.mark.long
def test_whatever_is_refused_names_the_difference_and_a_good_actor_goes_on(learner, tmp_path):
    process = learner("--actors=2")
    good = Actor(process.port, 0, tmp_path / "spool")
    until(lambda: good.acknowledged > 50)
    wider = Spec((Leaf("", (40,), "float32"),), SPEC.action_dim)
    with (
        linked(process, schema=Schema.of(SPEC, "Other-v0")) as link,
        pytest.raises(WarmloopError, match="Marked-v0 and the actor's is Other-v0"),
    ):
        link.hello(0)
    with linked(process, schema=Schema.of(wider, "Marked-v0")) as link, pytest.raises(WarmloopError, match=r"float32 \[40\]"):
        link.hello(0)
    with open_channel(f"127.0.0.1:{process.port}") as channel:
        reply = LearnerStub(channel).Hello(pb.HelloRequest(protocol_min=7, protocol_max=9, actor_id="new", stream_id="s"), timeout=10)
        assert f"protocol {PROTOCOL_MIN} to {PROTOCOL_MAX} and the actor 7 to 9" in reply.refusal
    with linked(process, "second") as second, linked(process, "third") as third:
        second.hello(0)
        with pytest.raises(WarmloopError, match="already serves 2 actors"):
            third.hello(0)
    before = good.acknowledged
    until(lambda: good.acknowledged > before + 50)
    end = good.finish()
    process.stop()
    assert_each_once(process.pool(), {0: end})


@pytest.mark.fault
def test_a_damaged_frame_is_refused_whole_and_sent_again(learner):
    process = learner()
    frame = bytearray(row_bytes.encode(SCHEMA, marked(0, 0, 20)))
    with open_channel(f"127.0.0.1:{process.port}") as channel:
        stub = LearnerStub(channel)
        hello = {"actor_id": "arm", "stream_id": "s", "schema": SCHEMA.json, "schema_hash": SCHEMA.hash}
        session = stub.Hello(pb.HelloRequest(protocol_min=1, protocol_max=1, **hello), timeout=10).session
        honest = row_bytes.checksum(bytes(frame))
        frame[100] ^= 1
        request = pb.PushRequest(session=session, first=0, count=20, frame=bytes(frame), crc32=honest)
        with pytest.raises(grpc.RpcError, match="arrived damaged"):
            next(stub.Push(iter([request]), timeout=10))
        frame[100] ^= 1
        request = pb.PushRequest(session=session, first=0, count=20, frame=bytes(frame), crc32=honest)
        assert next(stub.Push(iter([request]), timeout=10)).received == 20
        stub.Goodbye(pb.GoodbyeRequest(session=session), timeout=10)
    process.stop()
    assert_each_once(process.pool(), {0: 20})


@pytest.mark.long
def test_observations_that_are_not_numbers_go_to_quarantine_across_a_crash_and_the_stream_goes_on(learner):
    process = learner()
    rows = marked(0, 0, 30)
    poisoned = take(rows, slice(10, 11))
    poisoned = poisoned.replace(observation=np.full_like(poisoned.observation, np.nan))
    sent = concatenate([take(rows, slice(0, 10)), poisoned, take(rows, slice(11, 30))])
    with linked(process, "arm") as link:
        link.hello(0)
        link.push(0, 30, row_bytes.encode(SCHEMA, sent))
        until(lambda: link.heartbeat() or link.status.durable == 30)
        process.kill()
        process.start()
        link.drop()
        link.hello(30)
        assert link.status.received == 30
        link.goodbye()
    process.stop()
    assert process.pool()["number"].tolist() == [number for number in range(30) if number != 10]
    (kept,) = (process.folder / "quarantine").glob("*.npz")
    with np.load(kept) as found:
        assert found["number"].tolist() == [10] and found["reason"].tolist() == ["observation is not finite"]


@pytest.mark.fault
def test_of_two_processes_with_one_name_the_newer_goes_on_and_the_older_is_told(learner, tmp_path):
    process = learner()
    older = ActorProcess(process.port, 0, tmp_path / "older")
    until(lambda: older.acknowledged > 50)
    newer = ActorProcess(process.port, 0, tmp_path / "newer")
    until(lambda: newer.acknowledged > 50)
    assert older.process.wait(30) != 0
    assert 'took over as actor "actor-0"' in older.log()
    newer.finish()


@pytest.mark.fault
def test_two_processes_cannot_share_a_spool(learner, tmp_path):
    process = learner()
    first = ActorProcess(process.port, 0, tmp_path / "spool")
    until(lambda: first.acknowledged > 50)
    second = ActorProcess(process.port, 1, tmp_path / "spool")
    assert second.process.wait(60) != 0
    assert f"is in use by process {first.process.pid}" in second.log()
    end = first.finish()
    process.stop()
    assert_each_once(process.pool(), {0: end})
