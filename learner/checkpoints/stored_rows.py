"""Rows of the offline pool with their camera frames, in files of their own: they are written once, and checkpoints name them by sha256.

What was recorded never changes. Interventions that came since are in a second file, written anew where there are more of them.
"""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...data.errors import WarmloopError
from ...data.replay.frames import Frames
from ...data.settings.typed_values import decoded
from ..state import LearnerState

OFFLINE, INTERVENTIONS = "offline", "interventions"
NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.EEXIST, errno.EACCES, errno.EPERM, errno.EROFS)


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


def store_offline(directory: str | Path, state: LearnerState, rows: int | None = None, frames: int | None = None) -> StoredRows:
    """Writes the offline pool's recorded rows, the first `rows` (all), and the first `frames` of the camera frames, for all of a run's
    checkpoints. Raises WarmloopError."""
    return _store(directory, OFFLINE, state, slice(rows), slice(frames))


def store_interventions(directory: str | Path, state: LearnerState, rows: slice, frames: slice) -> dict[str, Any]:
    """Writes the interventions in the offline pool, and gives what `save` takes as `extra`. Raises WarmloopError."""
    stored = _store(directory, INTERVENTIONS, state, rows, frames)
    counts = {"rows": rows.stop - rows.start, "frames": frames.stop - frames.start, "first_frame": frames.start}
    return {INTERVENTIONS: dataclasses.asdict(stored) | counts}


def _store(directory: str | Path, kind: str, state: LearnerState, rows: slice, frames: slice) -> StoredRows:
    pixels = {name: np.asarray(kept[frames]) for name, kept in state.frames.pixels.items()}
    try:
        return store(Path(directory).absolute(), kind, np.asarray(state.offline.words[rows]), pixels)
    except OSError as error:
        instead = "take another folder" if error.errno in NOT_THERE else "free space there, or take another folder"
        raise WarmloopError(f"The offline rows could not be written to {directory} ({error.strerror or error}); {instead}.") from error


def restored(
    directory: Path, meta: Mapping[str, Any], shape: tuple[int, ...], frames: Frames, inserted: int
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The offline pool's packed rows, of this shape, and all camera frames, by camera, from the files that a checkpoint's `meta` names;
    what they do not hold is zeros. `inserted` rows were in the pool.

    Raises:
        WarmloopError: a file is damaged, or its pictures are kept in another way than in `frames`.
    """
    words, shown = np.zeros(shape, np.int32), meta.get(INTERVENTIONS)
    pixels = {name: np.zeros((meta.get("frames", 0), kept.shape[1]), np.uint8) for name, kept in sorted(frames.pixels.items())}
    parts = [(0, 0, load(directory, decoded(StoredRows, meta[OFFLINE], f"checkpoint.{OFFLINE}")))]
    if shown is not None:
        parts.append((inserted - shown["rows"], shown["first_frame"], load(directory, StoredRows(shown["file"], shown["sha256"]))))
    for row, frame, (some, images) in parts:
        words[row : row + len(some)] = some
        for (name, kept), image in zip(pixels.items(), images, strict=True):
            if image.shape[1] != kept.shape[1]:
                raise WarmloopError(
                    f'Camera "{name}" has {image.shape[1]} bytes a picture in {directory} and would have {kept.shape[1]} now; resume with '
                    "the frames.random_shift and frames.chroma_subsampling that the run began with."
                )
            kept[frame : frame + len(image)] = image
    return words, pixels


def drop_unnamed(directory: Path, named: set[str]) -> None:
    """Removes the files of interventions that no checkpoint names any more."""
    for path in directory.glob(f"{INTERVENTIONS}-*.npz"):
        if path.name not in named:
            path.unlink(missing_ok=True)
