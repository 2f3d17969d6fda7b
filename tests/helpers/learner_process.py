"""A learner without a model, as a process: the real intake, journal and service, and a loop that notes which rows it took.

    python learner_process.py FOLDER --port=0

Its "pool" is FOLDER/notes-LIFE: one `NOTE` for every row that was restored or taken, with the serial number that the row would have in
the pool; its checkpoints hold what a learner's hold of the streams. Writes FOLDER/port once it listens. SIGTERM ends it in order.
"""

import argparse
import itertools
import json
import logging
import os
import signal
import threading
import time
from pathlib import Path

import jax
import numpy as np
from marked_rows import AGENT, SCHEMA, SPEC, identify

from warmloop.data.plausible import PlausibleLimits
from warmloop.data.transition import PyTree, concatenate, example, length
from warmloop.data.wire import MIB
from warmloop.data.wire.keyring import LearnerCredentials
from warmloop.learner.journal.journal import Journal
from warmloop.learner.journal.streams import Chunk
from warmloop.learner.receiving.intake import Intake
from warmloop.learner.receiving.service import serve
from warmloop.learner.receiving.terms import Limits

NOTE = np.dtype([("serial", "<i8"), ("actor", "<i4"), ("number", "<i4"), ("kind", "<i4")])
TAKEN, RESTORED, BEGINS = range(3)  # the last one says only where a life goes on
KEEP = 2  # checkpoints
TOGETHER = 256  # chunks that are checked at once, for speed


class Loop:
    """Takes rows, notes them, and makes checkpoints, as `learner.loop` does."""

    def __init__(self, given: argparse.Namespace):
        self.given, self.journal = given, Journal(given.folder / "journal", segment_bytes=given.segment)
        limits = Limits(queue_rows=given.queue, actors=given.actors, lease_seconds=given.lease)
        plausible = PlausibleLimits.unknown(SPEC)
        self.intake = Intake(SCHEMA, given.folder / "quarantine", limits, journal=self.journal, plausible=plausible)
        self.checkpoints = given.folder / "checkpoints"
        self.checkpoints.mkdir(exist_ok=True)
        self.notes = open(given.folder / f"notes-{given.life:04d}", "wb", buffering=0)  # noqa: SIM115 (open as long as the process)
        saved = max(self.checkpoints.glob("*.json"), default=None)
        covered = {"serial": 0, "streams": {}} if saved is None else json.loads(saved.read_text())
        self.notes.write(np.array((covered["serial"], 0, 0, BEGINS), NOTE).tobytes())
        restored = self.intake.recover(covered["serial"], covered["streams"], max(0, covered["serial"] - given.ring))
        while some := list(itertools.islice(restored, TOGETHER)):
            self.note(some, RESTORED)
        self.serial = self.saved = covered["serial"]
        if saved is None:
            self.save()

    def note(self, chunks: list[tuple[int, Chunk]], kind: int = TAKEN) -> None:
        """Rows enter the pool, each chunk from a serial number on; every byte of them is checked."""
        if self.given.unchecked or not chunks:
            return
        found = np.array(identify(concatenate([chunk.rows for _, chunk in chunks])), np.int64)
        notes = np.empty(len(found), NOTE)
        notes["serial"] = np.concatenate([serial + np.arange(length(chunk.rows)) for serial, chunk in chunks])
        notes["actor"], notes["number"] = found.T
        notes["kind"] = kind
        self.notes.write(notes.tobytes())

    def turn(self) -> None:
        """One round."""
        self.intake.wait(0.1)
        taken = []
        for chunk in self.intake.take(1024):
            taken.append((self.serial, chunk))
            self.serial += length(chunk.rows)
        self.note(taken)
        self.intake.reports()
        if self.serial - self.saved >= self.given.save_every:
            self.save()
        time.sleep(self.given.rest)

    def save(self) -> None:
        """A checkpoint, and the end of what no kept one needs."""
        streams, serial = self.intake.state(), self.serial
        if not self.journal.sync():
            return
        path = self.checkpoints / f"{serial:012d}.json"
        partial = path.with_suffix(".partial")
        with open(partial, "w") as file:
            json.dump({"serial": serial, "streams": streams}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
        for old in sorted(self.checkpoints.glob("*.json"))[:-KEEP]:
            old.unlink()
        oldest = int(min(self.checkpoints.glob("*.json")).stem)
        self.journal.discard(oldest - self.given.ring)
        self.saved = serial


def zero_weights() -> PyTree:
    """Parameters of `AGENT`'s actor, without compiling anything."""
    shapes = jax.eval_shape(lambda: AGENT.actor_params(AGENT.init(jax.random.key(0), example(SPEC))))
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--life", type=int, default=1)
    parser.add_argument("--unchecked", action="store_true", help="take rows of any content, and note none")
    parser.add_argument("--rest", type=float, default=0.0, help="seconds between two rounds of the loop")
    parser.add_argument("--weights", type=int, default=0, help="KiB of something else than the actors' parameters")
    parser.add_argument("--queue", type=int, default=50_000, help="rows that may wait")
    parser.add_argument("--actors", type=int, default=16)
    parser.add_argument("--lease", type=float, default=30.0)
    parser.add_argument("--segment", type=int, default=64 * MIB, help="bytes")
    parser.add_argument("--ring", type=int, default=1_000_000, help="rows of the pool")
    parser.add_argument("--save-every", type=int, default=1_000, help="rows between two checkpoints")
    parser.add_argument("--credentials", type=Path, help="folder; the port then has TLS and wants tokens")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    loop, stop = Loop(given), threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    loop.intake.publish(0, {"w": np.zeros(given.weights * 256, np.float32)} if given.weights else zero_weights())
    secrets = LearnerCredentials.read(given.credentials) if given.credentials else None
    server = serve("127.0.0.1", given.port, loop.intake, secrets)
    ready = given.folder / "port.partial"
    ready.write_text(str(server.port))
    os.replace(ready, given.folder / "port")
    while not stop.is_set():
        loop.turn()
    server.stop(5.0)
    while loop.intake.statistics()["waiting"]:
        loop.turn()
    loop.save()
    loop.journal.close()
    logging.info("ended: %s", json.dumps(loop.intake.statistics()))


if __name__ == "__main__":
    main()
