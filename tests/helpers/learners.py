"""Runs `learner_process.py`: starts it, kills it, reads what it wrote."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
from actors import Actor, ActorProcess
from journals import records_of
from learner_process import BEGINS, NOTE, RESTORED, TAKEN
from waiting import until

from warmloop.learner.journal.records import Kind

SCRIPT = Path(__file__).with_name("learner_process.py")
START_SECONDS = 600.0  # of a busy machine


class LearnerProcess:
    """A learner without a model, in `folder`; goes on from what it finds there.

    Attributes:
        port: it listens on; the same in every life unless given.
        lives: times it was started.
    """

    def __init__(self, folder: Path, *options: str, port: int = 0, environment: dict[str, str] | None = None):
        self.folder, self.options, self.port, self.lives = folder, options, port, 0
        self.environment = environment or dict(os.environ)
        self.start()

    def start(self, wait: bool = True) -> None:
        """Begins a life."""
        self.lives += 1
        ready = self.folder / "port"
        ready.unlink(missing_ok=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self._log, "a") as log:
            line = [sys.executable, str(SCRIPT), str(self.folder), f"--port={self.port}", f"--life={self.lives}", *self.options]
            self.process = subprocess.Popen(line, stdout=log, stderr=subprocess.STDOUT, env=self.environment)
        if wait:
            self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Returns once it listens."""
        until((self.folder / "port").exists, START_SECONDS, lambda: self.log()[-2000:], self.process)
        self.port = int((self.folder / "port").read_text())

    @property
    def _log(self) -> Path:
        return self.folder / "learner.log"

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    @property
    def pid(self) -> int:
        return self.process.pid

    def log(self) -> str:
        """All that it has said."""
        return self._log.read_text()

    def pool(self) -> np.ndarray:
        """The rows in the pool, as `NOTE`s in their order, put together from all lives. What a life restored must be what earlier
        ones had put there."""
        pool = np.empty(0, NOTE)
        for path in sorted(self.folder.glob("notes-*")):
            whole = path.read_bytes()
            notes = np.frombuffer(whole[: len(whole) // NOTE.itemsize * NOTE.itemsize], NOTE)  # a kill may tear the last one
            begin, restored, taken = (notes[notes["kind"] == kind] for kind in (BEGINS, RESTORED, TAKEN))
            for name in ("serial", "actor", "number"):
                assert (restored[name] == pool[name][restored["serial"]]).all(), f"{path.name}: what was restored is not what was there"
            if len(begin):
                assert begin["serial"][0] <= len(pool)
                pool = np.concatenate([pool[: begin["serial"][0]], taken])
                assert (pool["serial"] == np.arange(len(pool))).all(), f"{path.name}: a gap"
        return pool

    def stored_rows(self) -> int:
        """Rows in the journal's files."""
        found = records_of(self.folder / "journal")
        return sum(record.count for record in found if record.kind == Kind.ROWS)

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """SIGTERM, and the end in order."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(60) == 0, self.log()[-2000:]

    def __enter__(self) -> "LearnerProcess":
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()


def resident_bytes(pid: int) -> int:
    """Memory that a process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def assert_each_once(pool: np.ndarray, ends: dict[int, int]) -> None:
    """Checks that a pool holds rows 0 … `end - 1` of each actor, every one of them once, in order."""
    assert len(pool) == sum(ends.values())
    for actor, end in ends.items():
        numbers = pool["number"][pool["actor"] == actor]
        assert len(numbers) == end, f"actor {actor}: {end} rows were acknowledged and {len(numbers)} inserted"
        assert (numbers == np.arange(end)).all(), f"actor {actor}: a row is missing, doubled or out of order"


def finish(learner: LearnerProcess, *actors: Actor | ActorProcess) -> dict[int, int]:
    """Ends the actors and their learner in order, and checks that every row of each was inserted once. Returns their numbers of rows."""
    ends = {actor.number: actor.finish() for actor in actors}
    learner.stop()
    assert_each_once(learner.pool(), ends)
    for sentence in ("are lost", "are missing", "Traceback"):
        assert sentence not in learner.log()
    return ends
