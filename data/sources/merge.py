"""Data sets that grow: new files go into a set, and nothing that is in it is read or written again."""

from __future__ import annotations

import dataclasses
import datetime
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import numpy as np

from ..episode import Episode
from ..errors import WarmloopError
from ..files.digest import of_episode
from ..files.disk import lock_directory
from ..formats import KINDS, content_of, iterate_episodes, parse_source_argument, recorded_environment, stamp_of, write_episodes
from ..formats.collected import MANIFEST, Manifest, TakenEpisode, TakenFile, read_manifest, write_manifest
from ..formats.recordings.flat import PIECE_BYTES
from ..formats.recordings.options import PLAIN, BadEpisode, ReadOptions
from ..formats.recordings.recording import Recording
from ..transition import Spec
from .sources import recorded_mark

OnEpisode = Callable[[], object]


@dataclasses.dataclass(frozen=True)
class Taken:
    """What became of one file: its episodes, how many of them are new, whether its content was in the set already, unread, and the bad
    episodes that were left out of it."""

    path: str
    episodes: int
    new: int
    known: bool
    bad: tuple[BadEpisode, ...] = ()


def merge(
    directory: str | Path, arguments: Sequence[str], on_episode: OnEpisode = lambda: None, options: ReadOptions = PLAIN
) -> list[Taken]:
    """Takes files into the set in `directory`, which is made where there is none.

    A file whose content was taken before is not read, only hashed, under whatever name it comes; an episode that the set holds already
    is left out. Each file goes in whole or not at all: after an error the set is as it was before that file.

    Args:
        directory: of the set.
        arguments: `PATH` or `kind=PATH` each.
        on_episode: called after each episode read.
        options: how files are read, and whether bad episodes are left out.

    Raises:
        WarmloopError: a file cannot be read, or its shapes differ from the set's; the folder holds something else, another process adds
            to it, or it cannot be written.
    """
    directory = Path(directory).expanduser()
    if directory.exists() and not directory.is_dir():
        raise WarmloopError(f"{directory} is a file, and a set is a folder; name another for it, or merge into a new file by --out.")
    if directory.is_dir() and any(directory.iterdir()) and not (directory / MANIFEST).exists() and not (directory / "lock").exists():
        raise WarmloopError(f"{directory} holds something that is no set; name a new folder, or an empty one.")
    lock = lock_directory(directory, "The set", "wait until it is done")
    try:
        taken = []
        for argument in arguments:
            taken.append(_take(directory, argument, on_episode, options))
        return taken
    except OSError as error:
        raise WarmloopError(f"{directory} could not be written: {error.strerror or error}.") from error
    finally:
        os.close(lock)


def _take(directory: Path, argument: str, on_episode: OnEpisode, options: ReadOptions) -> Taken:
    """Takes in one file."""
    manifest = read_manifest(directory) if (directory / MANIFEST).exists() else Manifest()
    source, path = parse_source_argument(argument)
    kind = next((kind for kind in KINDS if KINDS[kind] == source), "")
    before_reading, content = stamp_of(path), content_of(path)
    before = next((file for file in manifest.files if file.content == content), None)
    if before is not None:
        if before.kind != kind:
            said = [name or "of the kind that it says itself" for name in (before.kind, kind)]
            raise WarmloopError(f"{path} is in {directory} already, as {said[0]}, and cannot be {said[1]} as well.")
        return Taken(path, before.episodes, 0, known=True)
    recorded_mark([path, *([str(directory)] if manifest.files else [])])  # refuses actions of other limits
    mark = recorded_mark([path])
    bad: list[BadEpisode] = []
    with _Incoming(directory, manifest) as incoming:
        for episode in iterate_episodes(path, source, shape=_as_recorded, options=options.collecting(bad)):
            incoming.offer(episode)
            on_episode()
        incoming.flush()
        if stamp_of(path) != before_reading:
            raise WarmloopError(f"{path} changed while it was read; wait until it is written, and merge it again.")
        added = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        new = incoming.entries
        file = TakenFile(path, content, kind, recorded_environment(path) or "", mark, incoming.read, incoming.read - len(new), added)
        write_manifest(directory, Manifest((*manifest.files, file), (*manifest.episodes, *new), incoming.spec))
    return Taken(path, incoming.read, len(new), known=False, bad=tuple(bad))


def _as_recorded(piece: Recording) -> Recording:
    """Actions may be in a robot's units: who learns from the set says how they are scaled."""
    return dataclasses.replace(piece, raw=True)


class _Incoming:
    """The episodes of one file on their way into a set; after an error what was written of them is gone again.

    Attributes:
        read: episodes offered.
        entries: the manifest's entries of those that are new.
        spec: shapes of the set.
    """

    def __init__(self, directory: Path, manifest: Manifest):
        self.directory, self.manifest, self.spec = directory, manifest, manifest.spec
        self.read, self.entries = 0, []
        self._known = {episode.digest for episode in manifest.episodes}
        self._gathered: list[Episode] = []
        self._bytes, self._parts = 0, []

    def __enter__(self) -> _Incoming:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        for path in self._parts if kind else ():
            path.unlink(missing_ok=True)

    def offer(self, episode: Episode) -> None:
        """Takes an episode, unless the set has it."""
        self.read += 1
        digest = of_episode(episode)
        if digest in self._known:
            return
        self._check(episode)
        self._known.add(digest)
        number = len(self.manifest.episodes) + len(self.entries)
        told = (len(episode), episode.undiscounted_return, episode.succeeded, episode.task)
        self.entries.append(TakenEpisode(number, len(self.manifest.files), episode.number, self._part().name, digest, *told))
        steps = episode.steps.replace(episode=np.full(len(episode), number, np.int32))
        self._gathered.append(dataclasses.replace(episode, steps=steps, number=number))
        self._bytes += sum(leaf.nbytes for leaf in jax.tree.leaves(steps))
        if self._bytes >= PIECE_BYTES:
            self.flush()

    def flush(self) -> None:
        """Writes what is gathered as the next part."""
        if self._gathered:
            part = self._part()
            self._parts.append(part)
            write_episodes(part, self._gathered)
        self._gathered, self._bytes = [], 0

    def _part(self) -> Path:
        return self.directory / f"part-{len(self.manifest.parts) + len(self._parts):06d}.npz"

    def _check(self, episode: Episode) -> None:
        mine = Spec.of(episode.steps)
        self.spec = mine if self.spec is None else self.spec
        if difference := self.spec.difference(mine, f"the set {self.directory}", f"episode {episode.number} of {episode.origin}"):
            raise WarmloopError(f"The data do not belong together: {difference}; keep data of another robot or task in a set of their own.")
