"""An actor that means harm: it has a place at the learner (a token, where those are wanted) and sends whatever may hurt the others."""

import contextlib
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from marked_rows import SCHEMA, marked

from warmloop.actor.delivery.channel import open_channel
from warmloop.data.transition import Transition
from warmloop.data.wire import MIB, row_bytes
from warmloop.data.wire import warmloop_pb2 as pb
from warmloop.data.wire.keyring import ActorCredentials
from warmloop.data.wire.row_schema import Schema
from warmloop.data.wire.warmloop_pb2_grpc import LearnerStub

NUMBERS = (-(2**63), -1, 0, 2**31, 2**32, 2**48, 2**53, 2**62, 2**63 - 2, 2**63 - 1)
FLOATS = (np.nan, np.inf, -np.inf, 1e20, -3e38)
METHODS = ("Hello", "Push", "GetWeights", "Heartbeat", "Report", "Goodbye", "Shutdown")
SECONDS = 10.0
Rows = Callable[[int, int, int], Transition]  # of an actor's number, the first row's, and how many


class Hostile:
    """Attacks a learner from threads of its own until `stop`. Without `secrets` it keeps to names of its own, since anybody may take
    another's there.

    Args:
        schema, rows: of the learner, and honest rows of it to spoil.

    Attributes:
        done: how often each attack was made.
    """

    def __init__(self, port: int, seed: int, secrets: Path | None = None, threads: int = 3, schema: Schema = SCHEMA, rows: Rows = marked):
        self.schema, self.rows = schema, rows
        self._address, self._own = f"127.0.0.1:{port}", ActorCredentials.read(secrets, "mallory") if secrets else None
        self._secured, self._over, self.done = secrets is not None, threading.Event(), Counter[str]()
        self.attacks: list[Callable[[Any, random.Random], object]] = [
            self.hellos, self.pushes, self.absurd_rows, self.reports, self.garbage, self.idle, self.large, self.weights, self.impostor,
        ]  # fmt: skip
        self._threads = [threading.Thread(target=self._run, args=(random.Random(seed + number),), daemon=True) for number in range(threads)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(60)

    def _run(self, chance: random.Random) -> None:
        with open_channel(self._address, self._own) as channel:
            stub = LearnerStub(channel)
            while not self._over.is_set():
                attack = chance.choice(self.attacks)
                with contextlib.suppress(grpc.RpcError, StopIteration):
                    attack((channel, stub), chance)
                self.done[attack.__name__] += 1

    def hello(self, stub: Any, **fields: Any) -> pb.HelloReply:
        known = {"protocol_min": 1, "protocol_max": 1, "actor_id": "mallory", "stream_id": "m", "schema": self.schema.json}
        return stub.Hello(pb.HelloRequest(**(known | {"schema_hash": self.schema.hash} | fields)), timeout=SECONDS)

    def hellos(self, ends: Any, chance: random.Random) -> None:
        """Names, streams, numbers and schemas of every kind."""
        for _ in range(20):
            self.hello(ends[1], stream_id=f"m{chance.getrandbits(60)}", oldest_held=chance.choice((0, 1, 5, 2**40)))
        for number in NUMBERS:
            self.hello(ends[1], oldest_held=number)
        for name in ("..", "", "a" * 10_000, "a/b", "\n"):
            self.hello(ends[1], stream_id=name)
        self.hello(ends[1], schema="[" * 60_000, schema_hash=b"x")
        self.hello(ends[1], schema=self.schema.json.replace("-v", "M" * 60_000), schema_hash=b"x")

    def pushes(self, ends: Any, chance: random.Random) -> None:
        """Numbers and frames that do not fit, each in a call of its own."""
        session = self.hello(ends[1], stream_id=f"m{chance.getrandbits(60)}").session
        frame = row_bytes.encode(self.schema, self.rows(9, 0, 3))
        for first in NUMBERS:
            for count in (*NUMBERS, 3):
                self.push(ends[1], session, first or 1, count, frame)  # from 1 on there is a gap: nothing of these is taken
        self.push(ends[1], session, 0, 3, frame, crc32=0)
        self.push(ends[1], session, 0, 4, frame)

    def push(self, stub: Any, session: str, first: int, count: int, frame: bytes, crc32: int | None = None) -> pb.Status | None:
        if not -(2**63) <= count < 2**63:
            return None
        checksum = row_bytes.checksum(frame) if crc32 is None else crc32
        request = pb.PushRequest(session=session, first=first, count=count, frame=frame, crc32=checksum)
        with contextlib.suppress(grpc.RpcError):
            return next(stub.Push(iter([request]), timeout=SECONDS))
        return None

    def absurd_rows(self, ends: Any, chance: random.Random) -> None:
        """Rows in good form of which no number can be."""
        reply = self.hello(ends[1], stream_id=f"m{chance.getrandbits(60)}")
        first = reply.status.received
        for value in FLOATS:
            rows = self.rows(9, first, 50)
            rows.reward[:] = value
            rows.observation[:, -1 - chance.randrange(3)] = value
            step, mask = chance.choice((-1, 0, 2**31 - 1)), np.float32(chance.choice(FLOATS))
            rows = rows.replace(step=np.full(50, step, np.int32), mask=np.full(50, mask))
            status = self.push(ends[1], reply.session, first, 50, row_bytes.encode(self.schema, rows))
            first = first if status is None else status.received

    def reports(self, ends: Any, chance: random.Random) -> None:
        """Names and values without end."""
        session = self.hello(ends[1], stream_id=f"m{chance.getrandbits(60)}").session
        for number in (*range(10), *NUMBERS):
            names = {f"{chance.getrandbits(300):x}" * chance.choice((1, 1, 10)): chance.choice((*FLOATS, 1e300, 1.0)) for _ in range(250)}
            with contextlib.suppress(grpc.RpcError):
                ends[1].Report(pb.ReportRequest(session=session, number=number, scalars=names), timeout=SECONDS)
        with contextlib.suppress(grpc.RpcError):
            ends[1].Report(pb.ReportRequest(session=session, number=50, scalars={"x" * (8 * MIB): 1.0}), timeout=SECONDS)

    def garbage(self, ends: Any, chance: random.Random) -> None:
        """Bytes that are no message, and messages with fields that nobody knows."""
        for method in METHODS:
            call = ends[0].stream_stream(f"/warmloop.v1.Learner/{method}")
            unknown = pb.HelloRequest(actor_id="mallory").SerializeToString() + b"\xba\x3e\x05extra" * 100
            for payload in (chance.randbytes(300), unknown, b""):
                with contextlib.suppress(grpc.RpcError):
                    list(call(iter([payload, payload]), timeout=SECONDS))

    def idle(self, ends: Any, chance: random.Random) -> None:
        """Calls that hold a thread each and send nothing, beyond what one actor may have."""
        held = threading.Event()

        def nothing() -> Iterator[pb.PushRequest]:
            held.wait(2.0)
            yield from ()

        calls = [ends[1].Push(nothing(), timeout=30) for _ in range(12)]
        time.sleep(chance.uniform(0.1, 1.0))
        held.set()
        for call in calls:
            call.cancel()

    def large(self, ends: Any, chance: random.Random) -> None:
        """Messages at the limit and above it."""
        session = self.hello(ends[1]).session
        for size in (15 * MIB, 40 * MIB):
            self.push(ends[1], session, 0, 1000, bytes(size))

    def weights(self, ends: Any, chance: random.Random) -> None:
        """The weights again and again, and left unread."""
        session = self.hello(ends[1]).session
        for held in NUMBERS:
            call = ends[1].GetWeights(pb.WeightsRequest(session=session, held=held), timeout=SECONDS)
            if chance.random() < 0.5:
                call.cancel()
            else:
                list(call)

    def impostor(self, ends: Any, chance: random.Random) -> None:
        """Another actor's name and stream; the learner has to know better where it wants tokens."""
        if self._secured:
            with contextlib.suppress(grpc.RpcError):
                self.hello(ends[1], actor_id="actor-0")
        self.hello(ends[1], stream_id="stream-of-nobody")
        for call in (ends[1].Heartbeat, ends[1].Goodbye):
            with contextlib.suppress(grpc.RpcError):
                call((pb.HeartbeatRequest if call is ends[1].Heartbeat else pb.GoodbyeRequest)(session="0" * 32), timeout=SECONDS)
