"""A set: a folder of .npz files that `merge_data` adds to, and a manifest that says where each episode came from.

`manifest.json` lists the files that were taken in, by the SHA-256 of their content, and the episodes, by a hash of theirs. An episode
keeps the number that it got when it came in. What the manifest does not name is not part of the set.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import WarmloopError
from ..files.sealed_json import SEAL, filled, read_sealed
from ..files.whole_files import replacing, require_file
from ..settings.typed_values import decoded
from ..transition import Spec
from . import npz
from .recordings.options import PLAIN, ReadOptions
from .recordings.recording import Recording

FORMAT = "warmloop-set-1"
MANIFEST = "manifest.json"
ENTRIES = ("format", "observation", "action_dim", "files", "episodes")


@dataclasses.dataclass(frozen=True)
class TakenFile:
    """A file that was taken in.

    Attributes:
        path: as it was named then.
        content: the SHA-256 of its content, and the filter key where it was read by one.
        kind: what it was said to be: demos, suboptimal or random; "" for what it says itself.
        environment: that it was recorded in; "" where it does not say.
        mark: what this project wrote beside its data of their actions (`data/sources/sources.py`).
        episodes, repeated: its episodes, and how many of them were in the set already.
        added: when, UTC, ISO 8601.
    """

    path: str
    content: str
    kind: str
    environment: str
    mark: dict[str, Any]
    episodes: int
    repeated: int
    added: str


@dataclasses.dataclass(frozen=True)
class TakenEpisode:
    """An episode of the set.

    Attributes:
        number: its own.
        file, of_file: which of the manifest's files it came from, from 0, and its number there.
        part: the .npz file that holds it.
        digest: of its content (`data/files/digest.py`).
        steps, undiscounted_return, success, task: in short what it is.
    """

    number: int
    file: int
    of_file: int
    part: str
    digest: str
    steps: int
    undiscounted_return: float
    success: bool
    task: str


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What a set holds; `spec` None while it holds nothing."""

    files: tuple[TakenFile, ...] = ()
    episodes: tuple[TakenEpisode, ...] = ()
    spec: Spec | None = None

    @property
    def parts(self) -> tuple[str, ...]:
        """The .npz files, in order."""
        return tuple(dict.fromkeys(episode.part for episode in self.episodes))


def matches(path: str) -> bool:
    """Whether `path` is a folder with a set's manifest."""
    return _said(Path(path)) is not None


def read(origin: str, options: ReadOptions = PLAIN) -> Iterator[Recording]:
    """The rows of the set in folder `origin`, in pieces.

    Raises:
        WarmloopError: the manifest or a part is missing or damaged, or they disagree.
    """
    manifest = read_manifest(Path(origin))
    if not manifest.parts:
        raise WarmloopError(f"{origin} is an empty set; add files to it with merge_data --into={origin} FILE.")
    for name in manifest.parts:
        expected, found = [episode.number for episode in manifest.episodes if episode.part == name], []
        for piece in npz.read(str(Path(origin) / name), options):
            found += [] if piece.numbers is None else piece.numbers.tolist()
            yield piece
        if found != expected:
            raise WarmloopError(f"{origin}: {name} and {MANIFEST} do not list the same episodes; restore both from one copy.")


def environment(path: str) -> str | None:
    """The environment that all files of the set were recorded in, if they say one and the same."""
    names = {file.environment for file in read_manifest(Path(path)).files}
    return (names.pop() or None) if len(names) == 1 else None


def own_metadata(path: str) -> dict[str, Any]:
    """The mark that all files of the set carry; where some differ, only the set's format."""
    with contextlib.suppress(WarmloopError):
        marks = [file.mark for file in read_manifest(Path(path)).files]
        return {"format": FORMAT} if any(mark != marks[0] for mark in marks) else dict(*marks[:1])
    return {}


def read_manifest(directory: Path) -> Manifest:
    """The manifest in a folder. Raises WarmloopError where there is none, or it is damaged."""
    require_file(directory / MANIFEST)
    said = _said(directory)
    if said is not None:
        said = read_sealed(directory / MANIFEST, "restore it from a copy", ENTRIES, must=False)
    try:
        assert said is not None
        leaves, spec = said["observation"], None
        if leaves is not None:
            names = ("name", "shape", "dtype")
            spec = {"observation": [dict(zip(names, leaf, strict=True)) for leaf in leaves], "action_dim": said["action_dim"]}
        return decoded(Manifest, {"files": said["files"], "episodes": said["episodes"], "spec": spec}, "manifest")
    except (AssertionError, KeyError, TypeError, ValueError, WarmloopError) as error:
        raise WarmloopError(f"{directory / MANIFEST} is no readable manifest of a set; restore it from a copy.") from error


def write_manifest(directory: Path, manifest: Manifest) -> None:
    """Puts the manifest in the place of the one before, whole or not at all. Raises OSError."""
    spec = manifest.spec
    said = {
        "format": FORMAT,
        "observation": None if spec is None else [[leaf.name, leaf.shape, leaf.dtype] for leaf in spec.observation],
        "action_dim": None if spec is None else spec.action_dim,
        "files": [dataclasses.asdict(file) for file in manifest.files],
    }
    with replacing(directory / MANIFEST) as file:
        head = json.dumps(said, indent=1).removesuffix("\n}")
        rows = ",\n  ".join(json.dumps(dataclasses.asdict(episode)) for episode in manifest.episodes)
        file.write(filled(f'{head},\n "episodes": [\n  {rows}\n ],\n "{SEAL}": ""\n}}\n').encode())


def _said(directory: Path) -> dict[str, Any] | None:
    """The manifest as JSON; None where there is none of a set's."""
    try:
        said = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return said if isinstance(said, dict) and said.get("format") == FORMAT else None
