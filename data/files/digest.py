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
    seen = [] if path.is_file() else [found for found in path.rglob("*") if found.is_file()]
    hidden = [found for found in seen if any(part.startswith(".") for part in found.relative_to(path).parts)]
    files = [path] if path.is_file() else sorted(set(seen) - set(hidden))
    for file in files:
        if file != path:
            digest.update(f"{file.relative_to(path).as_posix()}\0{file.stat().st_size}\0".encode())
        with open(file, "rb") as content:
            while chunk := content.read(CHUNK_BYTES):
                digest.update(chunk)
    return digest.hexdigest()
