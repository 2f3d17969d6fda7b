"""Whether one learner takes in so many rows a second for minutes, and what that does to its processor.

    python tests/benchmarks/ingest_rate.py --seconds=300             # 10,000 rows a second; writes runs/bench_ingest_rate.json
    python tests/benchmarks/ingest_rate.py --seconds=20 --rows=2000

Rows are an arm's states. As an actor with `--envs=16` does, each simulator has a stream of its own, and sends the rows of some 25 ms as
one message; half of the streams are of one process and half of another. The learner is a process with the real service, intake and
journal, and takes rows into a pool of a million as its loop does, returns and priorities included. With `--updates` it learns, too.

A message is late by what passed from when its last row was to be there until the learner answered that it has it. Where the learner
gives no credits, a stream sends the same rows again, and is later with every row that follows.
"""

import argparse
import contextlib
import itertools
import json
import multiprocessing
import os
import queue
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scale  # before jax: it says which platform

from warmloop.actor.delivery.channel import open_channel
from warmloop.actor.delivery.link import Link
from warmloop.actor.delivery.sender import GATHER_ROWS, GATHER_SECONDS
from warmloop.data.transition import example
from warmloop.data.wire.row_schema import Schema, flatten

STREAMS, PROCESSES = 16, 2
POOL = 1_000_000
EPISODE = 13  # messages
LATE_SECONDS = 0.1
AGAIN_SECONDS = 0.005
OUT = Path("runs/bench_ingest_rate.json")


class Load(NamedTuple):
    """What is sent: rows a second of all streams together, for so many seconds."""

    rows: float
    seconds: float

    @property
    def rows_each(self) -> int:
        """Rows of one message."""
        return min(max(1, int(self.rows / STREAMS * GATHER_SECONDS)), GATHER_ROWS)

    @property
    def period(self) -> float:
        """Seconds from one message of a stream to its next."""
        return self.rows_each * STREAMS / self.rows


# The learner.


def _serve(folder: str, updates: float, ports: Any, done: Any, told: Any) -> None:
    import jax

    from warmloop.agents import SAC, SACConfig
    from warmloop.data.mixing import MixingConfig
    from warmloop.data.plausible import PlausibleLimits
    from warmloop.data.replay import ReplayConfig
    from warmloop.data.reward import RewardConfig
    from warmloop.learner.journal.journal import Journal
    from warmloop.learner.loop import TAKE_ROWS
    from warmloop.learner.receiving.intake import Intake
    from warmloop.learner.receiving.service import serve
    from warmloop.learner.rows.ingest import Ingest, RowRules
    from warmloop.learner.state import LearnerParts, create
    from warmloop.learner.step import Stepper

    parts = LearnerParts(SAC(SACConfig(), scale.STATES), ReplayConfig(capacity=POOL), MixingConfig())
    step = Stepper(parts)
    warm, rows = create(parts, 0, None), example(scale.STATES, 256)
    for count in (1, 256):  # compiles what takes in a few rows, and many
        warm = Ingest(parts, RowRules(RewardConfig()), warm).insert(warm, "warm", jax.tree.map(lambda leaf, n=count: leaf[:n], rows))
    if updates:
        warm, _ = step(warm)
    del warm
    state = create(parts, 0, None)
    ingest = Ingest(parts, RowRules(RewardConfig()), state)
    journal = Journal(folder)
    intake = Intake(Schema.of(scale.STATES, "ingest"), journal=journal, plausible=PlausibleLimits.unknown(scale.STATES))
    list(intake.recover(0, {}))
    server = serve("127.0.0.1", 0, intake)
    ports.put(server.port)
    most, rest, learnt, began, last = 0, 0.0, 0, 0.0, time.perf_counter()
    while not (done.is_set() and not intake.statistics()["waiting"]):
        intake.wait(0.05)
        most = max(most, intake.statistics()["waiting"])
        for chunk in intake.take(TAKE_ROWS):
            began = began or time.perf_counter()
            state = ingest.insert(state, chunk.stream, chunk.rows)
        journal.discard(max(0, ingest.inserted - POOL))
        if began and learnt < int(updates * (time.perf_counter() - began)):
            state, _ = step(state)
            learnt += 1
        now = time.perf_counter()
        rest, last = max(rest, now - last) if began else 0.0, now
    server.stop(1.0)
    journal.close()
    told.put({"taken": ingest.inserted, "most_waiting": most, "longest_round": rest, "updates": learnt})


@contextlib.contextmanager
def learner(updates: float) -> Iterator[tuple[int, int, Any]]:
    """Port and process of a learner, and what ends it and gives what it has to say. Its files are gone afterwards."""
    context = multiprocessing.get_context("spawn")
    ports, done, told = context.Queue(), context.Event(), context.Queue()
    with tempfile.TemporaryDirectory() as folder:
        process = context.Process(target=_serve, args=(folder, updates, ports, done, told))
        process.start()

        def end() -> dict[str, Any]:
            done.set()
            return told.get(timeout=scale.START_SECONDS)

        try:
            yield _first(ports, process), process.pid or 0, end
        finally:
            done.set()
            process.join(60)


def _first(ports: Any, process: Any) -> int:
    """The learner's port. Raises RuntimeError where it ends before it has one."""
    while True:
        with contextlib.suppress(queue.Empty):
            return ports.get(timeout=1.0)
        if not process.is_alive():
            raise RuntimeError("The learner did not start; its own words are above.")


