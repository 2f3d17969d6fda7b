"""What makes names on a disk outlive a loss of power, and keeps two processes out of one folder."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from .errors import WarmloopError


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
        lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
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


def write_durably(path: Path, text: str) -> None:
    """Writes a file that is on the disk when this returns. Raises OSError."""
    with open(path, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
