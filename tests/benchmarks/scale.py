"""What a learner needs for many actors: measured for as many as this machine holds, and computed from that for more.

    python tests/benchmarks/scale.py --measure          # measures what a row and a message cost here, and writes runs/bench_scale.json
    python tests/benchmarks/scale.py                    # computes the table of docs/scale.md from that file

A learner without a model, with its real service, intake and journal, is a process of its own; so are the actors, whose links send what
`Sender` would: one message for the rows of 25 ms. A cost is processor time, which other work on the machine changes little. The price of a
message, of a commit to the disk (which many messages share), of a row and of a byte are fitted to the measured loads.
"""

import argparse
import contextlib
import dataclasses
import itertools
import json
import multiprocessing
import os
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ |= {"JAX_PLATFORMS": "cpu"}

import jax
import numpy as np

from warmloop.actor.delivery.channel import open_channel
from warmloop.actor.delivery.link import Link
from warmloop.actor.delivery.sender import GATHER_ROWS, GATHER_SECONDS
from warmloop.data.replay import ReplayConfig, replay
from warmloop.data.replay.frames import FramesConfig, layout_of, online_frames, stored_spec
from warmloop.data.transition import Leaf, Spec, example
from warmloop.data.wire.row_schema import Schema, flatten

STATES = Spec((Leaf("", (39,), "float32"),), 7)
CAMERAS = Spec((Leaf("front", (128, 128, 3), "uint8"), Leaf("state", (39,), "float32"), Leaf("wrist", (128, 128, 3), "uint8")), 7)
SPECS = {"states": STATES, "cameras": CAMERAS}
OUT = Path("runs/bench_scale.json")
START_SECONDS = 600.0
EPISODE = 100  # steps
PICTURES = 8  # that an actor's cameras show in turn
COMMIT_SECONDS = 0.008  # from one commit to the next: the journal's rest of 5 ms, and an fsync


@dataclasses.dataclass(frozen=True)
class Load:
    """Actors that each take `hertz` steps a second."""

    spec: str
    actors: int
    hertz: float
    pace: float = 1.0  # the share of its steps that it came to

    @property
    def rows_each(self) -> int:
        """Rows of one message."""
        return min(max(1, int(self.hertz * GATHER_SECONDS)), GATHER_ROWS)

    @property
    def rows(self) -> float:
        return self.actors * self.hertz * self.pace

    @property
    def messages(self) -> float:
        return self.rows / self.rows_each

    @property
    def commits(self) -> float:
        """Of the journal: a commit takes what came since the last one, and the next begins some milliseconds later."""
        return self.messages / (1.0 + self.messages * COMMIT_SECONDS)

    @property
    def bytes(self) -> float:
        """On the wire, and to the journal: each picture once, and one more for each episode."""
        schema = Schema.of(SPECS[self.spec], "scale")
        pictures = sum(camera.size * (1 + 1 / EPISODE) + 2 for camera in schema.cameras)
        return self.rows * (schema.without_pictures.row_bytes + pictures)


MEASURED = (
    Load("states", 1, 20.0), Load("states", 4, 100.0), Load("states", 8, 20.0), Load("states", 2, 500.0), Load("states", 10, 500.0),
    Load("cameras", 1, 20.0), Load("cameras", 4, 20.0), Load("cameras", 10, 20.0),
)  # fmt: skip
WANTED = {
    "100 actors at 20 Hz with two cameras": Load("cameras", 100, 20.0),
    "10 actors at 500 Hz": Load("states", 10, 500.0),
    "1 robot at 20 Hz with two cameras": Load("cameras", 1, 20.0),
}


# Measured.


def measured(spec: str, seconds: float) -> Iterator[dict[str, Any]]:
    """Of each load of a spec: rows a second that became durable, and the share of a processor that the learner used for them."""
    context = multiprocessing.get_context("spawn")
    with learner(spec) as (port, pid):
        asks, results = context.Queue(), context.Queue()
        actors = context.Process(target=_send, args=(port, seconds, asks, results))
        actors.start()
        results.get(timeout=START_SECONDS)
        idle, began = processor_seconds(pid), time.perf_counter()
        time.sleep(2.0)
        idle = (processor_seconds(pid) - idle) / (time.perf_counter() - began)
        for load in (load for load in MEASURED if load.spec == spec):
            before = processor_seconds(pid)
            asks.put(load)
            rows, took, own = results.get(timeout=START_SECONDS + 10 * seconds)
            share = (processor_seconds(pid) - before) / took - idle
            found = {"rows": rows / took, "asked": load.rows, "learner": share, "idle": idle, "actors": own / took}
            yield {"load": dataclasses.asdict(load)} | found
        asks.put(None)
        actors.join(60)


def processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def learner(spec: str, kept: Path | None = None) -> Iterator[tuple[int, int]]:
    """Port and process of a learner, whose files are gone afterwards; its whole journal stays in the folder `kept`, if given."""
    context = multiprocessing.get_context("spawn")
    ports, done = context.Queue(), context.Event()
    with tempfile.TemporaryDirectory() as folder:
        process = context.Process(target=_serve, args=(spec, str(kept or folder), ports, done, kept is not None))
        process.start()
        yield ports.get(timeout=START_SECONDS), process.pid or 0
        done.set()
        process.join(60)


def _serve(spec: str, folder: str, ports: Any, done: Any, keep: bool) -> None:
    from warmloop.data.plausible import PlausibleLimits
    from warmloop.learner.journal.journal import Journal
    from warmloop.learner.receiving.intake import Intake
    from warmloop.learner.receiving.service import serve

    journal = Journal(folder)
    intake = Intake(Schema.of(SPECS[spec], "scale"), journal=journal, plausible=PlausibleLimits.unknown(SPECS[spec]))
    list(intake.recover(0, {}))
    server, taken = serve("127.0.0.1", 0, intake), 0
    ports.put(server.port)
    while not done.is_set():
        intake.wait(0.1)
        taken += sum(len(chunk.rows.reward) for chunk in intake.take(1024))
        journal.discard(0 if keep else taken)
        time.sleep(0.005)
    server.stop(1.0)
    journal.close()


def _send(port: int, seconds: float, asks: Any, results: Any) -> None:
    """A process with a link for each actor of the loads that it is asked for."""
    results.put("ready")
    for load in iter(asks.get, None):
        used = time.process_time()
        rows, took = _acted(port, load, seconds)
        results.put((rows, took, time.process_time() - used))