def resident_megabytes(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


# The senders.


def _send(port: int, streams: range, load: Load, begin: Any, results: Any) -> None:
    """A process with a link for each of some streams."""
    schema, pieces = Schema.of(scale.STATES, "ingest"), pieces_of(load.rows_each)
    delays, answered, used = list[float](), Counter[int](), time.process_time()

    def act(link: Link, offset: float, began: float) -> None:
        while (number := link.status.received // load.rows_each) * load.period + offset < load.seconds:
            due = began + offset + number * load.period
            time.sleep(max(0.0, due - time.perf_counter()))
            first, episode = link.status.received, np.full(load.rows_each, number // EPISODE, np.int32)
            link.send_rows(first, load.rows_each, [pieces[number % EPISODE] | {"episode": episode}])
            link.receive()
            if link.status.received == first:
                time.sleep(AGAIN_SECONDS)
                continue
            delays.append(time.perf_counter() - due)
            answered[int(time.perf_counter() - began)] += load.rows_each
        while link.status.durable < link.status.received:
            link.heartbeat()
            time.sleep(0.01)
        link.goodbye()  # only then the loop gets the newest row of an episode that is open: the learner might have to cut it there

    with open_channel(f"127.0.0.1:{port}") as channel:
        links = {stream: Link(channel, schema, f"simulator-{stream}", uuid.uuid4().hex) for stream in streams}
        for link in links.values():
            link.hello(0)
        begin.wait()
        began = time.perf_counter()
        threads = [threading.Thread(target=act, args=(link, load.period * stream / STREAMS, began)) for stream, link in links.items()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        sent = sum(link.status.received for link in links.values())
    results.put((sent, delays, answered, time.process_time() - used))


def pieces_of(rows_each: int) -> list[dict[str, np.ndarray]]:
    """The leaves of each message of an episode; its last row ends it."""
    random, pieces, rows = np.random.default_rng(0), [], example(scale.STATES, rows_each)
    for piece in range(EPISODE):
        seen = random.standard_normal((rows_each + 1, scale.STATES.observation_dim), np.float32)
        mask = np.ones(rows_each, np.float32)
        mask[-1] = piece < EPISODE - 1
        made = rows.replace(observation=seen[:-1], next_observation=seen[1:], mask=mask, reward=np.ones(rows_each, np.float32))
        pieces.append(flatten(made.replace(step=(piece * rows_each + np.arange(rows_each)).astype(np.int32))))
    return pieces


# Both.


def held(load: Load, updates: float) -> dict[str, Any]:
    """What became of a load. Raises RuntimeError where the learner's pool has not all rows that it acknowledged."""
    context = multiprocessing.get_context("spawn")
    begin, results = context.Barrier(PROCESSES + 1), context.Queue()
    parts = [range(place, STREAMS, PROCESSES) for place in range(PROCESSES)]
    with learner(updates) as (port, pid, end):
        senders = [context.Process(target=_send, args=(port, part, load, begin, results)) for part in parts]
        for sender in senders:
            sender.start()
        begin.wait(scale.START_SECONDS)
        used, memory = [scale.processor_seconds(pid)], resident_megabytes(pid)
        for _ in range(int(load.seconds)):
            time.sleep(1.0)
            used.append(scale.processor_seconds(pid))
        found = [results.get(timeout=scale.START_SECONDS + load.seconds) for _ in senders]
        grown, told = resident_megabytes(pid) - memory, end()
        for sender in senders:
            sender.join(60)
    sent = sum(rows for rows, *_ in found)
    if told["taken"] != sent:
        raise RuntimeError(f"The learner acknowledged {sent} rows, and took {told['taken']} into its pool.")
    delays, answered = np.concatenate([one for _, one, *_ in found]), sum((one for *_, one, _ in found), Counter[int]())
    return {
        "asked": load._asdict(),
        "rows_a_message": load.rows_each,
        "sent": sent,
        **rates(load, answered),
        **lateness(delays),
        **shares(used),
        "senders_share": sum(own for *_, own in found) / load.seconds,
        "memory_grown_mb": grown,
        **told,
    }


def rates(load: Load, answered: Counter[int]) -> dict[str, float]:
    """Rows a second until the last was answered, and in the worst of the whole seconds between the first and the last."""
    whole = [answered[second] for second in range(1, max(2, int(load.seconds) - 1))]
    return {"rows_a_second": sum(answered.values()) / max(load.seconds, max(answered) + 1), "in_the_worst_second": min(whole)}


def lateness(delays: np.ndarray) -> dict[str, float]:
    """Milliseconds from when a message was due until it was answered, and the share of those above `LATE_SECONDS`."""
    half, most = np.percentile(delays * 1e3, (50, 99))
    late = float(np.mean(delays > LATE_SECONDS))
    return {"delay_ms_median": half, "delay_ms_p99": most, "delay_ms_most": float(delays.max() * 1e3), "late_share": late}


def shares(used: list[float]) -> dict[str, float]:
    """Of one processor, the learner's: in all, in the first third of the time and in the last, and in the worst second."""
    each = np.array([after - before for before, after in itertools.pairwise(used)])
    third = max(1, len(each) // 3)
    return {
        "learner_share": float(each.mean()),
        "learner_share_first_third": float(each[:third].mean()),
        "learner_share_last_third": float(each[-third:].mean()),
        "learner_share_worst": float(each.max()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=float, default=10_000.0, help="a second, of all streams together")
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--updates", type=float, default=0.0, help="a second, of the learner")
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    found = held(Load(given.rows, given.seconds), given.updates)
    for name, value in found.items():
        print(f"{name:<28}{value if not isinstance(value, float) else round(value, 4)}", flush=True)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
