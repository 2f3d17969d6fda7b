"""Runs `learner_process.py`: starts it, kills it, reads what it wrote."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

SCRIPT = Path(__file__).with_name("learner_process.py")
START_SECONDS = 60.0


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
        deadline = time.monotonic() + START_SECONDS
        while not (self.folder / "port").exists():
            assert self.alive, f"the learner ended with {self.process.returncode}: {self.log()[-2000:]}"
            assert time.monotonic() < deadline, "the learner did not start"
            time.sleep(0.02)
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
