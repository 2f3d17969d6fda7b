"""What makes names on a disk outlive a loss of power, keeps two processes out of one folder, and lets a writing end before a signal."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from ..errors import WarmloopError

# What may end a process, and by which another thread breaks into the main one (`data/running/emergency.py`).
LEAVING = tuple(signal.Signals[name] for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGURG") if name in signal.Signals.__members__)


def sync_directory(directory: Path) -> None:
    """Makes names that were made, changed or removed within `directory` durable. Raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def lock_directory(directory: Path, name: str, advice: str) -> int:
    """Makes a directory, where there is none, and locks it: an open file that holds the lock until it is closed or the process is gone.

    Args:
        name: what the directory is, for messages, as in "The spool".
        advice: what to do where another process holds it.

    Raises:
        WarmloopError: the directory cannot be used, or another process (its number is in the file) holds it.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        # Emptied below, so that a link in its place would empty what it leads to.
        lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    except OSError as error:
        raise WarmloopError(f"{name} {directory} cannot be used: {error.strerror}.") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.read(lock, 20).decode(errors="replace").strip() or "of unknown number"
        os.close(lock)
        raise WarmloopError(f"{name} {directory} is in use by process {holder}: {advice}.") from error
    os.truncate(lock, 0)
    os.write(lock, b"%d\n" % os.getpid())
    return lock


def check_room(directory: Path, size: int) -> None:
    """Raises OSError where no file of `size` bytes fits into a folder. For libraries that do not survive a full disk: HDF5 then ends the
    process by a segmentation fault."""
    with tempfile.TemporaryFile(dir=directory) as file:
        if hasattr(os, "posix_fallocate"):  # which macOS has not
            os.posix_fallocate(file.fileno(), 0, max(1, size))


def write_durably(path: Path, text: str) -> None:
    """Writes a file that is on the disk when this returns. Raises OSError."""
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def unbroken() -> Iterator[None]:
    """Within the block signals to leave wait; at its end each one that came is answered, as it would have been."""
    if threading.current_thread() is not threading.main_thread():  # which is the only one that a signal breaks into
        yield
        return
    came: list[signal.Signals] = []
    heard = [number for number in LEAVING if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, lambda number, _: came.append(signal.Signals(number))) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        for number in came:
            handler = before[number]
            if callable(handler):  # raised once more, it would be a second wish where signals are counted
                handler(number, None)
            else:
                signal.raise_signal(number)
