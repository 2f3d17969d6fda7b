"""What the actor-learner link carries, and what it costs: durable transitions a second, latencies, memory, the control loop's step.

A row is acknowledged when the learner says that it is on its disk. The learner is a process of its own with the real intake, journal and
service, and a loop that takes the rows in; so are the actors. Observation 39, action 28: 454 bytes a row.
"""

import contextlib
import multiprocessing
import os
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np

sys.path.append(str(Path(__file__).parents[1] / "helpers"))

from actors import spooling_client
from learners import LearnerProcess, resident_bytes
from link_loop import step_times
from machine_faults import Faults
from marked_rows import SCHEMA, marked
from secrets_folder import make_credentials

from warmloop.actor.delivery.link import Link, open_channel
from warmloop.data.wire import MIB, row_bytes
from warmloop.data.wire.keyring import ActorCredentials

POOL = 65_536  # distinct rows that a sender repeats
Result = dict[str, Any]


@contextlib.contextmanager
def learner(*options: str, **more: Any) -> Iterator[LearnerProcess]:
    """A learner process and its files, gone afterwards. Its loop takes rows in every 5 ms, as one that learns does between updates."""
    fixed = ("--unchecked", "--rest=0.005", "--save-every=100000")
    with tempfile.TemporaryDirectory() as folder, LearnerProcess(Path(folder) / "learner", *fixed, *options, **more) as process:
        yield process


@contextlib.contextmanager
def connection(secure: bool, *options: str) -> Iterator[Link]:
    """An actor's open session with a learner process, with TLS and a token where `secure`."""
    with tempfile.TemporaryDirectory() as folder:
        secrets = make_credentials(Path(folder), "arm") if secure else None
        with learner(*options, *([f"--credentials={secrets}"] if secrets else [])) as process:
            channel = open_channel(f"127.0.0.1:{process.port}", secrets and ActorCredentials.read(secrets, "arm"))
            with channel:
                yield opened(channel, "arm")


def rate(value: float, **more: Any) -> Result:
    return {"value": value, "unit": "transitions/s", "gemm_share": None, **more}


def milliseconds(seconds: list[float], **more: Any) -> Result:
    """The median of some durations, and their 99th percentile."""
    p50, p99 = np.percentile(np.array(seconds) * 1e3, (50, 99))
    return {"value": float(p50), "unit": "ms (median)", "gemm_share": None, "p99": float(p99), "samples": len(seconds), **more}


# Transitions a second.


def messages(rows_each: int, actors: int, seconds: float) -> Result:
    """Actors that send one message after another, `rows_each` rows in each, until the last row is durable."""
    with learner() as process:
        return rate(together(_send_messages, actors, process, rows_each, seconds), rows_per_message=rows_each, actors=actors)


def saturated(actors: int, seconds: float) -> Result:
    """Actors whose loop records 64 rows at a time as fast as the client takes them, through the spool."""
    with learner() as process:
        return rate(together(_saturate, actors, process, 64, seconds), actors=actors)


def together(target: Callable[..., None], actors: int, process: LearnerProcess, rows_each: int, seconds: float) -> float:
    """Durable rows a second of processes that begin at the same moment."""
    context = multiprocessing.get_context("spawn")
    begin, results = context.Barrier(actors), context.Queue()
    workers = [context.Process(target=target, args=(process.port, n, rows_each, seconds, begin, results)) for n in range(actors)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120 + 10 * seconds)
        if worker.exitcode:
            raise RuntimeError(f"an actor ended with {worker.exitcode}; the learner said: {process.log()[-2000:]}")
    return sum(results.get() for _ in workers)


