"""Episodes as a file holds them, one at a time and unchecked: the readers refuse what an inspection has to show."""

from __future__ import annotations

import contextlib
import dataclasses
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from ..episode import Episode
from ..errors import WarmloopError
from ..files.whole_files import check_path
from ..formats import read_pieces
from ..formats.recordings.checked_values import to_episodes
from ..formats.recordings.options import PLAIN, ReadOptions
from ..formats.recordings.recording import cut, each_episode, number_of, without_optional
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
        success_by: as a Recording's.
        unread: names of what is not read of its file.
    """

    episode: Episode
    times: np.ndarray | None = None
    timeouts: np.ndarray | None = None
    numbered: np.ndarray | None = None
    success_by: str = ""
    unread: tuple[str, ...] = ()


def read(
    path: str | Path, source: Source | None = None, success: str = "", options: ReadOptions = PLAIN, trainable: bool = False
) -> Iterator[Recorded]:
    """The episodes at `path`, one after the other.

    Args:
        success: which steps succeeded, as `data/outcome.py` has it.
        options: how the file is read; bad episodes are those that cannot be read, and where `trainable`, those that training would refuse.

    Raises:
        WarmloopError: the file is missing, damaged, or in no supported format.
    """
    for piece in map(without_optional, read_pieces(path, source, success, options)):
        for one in each_episode(piece):
            try:
                if trainable:
                    to_episodes(one, source, 0)
            except WarmloopError as error:
                options.leave_out(piece.origin, f"episode {number_of(one, 0)}", error)
                continue
            (episode,) = cut(one, source)
            timeouts, numbered = (one.columns.get(name) for name in ("timeouts", "step"))
            yield Recorded(episode, _times(episode), timeouts, numbered, piece.success_by, piece.unread)


def given(episodes: Iterable[Episode]) -> Iterator[Recorded]:
    """Episodes that are in memory already."""
    for episode in episodes:
        yield Recorded(episode, _times(episode), numbered=np.asarray(episode.steps.step))


def is_quarantine(path: str | Path) -> bool:
    """Whether `path` is a file of rows that a learner put into quarantine, or a folder of such files, or an empty one of
    the name that a learner gives to it."""
    path = check_path(path)
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
