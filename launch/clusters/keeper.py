"""Keeps one command on a node: it outlives the Ray worker that started it, and ends the command in order once that worker is gone.

`python -m warmloop.launch.clusters.keeper` reads one line of JSON from stdin, starts the command in a session of its own, and then takes
letters: `t` ends it in order (SIGTERM), `q` at once (SIGQUIT, then SIGKILL). The end of stdin is a `t`, and the keeper's own end after it.
Secrets come on stdin alone, and lie in a folder for this user's eyes until the end. A lock keeps a second process of the name from
starting while the first one still ends. Only the standard library is imported here.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import json
import os
import select
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LOG, CODE, PID = "log", "code", "pid"
ORPHAN_SECONDS = 120.0  # for a command to save once nobody asks for it any more
QUIT_SECONDS = 3.0
BEAT = 0.1


class Keeper:
    """One command, from the order that names it to its end."""

    def __init__(self, order: dict):
        self.order, self.place = order, Path(order["place"])
        self.secrets: Path | None = None
        self.child: subprocess.Popen | None = None
        self.ending, self.deadline = False, float("inf")

    def run(self) -> None:
        """Waits for the lock, runs the command, and leaves nothing behind."""
        try:
            lock = self._lock()
            if lock is not None:
                self._start(lock)  # the command has a copy, in case this keeper is killed before it
                self._attend()
                os.close(lock)
            while not self.ending:  # the worker reads the rest of the log
                self._hear()
        finally:
            for folder in (self.place, self.secrets):
                if folder is not None:
                    shutil.rmtree(folder, ignore_errors=True)

    def _lock(self) -> int | None:
        """The lock of this name; None where the worker is gone before it is free."""
        lock = os.open(locks() / hashlib.sha256(self.order["name"].encode()).hexdigest()[:32], os.O_RDWR | os.O_CREAT, 0o600)
        while not self.ending:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return lock
            self._hear()
        return None

    def _start(self, lock: int) -> None:
        line = [*self.order["line"]]
        if self.order["secrets"]:
            self.secrets = private_folder()
            for name, value in self.order["secrets"].items():
                with open(os.open(self.secrets / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                    file.write(base64.b64decode(value))
            line.append(f"--credentials={self.secrets}")
        with open(self.place / LOG, "ab") as log:
            self.child = subprocess.Popen(
                line,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.order["folder"],
                env=self.order["environment"],
                start_new_session=True,
                pass_fds=(lock,),
            )
        self._note(PID, self.child.pid)

    def _attend(self) -> None:
        assert self.child is not None
        while (code := self.child.poll()) is None:
            self._hear()
            if time.monotonic() > self.deadline:
                self._signal(signal.SIGKILL)
        self._note(CODE, code)

    def _hear(self) -> None:
        """Takes one letter, or waits for a beat."""
        if self.ending:
            time.sleep(BEAT)
            return
        if not select.select([0], [], [], BEAT)[0]:
            return
        letter = os.read(0, 1)
        if letter == b"q":
            self._signal(signal.SIGQUIT)
            self.deadline = time.monotonic() + QUIT_SECONDS
        elif letter == b"t":
            self._signal(signal.SIGTERM)
        elif not letter:
            self.ending = True
            if self.child is not None:
                self._signal(signal.SIGTERM)
                self.deadline = min(self.deadline, time.monotonic() + ORPHAN_SECONDS)

    def _signal(self, number: int) -> None:
        """SIGTERM for the command alone, which sees to its own children; what cannot be refused for all of them."""
        if self.child is None or self.child.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            if number == signal.SIGKILL:
                os.killpg(self.child.pid, number)
            else:
                self.child.send_signal(number)

    def _note(self, name: str, value: int) -> None:
        partial = self.place / f"{name}.part"
        partial.write_text(f"{value}\n")
        os.replace(partial, self.place / name)


def private_folder() -> Path:
    """A new folder that this user alone may open, in memory where the system has files there."""
    memory = "/dev/shm"
    return Path(tempfile.mkdtemp(prefix="warmloop-", dir=memory if os.access(memory, os.W_OK) else None))


def locks() -> Path:
    """The folder of this user's locks. Raises OSError where another user has made one of that name."""
    folder = Path(tempfile.gettempdir(), f"warmloop-locks-{os.getuid()}")
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode):
        raise PermissionError(f"{folder} is another user's")
    return folder


def main() -> None:
    """Reads the order and keeps its command. A fork makes it no child of the worker's, which Ray would end with the worker."""
    if os.fork():
        os._exit(0)
    order = bytearray()
    while not order.endswith(b"\n"):
        piece = os.read(0, 1)  # letters come after the line, and are read one by one
        if not piece:
            return
        order += piece
    Keeper(json.loads(order)).run()


if __name__ == "__main__":
    main()
    sys.exit(0)