def _send_messages(port: int, actor: int, rows_each: int, seconds: float, begin: Any, results: Any) -> None:
    link = opened(open_channel(f"127.0.0.1:{port}"), f"actor-{actor}")
    pool = [row_bytes.encode(SCHEMA, marked(actor, first, rows_each)) for first in range(0, min(POOL, 4096 * rows_each), rows_each)]
    begin.wait()
    start = time.perf_counter()
    while time.perf_counter() - start < seconds:
        sent = link.status.received + link.under_way
        if link.ready and link.status.credits - link.under_way >= rows_each:
            link.send(sent, rows_each, pool[(sent // rows_each) % len(pool)])
        elif link.under_way:
            link.receive()
        else:
            link.heartbeat()
    while link.under_way:
        link.receive()
    while link.status.durable < link.status.received:
        link.heartbeat()
    results.put(link.status.received / (time.perf_counter() - start))


def _saturate(port: int, actor: int, rows_each: int, seconds: float, begin: Any, results: Any) -> None:
    pool = [marked(actor, first, rows_each) for first in range(0, POOL, rows_each)]
    with tempfile.TemporaryDirectory() as folder, spooling_client(port, f"actor-{actor}", Path(folder)) as (client, spool):
        begin.wait()
        sent, start = 0, time.perf_counter()
        while time.perf_counter() - start < seconds:
            client.record(pool[(sent // rows_each) % len(pool)])
            sent += rows_each
        with spool.rows.lock:
            spool.rows.changed.wait_for(lambda: len(spool.rows) == 0, 60.0)
        results.put(sent / (time.perf_counter() - start))


def opened(channel: grpc.Channel, actor_id: str) -> Link:
    """An actor's end of the link, with a session open."""
    link = Link(channel, SCHEMA, actor_id, uuid.uuid4().hex)
    link.hello(0)
    return link


# Latencies.


def acknowledgement(seconds: float) -> Result:
    """From `record` until the row is known to be durable, at 100 steps a second."""
    with (
        tempfile.TemporaryDirectory() as folder,
        learner() as process,
        spooling_client(process.port, "arm", Path(folder)) as (client, spool),
    ):
        recorded: list[float] = []
        delays: list[float] = []

        def watch() -> None:
            while len(delays) < steps:
                now = time.perf_counter()
                delays.extend(now - recorded[number] for number in range(len(delays), min(spool.rows.first, len(recorded))))
                time.sleep(0.0005)

        steps = int(100 * seconds)
        rows = [marked(0, number, 1) for number in range(steps)]
        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        due = time.perf_counter()
        for row in rows:
            recorded.append(time.perf_counter())
            client.record(row)
            due += 0.01
            time.sleep(max(0.0, due - time.perf_counter()))
        watcher.join(30)
        return milliseconds(delays)


def push_latency(seconds: float, secure: bool = False) -> Result:
    """Round trip of a push of one row, one after another."""
    with connection(secure) as link:
        durations, frame = [], row_bytes.encode(SCHEMA, marked(0, 0, 1))
        deadline = time.perf_counter() + seconds
        while (start := time.perf_counter()) < deadline:
            link.push(link.status.received, 1, frame)
            durations.append(time.perf_counter() - start)
        return milliseconds(durations)


def weights_latency(mebibytes: int, seconds: float, secure: bool = False) -> Result:
    """Fetching a snapshot whole, its sha256 checked."""
    with connection(secure, f"--weights={mebibytes * 1024}") as link:
        durations = []
        deadline = time.perf_counter() + seconds
        while (start := time.perf_counter()) < deadline or len(durations) < 5:
            snapshot = link.weights(-1)
            durations.append(time.perf_counter() - start)
            assert snapshot is not None and len(snapshot.data) >= mebibytes * MIB
        return milliseconds(durations)


# What a row costs the learner.


def processor_of_messages(seconds: float) -> Result:
    """Processor time of the learner for one message of one row, of which 32 are under way."""
    with learner() as process, open_channel(f"127.0.0.1:{process.port}") as channel:
        link = opened(channel, "arm")
        return microseconds(process.pid, lambda: _push_singly(link, seconds))


def processor_of_steps(hertz: float, seconds: float) -> Result:
    """Processor time of the learner for one row of a control loop of `hertz` steps a second, whose client and spool are an actor's."""
    with (
        tempfile.TemporaryDirectory() as folder,
        learner() as process,
        spooling_client(process.port, "arm", Path(folder)) as (client, spool),
    ):
        rows = [marked(0, number, 1) for number in range(int(hertz * seconds))]

        def run() -> int:
            due = time.perf_counter()
            for row in rows:
                client.record(row)
                due += 1.0 / hertz
                time.sleep(max(0.0, due - time.perf_counter()))
            with spool.rows.lock:
                spool.rows.changed.wait_for(lambda: len(spool.rows) == 0, 60.0)
            return len(rows)

        return microseconds(process.pid, run, hertz=hertz)


def microseconds(pid: int, run: Callable[[], int], **more: Any) -> Result:
    """What `run`, which returns a number of rows, costs another process, by row, less what that costs while it idles for as long."""
    idle, began = processor_seconds(pid), time.perf_counter()
    time.sleep(2.0)
    idle = (processor_seconds(pid) - idle) / (time.perf_counter() - began)
    used, began = processor_seconds(pid), time.perf_counter()
    rows = run()
    took = time.perf_counter() - began
    used = processor_seconds(pid) - used - idle * took
    return {"value": 1e6 * used / rows, "unit": "us of the learner's processor", "gemm_share": None, "rows": rows, "seconds": took, **more}


def processor_seconds(pid: int) -> float:
    """Processor time that a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _push_singly(link: Link, seconds: float) -> int:
    frames = [row_bytes.encode(SCHEMA, marked(0, number, 1)) for number in range(4096)]
    first, deadline = link.status.received, time.perf_counter() + seconds
    while time.perf_counter() < deadline:
        sent = link.status.received + link.under_way
        if link.ready and link.status.credits > link.under_way:
            link.send(sent, 1, frames[sent % len(frames)])
        elif link.under_way:
            link.receive()
    while link.under_way:
        link.receive()
    return link.status.received - first


# What a bad day costs.


def slow_disk(seconds: float) -> Result:
    """What the learner's memory grows by while one actor sends all it can and every fsync takes a second (put in by helpers/faults.c)."""
    with tempfile.TemporaryDirectory() as folder:
        faults = Faults(Path(folder))
        with learner(environment=faults.environment) as process:
            link, frame = opened(open_channel(f"127.0.0.1:{process.port}"), "arm"), row_bytes.encode(SCHEMA, marked(0, 0, 512))
            faults.set(fsync=1.0)
            before, top, deadline = resident_bytes(process.pid), 0, time.perf_counter() + 3 * seconds
            while time.perf_counter() < deadline:
                if link.status.credits >= 512:
                    link.push(link.status.received, 512, frame)
                else:
                    link.heartbeat()
                    time.sleep(0.01)
                top = max(top, resident_bytes(process.pid))
            rows = link.status.received
    return {"value": (top - before) / MIB, "unit": "MiB grown", "gemm_share": None, "rows": rows, "before": before / MIB}


def control_loop_step(seconds: float) -> Result:
    """How much longer the control loop's step takes (p99) where the learner is slow or gone than where it is up."""
    with learner() as process:
        p99 = step_times(process, seconds)
    worst = max(p99["slow"], p99["gone"]) - p99["up"]
    return {"value": worst, "unit": "ms more (p99)", "gemm_share": None, **p99}


CASES: dict[str, Callable[[float], Result]] = {
    "link_1": lambda seconds: messages(1, 1, seconds),
    "link_1_of_4": lambda seconds: messages(1, 4, seconds),
    "link_64": lambda seconds: messages(64, 1, seconds),
    "link_64_of_4": lambda seconds: messages(64, 4, seconds),
    "link_saturated": lambda seconds: saturated(1, seconds),
    "link_saturated_of_4": lambda seconds: saturated(4, seconds),
    "link_acknowledgement": acknowledgement,
    "link_push": push_latency,
    "link_push_tls": lambda seconds: push_latency(seconds, secure=True),
    "link_weights_1": lambda seconds: weights_latency(1, seconds),
    "link_weights_1_tls": lambda seconds: weights_latency(1, seconds, secure=True),
    "link_weights_50": lambda seconds: weights_latency(50, seconds),
    "link_weights_50_tls": lambda seconds: weights_latency(50, seconds, secure=True),
    "link_processor_message": processor_of_messages,
    "link_processor_100": lambda seconds: processor_of_steps(100.0, seconds),
    "link_processor_500": lambda seconds: processor_of_steps(500.0, seconds),
    "link_slow_disk": slow_disk,
    "link_loop": control_loop_step,
}