def _acted(port: int, load: Load, seconds: float) -> tuple[int, float]:
    """Durable rows, and the seconds from the first to the last."""
    schema, pieces, period = Schema.of(SPECS[load.spec], "scale"), pieces_of(load.spec, load.rows_each), load.rows_each / load.hertz
    with open_channel(f"127.0.0.1:{port}") as channel:
        links = [Link(channel, schema, f"actor-{number}", uuid.uuid4().hex) for number in range(load.actors)]
        for link in links:
            link.hello(0)
        began = time.perf_counter()

        def act(link: Link, offset: float) -> None:
            due = began + offset
            while time.perf_counter() < began + seconds:
                first = link.status.received
                link.send_rows(first, load.rows_each, [pieces[first // load.rows_each % PICTURES]])
                link.receive()
                due += period
                time.sleep(max(0.0, due - time.perf_counter()))
            while link.status.durable < link.status.received:
                link.heartbeat()
                time.sleep(0.01)

        threads = [threading.Thread(target=act, args=(link, period * place / len(links))) for place, link in enumerate(links)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sum(link.status.received for link in links), time.perf_counter() - began


def pieces_of(spec: str, rows_each: int) -> list[dict[str, np.ndarray]]:
    """The leaves of one message's rows after another, over and over: what the cameras show after a row they show before the next."""
    random, pieces = np.random.default_rng(0), []
    shown = {leaf.name: random.integers(0, 256, (PICTURES, *leaf.shape), np.uint8) for leaf in SPECS[spec].cameras}
    for piece in range(PICTURES):
        numbers = piece * rows_each + np.arange(rows_each + 1)
        rows = example(SPECS[spec], rows_each)
        if shown:
            here, after = ({name: pictures[part % PICTURES] for name, pictures in shown.items()} for part in (numbers[:-1], numbers[1:]))
            rows = rows.replace(observation=rows.observation | here, next_observation=rows.next_observation | after)
        pieces.append(flatten(rows.replace(step=numbers[:-1].astype(np.int32))))
    return pieces


# Computed.


def parts_of(load: Load) -> tuple[float, float, float, float]:
    """Messages, commits, rows and bytes a second."""
    return load.messages, load.commits, load.rows, load.bytes


def achieved(one: dict[str, Any]) -> np.ndarray:
    """What a measured load came to: on a busy machine its actors do not keep their pace."""
    load = Load(**one["load"])
    return np.array(parts_of(dataclasses.replace(load, pace=one["rows"] / load.rows)))


def prices(found: list[dict[str, Any]]) -> np.ndarray:
    """Seconds of the learner's processor for a message, a commit, a row and a byte: those that fit the measured loads best and are not
    negative. Each load counts by its own size, so that small ones are fitted as well as large ones."""
    used = np.array([one["learner"] for one in found])
    columns = np.array([achieved(one) for one in found]) / used[:, None]
    scale, best, price = columns.max(axis=0), np.inf, np.zeros(4)
    for kept in (list(some) for count in (4, 3, 2, 1) for some in itertools.combinations(range(4), count)):
        solved = np.linalg.lstsq(columns[:, kept] / scale[kept], np.ones(len(used)), rcond=None)[0]
        error = float(np.square(columns[:, kept] / scale[kept] @ solved - 1.0).sum())
        if (solved >= 0).all() and error < best - 1e-12:
            best, price = error, np.zeros(4)
            price[kept] = solved / scale[kept]
    return price


def pool_bytes(spec: Spec, rows: int) -> float:
    """What an online pool of so many rows takes, with its camera frames."""
    config, frames = ReplayConfig(capacity=rows), FramesConfig()
    arrays = jax.eval_shape(lambda: replay.create(stored_spec(spec), config, rows, False))
    total = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(arrays))
    if spec.cameras:
        total += online_frames(spec, rows, config=frames, at_once=256) * sum(layout_of(leaf, frames).size for leaf in spec.cameras)
    return total


def computed(load: Load, price: np.ndarray, pool: int = 1_000_000) -> dict[str, float]:
    """What a load needs; `pool` is the online pool's rows."""
    row_bytes = Schema.of(SPECS[load.spec], "scale").row_bytes  # in memory, where a waiting row has both its pictures
    return {
        "rows a second": load.rows,
        "messages a second": load.messages,
        "MB a second on the wire, and to the journal": load.bytes / 1e6,
        "GB of journal an hour": load.bytes * 3600 / 1e9,
        "GB of journal for the pool": pool * load.bytes / load.rows / 1e9,
        "processors of the learner, beside its updates": float(np.dot(price, parts_of(load))),
        "GB of the pool": pool_bytes(SPECS[load.spec], pool) / 1e9,
        "seconds until the queue of 1 GiB is full, if nothing is taken": min(2**30 / row_bytes, 50_000) / load.rows,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", action="store_true", help="measure the loads first")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each load")
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the online pool")
    parser.add_argument("--file", type=Path, default=OUT)
    given = parser.parse_args()
    if given.measure:
        found = []
        for one in (one for spec in SPECS for one in measured(spec, given.seconds)):
            found.append(one)
            print({name: round(value, 4) if isinstance(value, float) else value for name, value in one.items()}, flush=True)
        given.file.parent.mkdir(parents=True, exist_ok=True)
        given.file.write_text(json.dumps(found, indent=1) + "\n")
    price = prices(json.loads(given.file.read_text()))
    message, commit, row, byte = 1e6 * price
    print(f"microseconds of the learner: {message:.0f} a message, {commit:.0f} a commit, {row:.1f} a row, {1e5 * byte:.1f} for 100 kB")
    for one in json.loads(given.file.read_text()):
        load = Load(**one["load"])
        said = f"{load.actors} of {load.spec} at {load.hertz:g} Hz: {one['rows']:.0f} of {load.rows:.0f} rows/s"
        print(f"{said}, {100 * one['learner']:.1f} % of a processor, {100 * np.dot(price, achieved(one)):.1f} % by these prices")
    for name, load in WANTED.items():
        print(name)
        for what, value in computed(load, price, given.rows).items():
            print(f"  {value:12.4g}  {what}")


if __name__ == "__main__":
    main()
