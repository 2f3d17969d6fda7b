"""Episodes as a file holds them, one at a time and unchecked: the readers refuse what an inspection has to show."""

from __future__ import annotations

import contextlib
import dataclasses
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from ..episode import Episode
from ..formats import read_pieces
from ..formats.recording import cut
from ..transition import Source

QUARANTINE = "quarantine"


@dataclasses.dataclass(frozen=True)
class Recorded:
    """An episode, and what its file says beside a transition.

    Attributes:
        episode: its steps, not checked for anything.
        times: `[T]` float64, seconds, where the file has them.
        timeouts: `[T]` bool, where the file says which rows a time limit ended.
        numbered: `[T]` int, the file's own step numbers, where it has them.
    """

    episode: Episode
    times: np.ndarray | None = None
    timeouts: np.ndarray | None = None
    numbered: np.ndarray | None = None


def read(path: str | Path, source: Source | None = None) -> Iterator[Recorded]:
    """The episodes at `path`, one after the other.

    Raises:
        WarmloopError: the file is missing, damaged, or in no supported format.
    """
    for piece in read_pieces(path):
        for start, episode in zip(piece.starts, cut(piece, source), strict=True):
            rows = slice(int(start), int(start) + len(episode))
            timeouts, numbered = (piece.columns[name][rows] if name in piece.columns else None for name in ("timeouts", "step"))
            yield Recorded(episode, _times(episode), timeouts, numbered)


def given(episodes: Iterable[Episode]) -> Iterator[Recorded]:
    """Episodes that are in memory already."""
    for episode in episodes:
        yield Recorded(episode, _times(episode), numbered=np.asarray(episode.steps.step))


def is_quarantine(path: str | Path) -> bool:
    """Whether `path` is a file of rows that a learner put into quarantine, or a folder of such files, or an empty one of
    the name that a learner gives to it."""
    path = Path(path).expanduser()
    if path.is_dir():
        entries = sorted(path.iterdir())
        if not entries:
            return path.resolve().name == QUARANTINE
        return entries[0].is_file() and any(is_quarantine(entry) for entry in entries if entry.suffix == ".npz")
    with contextlib.suppress(OSError, ValueError, zipfile.BadZipFile, EOFError):
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                return {"number.npy", "reason.npy"} <= set(archive.namelist())
    return False


def _times(episode: Episode) -> np.ndarray | None:
    times = episode.extras.get("timestamps")
    return None if times is None else np.asarray(times, np.float64).reshape(-1)
