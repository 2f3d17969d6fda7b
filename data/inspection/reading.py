"""Episodes as a file holds them, one at a time and unchecked: the readers refuse what an inspection has to show."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from ..episode import Episode, make_steps
from ..formats import FORMATS, load_episodes
from ..formats.recording import Recording, tree
from ..transition import PyTree, Source

TIMES = ("timestamps", "timestamp", "time")
ENVIRONMENTS = ("env_id", "environment")


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
    origin = path if str(path).startswith("minari:") else Path(path).expanduser()
    chosen = next((candidate for candidate in FORMATS.values() if candidate.matches(str(origin))), None)
    if chosen is None:
        load_episodes(path)  # says which formats there are
        return
    recording = chosen.read(str(origin))
    columns = recording.columns
    times = next((columns[name] for name in TIMES if name in columns), None)
    times = _npz_times(str(origin), len(columns["actions"])) if times is None else times
    ends = np.append(recording.starts[1:], len(columns["actions"]))
    for index, (start, end) in enumerate(zip(recording.starts, ends, strict=True)):
        rows = slice(int(start), int(end))
        part = {name: columns[name][rows] if name in columns else None for name in ("timeouts", "step")}
        yield Recorded(_episode(recording, index, rows, source), None if times is None else times[rows], part["timeouts"], part["step"])


def given(episodes: Iterable[Episode]) -> Iterator[Recorded]:
    """Episodes that are in memory already."""
    for episode in episodes:
        yield Recorded(episode, numbered=np.asarray(episode.steps.step))


def is_quarantine(path: str | Path) -> bool:
    """Whether `path` is a file of rows that a learner put into quarantine, or a folder of such files, or an empty one."""
    path = Path(path).expanduser()
    if path.is_dir():
        entries = sorted(path.iterdir())
        return not entries or (entries[0].is_file() and any(is_quarantine(entry) for entry in entries if entry.suffix == ".npz"))
    with contextlib.suppress(OSError, ValueError, zipfile.BadZipFile, EOFError):
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                return {"number.npy", "reason.npy"} <= set(archive.namelist())
    return False


def recorded_environment(path: str | Path) -> str | None:
    """The environment that a file says it was recorded in; None where it says nothing."""
    if not zipfile.is_zipfile(Path(path).expanduser()):
        return None
    with contextlib.suppress(OSError, ValueError, KeyError, zipfile.BadZipFile, EOFError):
        with np.load(Path(path).expanduser(), allow_pickle=False) as archive:
            metadata = json.loads(str(archive["metadata"]))
        names = [metadata[key] for key in ENVIRONMENTS if isinstance(metadata.get(key), str)]
        return names[0] if names else None


def _npz_times(origin: str, rows: int) -> np.ndarray | None:
    """Timestamps of an .npz file, which its reader leaves out."""
    if not origin.endswith(".npz"):
        return None
    with np.load(origin, allow_pickle=False) as archive:
        name = next((name for name in TIMES if name in archive.files), None)
        times = None if name is None else np.asarray(archive[name], np.float64).reshape(-1)
    return times if times is not None and len(times) == rows else None


def _episode(recording: Recording, index: int, rows: slice, source: Source | None) -> Episode:
    columns = recording.columns

    def part(name: str) -> PyTree:
        whole = tree(columns, name)
        return {key: leaf[rows] for key, leaf in whole.items()} if isinstance(whole, dict) else whole[rows]

    kind = source
    if kind is None:
        kind = Source.DEMOS if recording.sources is None else Source(int(recording.sources[index]))
    number = index if recording.numbers is None else int(recording.numbers[index])
    steps = make_steps(
        part("observations"),
        columns["actions"][rows],
        columns["rewards"][rows],
        part("next_observations"),
        columns["terminals"][rows],
        source=kind,
        episode=number,
        intervened=columns["intervened"][rows] if "intervened" in columns else None,
    )
    known = recording.success_known is None or bool(recording.success_known[index])
    success = columns["success"][rows] if "success" in columns and known else None
    return Episode(steps, success, recording.origin, number, kind)
