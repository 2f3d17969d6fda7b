"""The rows of the offline pool, which never change: written once, beside the checkpoints that name them by their sha256."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from ..data.errors import WarmloopError
from ..data.packing import Packed


@dataclasses.dataclass(frozen=True)
class StoredRows:
    """A file of rows, its name within the checkpoints' directory and the sha256 of its bytes."""

    file: str
    sha256: str


def store(directory: Path, rows: Packed) -> StoredRows:
    """Writes rows; the same rows are one file. Raises OSError."""
    directory.mkdir(parents=True, exist_ok=True)
    partial = directory / "offline.partial"
    images = {f"image_{place}": np.asarray(image) for place, image in enumerate(rows.images)}
    try:
        with open(partial, "w+b") as file:
            np.savez(file, allow_pickle=False, words=np.asarray(rows.words), **images)
            file.flush()
            os.fsync(file.fileno())
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        partial.unlink(missing_ok=True)
        raise
    stored = StoredRows(f"offline-{digest[:16]}.npz", digest)
    os.replace(partial, directory / stored.file)
    return stored


def load(directory: Path, stored: StoredRows) -> Packed:
    """The rows that `store` wrote. Raises WarmloopError where the file is not what it was."""
    path = directory / stored.file
    try:
        with open(path, "rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != stored.sha256:
                raise WarmloopError(f"{path} holds the offline rows and is damaged; restore it from a copy, or start the run again.")
            file.seek(0)
            with np.load(file, allow_pickle=False) as arrays:
                images = tuple(jnp.asarray(arrays[f"image_{place}"]) for place in range(len(arrays.files) - 1))
                return Packed(jnp.asarray(arrays["words"]), images)
    except OSError as error:
        raise WarmloopError(f"{path} holds the offline rows and cannot be read ({error.strerror}); restore it from a copy.") from error
