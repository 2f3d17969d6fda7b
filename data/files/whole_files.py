"""Files at the edge: found and non-empty when read, whole or absent when written."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from ..errors import WarmloopError
from ..settings.near_names import did_you_mean
from .disk import sync_directory

HDF5, PICKLE, MEMBER, GZIP = b"\x89HDF\r\n\x1a\n", b"\x80", b"PK\x03\x04", b"\x1f\x8b"
HEAD = 512
LONGEST_SHOWN = 120  # characters of a path that is refused


def check_path(path: str | Path) -> Path:
    """`path` with "~" as a home, where it is a file or a folder that may be read, or nothing.

    Raises:
        WarmloopError: it may not be read, is no possible path, or is a device or a pipe, whose reading may never end.
    """
    shown = str(path) if len(str(path)) < LONGEST_SHOWN else f"{str(path)[:LONGEST_SHOWN]}…"
    try:
        found = Path(path).expanduser()
    except RuntimeError as error:
        raise WarmloopError(f"{shown}: {error}; write the path in full.") from error
    try:
        mode = os.stat(found).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return found
    except OSError as error:
        raise WarmloopError(f"{shown} cannot be read: {error.strerror}.") from error
    except ValueError as error:  # of a null byte
        raise WarmloopError(f"{shown!r} is no path: {error}.") from error
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise WarmloopError(f"{shown} is a device or a pipe; name a file or a folder.")
    if not os.access(found, os.R_OK):
        raise WarmloopError(f"{shown} cannot be read: {os.strerror(errno.EACCES)}.")
    return found


def require_file(path: Path) -> None:
    """Raises WarmloopError unless `path` is a file that holds something; a missing one names its nearest neighbour."""
    path = check_path(path)
    if path.is_dir():
        raise WarmloopError(f"{path} is a folder, and a file is needed.")
    if not path.is_file():
        raise WarmloopError(absent(path))
    if path.stat().st_size == 0:
        raise WarmloopError(f"{path} is an empty file; record or copy it again.")


def absent(path: Path) -> str:
    """The sentence for a path where nothing is: its nearest neighbour, or the folder in which LeRobot keeps a data set of that name."""
    home = os.environ.get("HF_LEROBOT_HOME") or Path(os.environ.get("HF_HOME", "~/.cache/huggingface"), "lerobot")
    kept = Path(home).expanduser() / path
    if not path.is_absolute() and (kept / "meta" / "info.json").is_file():
        return f"{path} does not exist; LeRobot keeps a data set of that name in {kept}: give this folder."
    neighbours = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    return f"{path} does not exist{did_you_mean(path.name, neighbours, one=True)}"


def kind(path: str) -> str | None:
    """ "npz" (a zip archive whose first member is an array), "hdf5" or "pickle" (of protocol 2 or later), by a file's first bytes; None
    for any other, and where there is none."""
    try:
        with open(path, "rb") as file:
            head = file.read(HEAD)
    except OSError:
        return None
    if head.startswith(MEMBER):  # its name's length is at byte 26, and the name at byte 30
        return "npz" if head[30 : 30 + int.from_bytes(head[26:28], "little")].endswith(b".npy") else None
    return "hdf5" if head.startswith(HDF5) else "pickle" if head.startswith(PICKLE) else None


def listed(names: Sequence[str], most: int = 12) -> str:
    """Names in a sentence: `a`, `b` and 3 more."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(f"`{name}`" for name in names[:most]) + more


def _no_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o666)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write, which takes the place of `path` once it is complete and on disk; after an error nothing changed. Raises
    WarmloopError where `path` is a device or a pipe, whose place it would take."""
    check_path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(partial, "w+b", opener=_no_link) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)
