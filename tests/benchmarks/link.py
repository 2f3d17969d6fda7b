"""What the actor-learner link carries, and what it costs: durable transitions a second, latencies, memory, the control loop's step.

A row is acknowledged when the learner says that it is on its disk. The learner is a process of its own with the real intake, journal and
service, and a loop that takes the rows in; so are the actors. Observation 39, action 28: 454 bytes a row.
"""

import contextlib
import multiprocessing
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).parents[1] / "helpers"))

from learners import LearnerProcess
from marked_rows import AGENT, SCHEMA, marked

from warmloop.actor.client import Client
from warmloop.actor.link import Link, open_channel
from warmloop.data.wire import MIB, frames

POOL = 65_536  # distinct rows that a sender repeats
Result = dict[str, Any]


@contextlib.contextmanager
def learner(*options: str, **more: Any) -> Iterator[LearnerProcess]:
    """A learner process and its files, gone afterwards."""
    with tempfile.TemporaryDirectory() as folder, LearnerProcess(Path(folder), "--unchecked", *options, **more) as process:
        yield process


def rate(value: float, **more: Any) -> Result:
    return {"value": value, "unit": "transitions/s", "gemm_share": None, **more}


def milliseconds(seconds: list[float], **more: Any) -> Result:
    """The 99th percentile of some durations, and their median."""
    p50, p99 = np.percentile(np.array(seconds) * 1e3, (50, 99))
    return {"value": float(p99), "unit": "ms (p99)", "gemm_share": None, "p50": float(p50), "samples": len(seconds), **more}


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
    link = connected(port, f"actor-{actor}")
    pool = [frames.encode(SCHEMA, marked(actor, first, rows_each)) for first in range(0, min(POOL, 4096 * rows_each), rows_each)]
    begin.wait()
    sent, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        if link.status.credits < rows_each:
            link.heartbeat()
            continue
        link.push(sent, rows_each, pool[(sent // rows_each) % len(pool)])
        sent = link.status.received
    while link.status.durable < sent:
        link.heartbeat()
    results.put(sent / (time.perf_counter() - start))


def _saturate(port: int, actor: int, rows_each: int, seconds: float, begin: Any, results: Any) -> None:
    pool = [marked(actor, first, rows_each) for first in range(0, POOL, rows_each)]
    with tempfile.TemporaryDirectory() as folder, spooling_client(port, f"actor-{actor}", folder) as client:
        begin.wait()
        sent, start = 0, time.perf_counter()
        while time.perf_counter() - start < seconds:
            client.record(pool[(sent // rows_each) % len(pool)])
            sent += rows_each
        wait_for_acknowledgement(client)
        results.put(sent / (time.perf_counter() - start))


def connected(port: int, actor_id: str) -> Link:
    """An actor's end of the link, with a session open."""
    link = Link(open_channel(f"127.0.0.1:{port}"), SCHEMA, actor_id, uuid.uuid4().hex)
    link.hello(0)
    return link


@contextlib.contextmanager
def spooling_client(port: int, actor_id: str, folder: str) -> Iterator[Client]:
    """An actor's client as `train_rlpd --actor` makes it, its spool in `folder`."""
    client = Client.connect(f"127.0.0.1:{port}", SCHEMA, AGENT, actor_id)
    yield client
    client.close()


def wait_for_acknowledgement(client: Client) -> None:
    """Returns once every row is durable."""
    buffer = client._buffer
    while buffer.first < buffer.end:
        time.sleep(0.0005)


# Latencies.


def acknowledgement(seconds: float) -> Result:
    """From `record` until the row is known to be durable, at 100 steps a second."""
    with tempfile.TemporaryDirectory() as folder, learner() as process, spooling_client(process.port, "arm", folder) as client:
        recorded: list[float] = []
        delays: list[float] = []

        def watch() -> None:
            while len(delays) < steps:
                now = time.perf_counter()
                delays.extend(now - recorded[number] for number in range(len(delays), min(client._buffer.first, len(recorded))))
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


def push_latency(rows_each: int, seconds: float) -> Result:
    """Round trip of one push, one after another."""
    with learner() as process:
        link, durations = connected(process.port, "arm"), []
        frame = frames.encode(SCHEMA, marked(0, 0, rows_each))
        deadline = time.perf_counter() + seconds
        while (start := time.perf_counter()) < deadline:
            link.push(link.status.received, rows_each, frame)
            durations.append(time.perf_counter() - start)
        return milliseconds(durations, rows_per_message=rows_each)


def weights_latency(mebibytes: int, seconds: float) -> Result:
    """Fetching a snapshot whole, its sha256 checked."""
    with learner(f"--weights={mebibytes * 1024}") as process:
        link, durations = connected(process.port, "arm"), []
        deadline = time.perf_counter() + seconds
        while (start := time.perf_counter()) < deadline or len(durations) < 5:
            snapshot = link.weights(-1)
            durations.append(time.perf_counter() - start)
            assert snapshot is not None and len(snapshot.data) >= mebibytes * MIB
        result = milliseconds(durations)
        return result | {"value": result["p50"], "unit": f"ms (median, {mebibytes} MiB)", "p99": result["value"]}


CASES: dict[str, Callable[[float], Result]] = {
    "link_1": lambda seconds: messages(1, 1, seconds),
    "link_1_of_4": lambda seconds: messages(1, 4, seconds),
    "link_64": lambda seconds: messages(64, 1, seconds),
    "link_64_of_4": lambda seconds: messages(64, 4, seconds),
    "link_saturated": lambda seconds: saturated(1, seconds),
    "link_saturated_4": lambda seconds: saturated(4, seconds),
    "acknowledgement": acknowledgement,
    "push": lambda seconds: push_latency(1, seconds),
    "weights_1": lambda seconds: weights_latency(1, seconds),
    "weights_50": lambda seconds: weights_latency(50, seconds),
}

if __name__ == "__main__":
    for name in sys.argv[1:] or CASES:
        print(name, CASES[name](3.0), flush=True)
