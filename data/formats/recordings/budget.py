"""How much memory the readers may take for a file: in proportion to its size, so that a small file cannot exhaust the machine.

Held at once are an array, the episodes of one piece or, where all are loaded, all of a data set: each may be FREE bytes, and beyond that
RATIO times the file. Files that are sound and compress better than that are read piece by piece (`iterate_episodes`, `inspect_data`,
`merge_data --into`), or with more memory by the environment variable WARMLOOP_READ_MEMORY, such as 8GiB.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from ...errors import WarmloopError

SETTING = "WARMLOOP_READ_MEMORY"
FREE = 256 << 20
SMALL = 1 << 20  # is not looked at
RATIO = 64  # no recording of a robot's numbers or camera deflates so far
PICTURE_RATIO = 256  # of encoded pictures, for those that are held at once
VIDEO_RATIO = 2048  # of video; one of a scene in which little moves is a thousandth of its frames
UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
AMOUNT = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", re.IGNORECASE)


def allowed(size: int, ratio: int = RATIO) -> int:
    """Bytes that files of `size` bytes may take. Raises WarmloopError where WARMLOOP_READ_MEMORY is no amount."""
    said = os.environ.get(SETTING)
    if not said:
        return FREE + ratio * size
    found = AMOUNT.fullmatch(said.strip())
    if found is None:
        raise WarmloopError(f"{SETTING} is {said!r}; write an amount of memory, such as 8GiB.")
    return int(float(found[1]) * UNITS[found[2].upper()])


def require(place: str, what: str, wanted: int, size: int, ratio: int = RATIO) -> None:
    """Raises WarmloopError where `what` (a phrase) takes more bytes than are allowed.

    Args:
        place: the file, and the episode where one is concerned, as errors name them.
        wanted: bytes that it takes.
        size: bytes of the file, or of all files of the data set.
    """
    if wanted > SMALL and wanted > (limit := allowed(size, ratio)):
        more = f"{SETTING}={-(-wanted // UNITS['G']) + 1}GiB"
        raise WarmloopError(
            f"{place}: {what} would take {amount(wanted)} of memory, and {amount(limit)} is the most for files of {amount(size)}, lest one "
            f"that is made for it exhausts the machine; if it is sound, set {more} in the environment."
        )


class Meter:
    """Counts what is taken for files of `size` bytes, and refuses what is too much; the limit is looked up once."""

    def __init__(self, place: str, what: str, size: int, ratio: int = RATIO):
        self._place, self._what, self._size, self._ratio = place, what, size, ratio
        self._taken, self._limit = 0, allowed(size, ratio)

    def take(self, some: int) -> None:
        """Counts `some` bytes more. Raises WarmloopError where all are too many."""
        self._taken += some
        if self._taken > self._limit:
            require(self._place, self._what, self._taken, self._size, self._ratio)


def size_of(path: str | Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    path = Path(path)
    return sum(part.stat().st_size for part in path.rglob("*") if part.is_file()) if path.is_dir() else path.stat().st_size


def amount(size: float) -> str:
    """Bytes for a person: 1.5 GiB."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.3g} {unit}"
        size /= 1024
    return f"{size:.3g} TiB"
