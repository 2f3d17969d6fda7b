"""Rows of the offline pool with their camera frames, in files of their own: they are written once, and checkpoints name them by sha256.

What was recorded never changes. Interventions that came since are in a second file, written anew where there are more of them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from pathlib import Path

import numpy as np

from ..data.errors import WarmloopError

OFFLINE, INTERVENTIONS = "offline", "interventions"


@dataclasses.dataclass(frozen=True)
class StoredRows:
    """A file of rows, its name within the checkpoints' directory and the sha256 of its bytes."""

    file: str
    sha256: str


def store(directory: Path, kind: str, words: np.ndarray, frames: dict[str, np.ndarray]) -> StoredRows:
    """Writes packed rows `[n, W]` and, by camera, their frames; the same content is one file. Raises OSError."""
    directory.mkdir(parents=True, exist_ok=True)
    partial = directory / f"{kind}.partial"
    try:
        with open(partial, "w+b") as file:
            np.savez(file, allow_pickle=False, words=words, **{f"frames_{i}": frames[name] for i, name in enumerate(sorted(frames))})
            file.flush()
            os.fsync(file.fileno())
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        partial.unlink(missing_ok=True)
        raise
    stored = StoredRows(f"{kind}-{digest[:16]}.npz", digest)
    os.replace(partial, directory / stored.file)
    return stored


def load(directory: Path, stored: StoredRows) -> tuple[np.ndarray, list[np.ndarray]]:
    """Packed rows, and each camera's frames in the order of their names. Raises WarmloopError where the file is not what it was."""
    path = directory / stored.file
    try:
        with open(path, "rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != stored.sha256:
                raise WarmloopError(f"{path} holds the offline rows and is damaged; restore it from a copy, or start the run again.")
            file.seek(0)
            with np.load(file, allow_pickle=False) as arrays:
                return arrays["words"], [arrays[f"frames_{place}"] for place in range(len(arrays.files) - 1)]
    except OSError as error:
        raise WarmloopError(f"{path} holds the offline rows and cannot be read ({error.strerror}); restore it from a copy.") from error


def drop_unnamed(directory: Path, named: set[str]) -> None:
    """Removes the files of interventions that no checkpoint names any more."""
    for path in directory.glob(f"{INTERVENTIONS}-*.npz"):
        if path.name not in named:
            path.unlink(missing_ok=True)
