"""Which checkpoints a directory holds: those that are complete, those whose files are intact, and the one to start from.

A checkpoint is `DIRECTORY/<updates>`, complete once its manifest is there: the sha256 of each of its other files.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
from pathlib import Path
from typing import Any

from ...data.errors import WarmloopError
from . import selection_file
from .selection_file import SELECTION

log = logging.getLogger(__name__)

MANIFEST = "manifest.json"
FEW = 4  # folders that a sentence names


@dataclasses.dataclass(frozen=True)
class Saved:
    """One verified checkpoint: its directory, the update it was taken at, and its description."""

    path: Path
    updates: int
    meta: dict[str, Any]


def steps(directory: str | Path) -> list[Path]:
    """The complete checkpoints of a directory, oldest first; half-written ones are not among them. One's own folder holds itself."""
    directory = Path(directory).absolute()
    found = [directory] if is_one(directory) else directory.iterdir() if directory.is_dir() else ()
    return sorted(path for path in found if is_one(path))


def is_one(path: Path) -> bool:
    """Whether `path` is a complete checkpoint's own folder."""
    return path.name.isdigit() and (path / MANIFEST).is_file()


def intact(directory: str | Path) -> list[Saved]:
    """All the checkpoints whose files are what their manifests say, oldest first; what is wrong with the others is logged."""
    found = []
    for path in steps(directory):
        if damage := verify(path):
            log.error("Checkpoint %s is damaged (%s) and is passed over.", path, damage)
        else:
            found.append(Saved(path, int(path.name), json.loads((path / "meta.json").read_text(encoding="utf-8"))))
    return found


def newest(directory: str | Path, before: int | None = None) -> Saved:
    """The newest checkpoint whose files are what its manifest says; of those with fewer updates than `before`, if that is given.

    Raises:
        WarmloopError: there is none, or none that is intact.
    """
    found = steps(directory)
    if not found:
        raise _none_in(directory)
    for path in [path for path in reversed(found) if before is None or int(path.name) < before]:
        damage = verify(path)
        if damage is None:
            meta = json.loads((path / "meta.json").read_text(encoding="utf-8"))
            return Saved(path, int(meta["updates"]), meta)
        log.error("Checkpoint %s is damaged (%s) and is not used; trying the one before it.", path, damage)
    raise WarmloopError(f"Every checkpoint in {directory} is damaged or not finite; train again, or restore the directory from a copy.")


def chosen(directory: str | Path, updates: int | None = None) -> Saved:
    """The checkpoint to go on from: that of `updates`; without a number the one that selection.json marks, else the newest intact one.

    A selection that does not know the newest checkpoint is out of date: it is passed over, and said so.

    Raises:
        WarmloopError: there is none, or the one that is wanted is damaged.
    """
    if updates is not None:
        return numbered(directory, updates)
    found, mark = steps(directory), Path(directory) / SELECTION
    if not (found and mark.is_file()):
        return newest(directory)
    selection = selection_file.read(directory, must=selection_file.seals(found[-1]))
    known, marked = {int(one["updates"]) for one in selection["candidates"]}, int(selection["chosen"])
    if int(found[-1].name) in known:
        return numbered(directory, marked)
    log.warning("%s does not know %s, the newest checkpoint, which is used; select anew: warmloop-evaluate --offline.", mark, found[-1])
    return newest(directory)


def numbered(directory: str | Path, updates: int) -> Saved:
    """The checkpoint of one number of updates. Raises WarmloopError where it is absent or damaged."""
    found = {int(path.name): path for path in steps(directory)}
    if not found:
        raise _none_in(directory)
    if updates not in found:
        raise WarmloopError(f"There is no checkpoint of {updates} updates in {directory}; there are {', '.join(map(str, found))}.")
    if damage := verify(found[updates]):
        raise WarmloopError(f"{found[updates]} is damaged: {damage}.")
    return Saved(found[updates], updates, json.loads((found[updates] / "meta.json").read_text(encoding="utf-8")))


def _none_in(directory: str | Path) -> WarmloopError:
    """What to say of a directory without a checkpoint: a run's own folder has them one or two levels below."""
    below = sorted({path.parents[1] for depth in ("*", "*/*") for path in Path(directory).glob(f"{depth}/[0-9]*/{MANIFEST}")})
    named = f"name {' or '.join(map(str, below[:FEW]))}" if below else "give the directory that a training command wrote"
    return WarmloopError(f"There is no checkpoint in {directory}; {named}.")


def verify(path: Path) -> str | None:
    """What is wrong with a checkpoint's files, or None."""
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return f"{MANIFEST} cannot be read"
    for name, digest in manifest.items():
        file = path / name
        if not file.is_file():
            return f"{name} is missing"
        if sha256(file) != digest:
            return f"{name} does not have its checksum"
    return None


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal, once the file is on the disk."""
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        os.fsync(file.fileno())
    return digest
