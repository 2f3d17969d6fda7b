"""Archives of arrays (.npz) that carry the SHA-256 of their own bytes: what this project wrote is read as it was written, or not at all.

An archive's own checksums cover its members' contents, and not which members there are: one flipped bit in a name makes a column vanish.
So the archive's comment ends with the SHA-256 of every byte before it. NumPy reads a sealed archive as any other.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.lib import format as npy

from ..errors import WarmloopError

MARK = b"sealed by warmloop, SHA-256 "
DIGITS = 64


def write(file: BinaryIO, arrays: Iterable[tuple[str, np.ndarray]]) -> None:
    """Writes a sealed archive to an empty file that is open for writing and reading; one array at a time is held."""
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays:
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                npy.write_array(member, np.asarray(array), allow_pickle=False)
        archive.comment = MARK + b"0" * DIGITS
    file.seek(0, os.SEEK_END)
    digest = _digest(file, file.tell() - DIGITS)
    file.seek(-DIGITS, os.SEEK_END)
    file.write(digest)


def verify(path: str | Path) -> bool:
    """Whether an archive is sealed; one without a seal is anybody's. Raises WarmloopError where the seal and the bytes do not agree."""
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - len(MARK) - DIGITS))
        if file.read(len(MARK)) != MARK:
            return False
        if _digest(file, size - DIGITS) != file.read(DIGITS):
            raise WarmloopError(f"{path} is damaged: its bytes are not those that were written; restore it from a copy, or make it anew.")
        return True


def load(path: str | Path) -> Mapping[str, np.ndarray]:
    """All arrays of a sealed archive, by name. Raises WarmloopError where it is damaged or not sealed, OSError where it cannot be read."""
    if not verify(path):
        raise WarmloopError(f"{path} has no seal of warmloop's: it is damaged, or another program wrote it; restore it from a copy.")
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (ValueError, zipfile.BadZipFile, EOFError) as error:
        raise WarmloopError(f"{path} cannot be read ({error}); restore it from a copy.") from error


def _digest(file: BinaryIO, size: int) -> bytes:
    """Of the file's first `size` bytes, as text; the file is at their end afterwards."""
    digest = hashlib.sha256()
    file.seek(0)
    while size and (chunk := file.read(min(size, 1 << 20))):
        digest.update(chunk)
        size -= len(chunk)
    return digest.hexdigest().encode()
