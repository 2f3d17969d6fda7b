"""An actor without an environment: the real spool and client, and a loop that records marked rows. Also a process:

    python actors.py PORT NUMBER FOLDER --rate=100

Its spool is FOLDER/spool. It writes FOLDER/acknowledged: the number below which the learner's disk holds all its rows, and how many
it has recorded. SIGTERM ends it once all of them are acknowledged.
"""

import argparse
import contextlib
import logging
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from marked_rows import AGENT, SCHEMA, marked

from warmloop.actor.config import ActorConfig
from warmloop.actor.delivery.channel import open_channel
from warmloop.actor.delivery.client import Client, Introduction
from warmloop.actor.delivery.spool import Spool
from warmloop.data.wire.keyring import ActorCredentials

TICK = 0.02  # seconds between two records
FLUSH_SECONDS = 150.0  # of a busy machine


@contextlib.contextmanager
def spooling_client(
    port: int, actor_id: str, folder: Path, config: ActorConfig | None = None, secrets: Path | None = None
) -> Iterator[tuple[Client, Spool]]:
    """An actor's client as `train_rlpd --actor` makes it, with its spool; `secrets` is a folder of credentials."""
    spool = Spool(folder, SCHEMA)
    try:
        channel = open_channel(f"127.0.0.1:{port}", ActorCredentials.read(secrets, actor_id) if secrets else None)
        client = Client(channel, Introduction(SCHEMA, AGENT, actor_id), config, rows=spool.rows)
        try:
            yield client, spool
        finally:
            client.close(FLUSH_SECONDS)
    finally:
        spool.close()


class Actor:
    """Records rows of actor `number` at `rate` a second in a thread of its own, until `finish`.

    Attributes:
        failure: what ended it, if anything did.
        end: rows recorded, by this one and those before it on the same spool.
        acknowledged: the number below which the learner's disk holds all rows.
    """

    def __init__(
        self, port: int, number: int, folder: Path, rate: float = 200.0, config: ActorConfig | None = None, secrets: Path | None = None
    ):
        self._secrets = secrets
        self.number, self.rate, self.end, self.acknowledged = number, rate, 0, 0
        self.failure: BaseException | None = None
        self._port, self._folder, self._config = port, folder, config or ActorConfig(patience=600.0)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def finish(self, timeout: float = 240.0) -> int:
        """Stops recording, waits until every row is acknowledged, and leaves. Returns the number of rows."""
        self._stop.set()
        self._thread.join(timeout)
        assert not self._thread.is_alive(), f"actor {self.number} does not end: {self.acknowledged} of {self.end} rows acknowledged"
        if self.failure is not None:
            raise self.failure
        assert self.acknowledged == self.end, f"actor {self.number}: {self.acknowledged} of {self.end} rows acknowledged"
        return self.end

    def _run(self) -> None:
        try:
            name, folder = f"actor-{self.number}", self._folder / "spool"
            with spooling_client(self._port, name, folder, self._config, self._secrets) as (client, spool):
                self._record(client, spool)
        except BaseException as error:
            self.failure = error

    def _record(self, client: Client, spool: Spool) -> None:
        begin, count = time.monotonic(), 0
        self.end = spool.rows.end
        while not self._stop.wait(TICK):
            due = int((time.monotonic() - begin) * self.rate) - count
            due = min(due, 200)
            if due > 0:
                client.record(marked(self.number, self.end, due))
                count, self.end = count + due, self.end + due
            self.acknowledged = spool.rows.first
            self.note()
        client.flush(FLUSH_SECONDS)
        with spool.rows.lock:
            spool.rows.changed.wait_for(lambda: len(spool.rows) == 0, FLUSH_SECONDS)
        self.acknowledged = spool.rows.first
        self.note()

    def note(self) -> None:
        """Called as `acknowledged` moves."""


class NotingActor(Actor):
    """Keeps `acknowledged` and `end` in a file, for when its process is killed."""

    def note(self) -> None:
        with open(self._folder / "acknowledged", "r+b" if (self._folder / "acknowledged").exists() else "wb") as file:
            file.write(struct.pack("<qq", self.acknowledged, self.end))


class ActorProcess:
    """The actor as a process of its own; may be killed and started again on the same spool."""

    def __init__(self, port: int, number: int, folder: Path, rate: float = 200.0, environment: dict[str, str] | None = None):
        self.port, self.number, self.folder, self.rate = port, number, folder, rate
        self.environment = environment or dict(os.environ)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.start()

    def start(self) -> None:
        line = [sys.executable, __file__, str(self.port), str(self.number), str(self.folder), f"--rate={self.rate}"]
        self._began = time.time()
        with open(self.folder / "actor.log", "a") as log:
            self.process = subprocess.Popen(line, stdout=log, stderr=subprocess.STDOUT, env=self.environment)

    @property
    def started(self) -> bool:
        """Whether this process, and not only one before it, has written down where it is."""
        path = self.folder / "acknowledged"
        return path.exists() and path.stat().st_mtime > self._began

    @property
    def acknowledged(self) -> int:
        """The number that it last wrote down."""
        return self._noted()[0]

    @property
    def end(self) -> int:
        """Rows recorded, when it last wrote that down."""
        return self._noted()[1]

    def _noted(self) -> tuple[int, int]:
        path = self.folder / "acknowledged"
        noted = path.read_bytes() if path.exists() else b""
        return struct.unpack("<qq", noted) if len(noted) == 16 else (0, 0)

    def log(self) -> str:
        return (self.folder / "actor.log").read_text()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def finish(self, timeout: float = 240.0) -> int:
        """As `Actor.finish`."""
        deadline = time.monotonic() + timeout
        while not self.started and self.process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)  # a process that was just begun would die of the signal
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(timeout) == 0, self.log()[-2000:]
        assert self.acknowledged == self.end
        return self.end


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("number", type=int)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rate", type=float, default=200.0)
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    actor = NotingActor(given.port, given.number, given.folder, given.rate)
    while not over.wait(0.1) and actor.failure is None:
        pass
    actor.finish()


if __name__ == "__main__":
    main()
