"""What tells one file, and one episode, from another: hashes of their contents."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import jax
import numpy as np

from ..episode import Episode

CHUNK_BYTES = 1 << 20


def of_arrays(arrays: Iterable[np.ndarray]) -> bytes:
    """16 bytes of BLAKE2b over the values, in order."""
    digest = hashlib.blake2b(digest_size=16)
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.digest()


def of_episode(episode: Episode) -> str:
    """Equal for episodes that hold the same steps: observations, actions, rewards, endings and success, whatever file they came from."""
    steps = episode.steps
    observed = [*jax.tree.leaves(steps.observation), *(leaf[-1:] for leaf in jax.tree.leaves(steps.next_observation))]
    told = [] if episode.success is None else [episode.success]
    return of_arrays([*observed, steps.action, steps.reward, steps.mask, *told]).hex()


def of_path(path: Path) -> str:
    """SHA-256 of a file's content, or of all the files of a folder with their names in it, but for hidden ones, which a computer puts there
    by itself and nobody reads."""
    digest = hashlib.sha256()
    files = _files(path)
    for file in files:
        if file != path:
            digest.update(f"{file.relative_to(path).as_posix()}\0{file.stat().st_size}\0".encode())
        with open(file, "rb") as content:
            while chunk := content.read(CHUNK_BYTES):
                digest.update(chunk)
    return digest.hexdigest()


def stamp(path: Path) -> tuple[tuple[str, int, int], ...]:
    """The size and the time of the last change of what `of_path` would hash: the same before and after as long as nobody writes there."""
    return tuple((str(file), found.st_size, found.st_mtime_ns) for file in _files(path) for found in [file.stat()])


def _files(path: Path) -> list[Path]:
    """A file itself, or those of a folder but for hidden ones, in order."""
    if path.is_file():
        return [path]
    found = (file for file in path.rglob("*") if file.is_file())
    return sorted(file for file in found if not any(part.startswith(".") for part in file.relative_to(path).parts))
