"""The files of seeds' checkpoints, as they go from the node where a trial ran to the sweep's folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ...learner.checkpoints import checkpoint
from ...learner.checkpoints.complete_checkpoints import MANIFEST


def packed(folder: Path) -> dict[str, bytes]:
    """All files below a folder, by their paths in it."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def unpack(files: Mapping[str, bytes], out: Path, folders: Sequence[Path]) -> None:
    """Writes them below `out`, in place of the checkpoints that are in `folders`. What tells that a checkpoint is complete comes last."""
    for folder in folders:
        checkpoint.clear(folder)
    for name in sorted(files, key=lambda name: name.endswith(f"/{MANIFEST}")):
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(files[name])
