"""Arrays of an .npz archive, read a few rows at a time: a file larger than memory never has to fit into it."""

from __future__ import annotations

import contextlib
import math
import zipfile
from collections import Counter
from collections.abc import Iterator
from typing import IO

import numpy as np
from numpy.lib import format as npy

from ..errors import WarmloopError
from .recordings.budget import require

READERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


class ArchivedArray:
    """One array `[N, ...]` of an archive. Rows are read forwards; to go back is to begin again.

    The archive's checksum of an array is compared when its last row is read.

    Raises:
        WarmloopError: it is an array of Python objects; on reading, the rows take more memory than is allowed.
    """

    def __init__(self, path: str, archive: zipfile.ZipFile, name: str):
        self._path, self._archive, self._name = path, archive, name
        self._file = self._opened()
        self.shape, self.fortran, self.dtype = _header(self._file)
        if self.dtype.hasobject:
            raise WarmloopError(
                f"{path}: `{name}` is an array of Python objects, which only unpickling could read, and that is never done; "
                "save it as arrays of numbers."
            )
        if math.prod(self.shape) * self.dtype.itemsize > archive.getinfo(f"{name}.npy").file_size:
            raise ValueError(f"`{name}` is shorter than its header says")
        self._row_bytes = self.dtype.itemsize * math.prod(self.shape[1:])
        self._row = 0
        self._whole = self._transposed() if self.fortran and len(self.shape) > 1 else None

    def __getitem__(self, rows: slice) -> np.ndarray:
        if not self.shape:
            raise WarmloopError(f"{self._path}: `{self._name}` is a single number; one for each row or episode is needed.")
        start, stop, _ = rows.indices(self.shape[0])
        if self._whole is not None:
            return self._whole[start:stop]
        if start != self._row:
            self._go_to(start)
        self._row = stop
        return self._read((stop - start, *self.shape[1:]))

    def whole(self) -> np.ndarray:
        """All of it, of whatever shape."""
        return self._read(()) if not self.shape else self[:]

    def _opened(self) -> IO[bytes]:
        return self._archive.open(f"{self._name}.npy")

    def _go_to(self, row: int) -> None:
        if row < self._row:
            self._file.close()
            self._file, self._row = self._opened(), 0
            _header(self._file)
        self._file.seek((row - self._row) * self._row_bytes, 1)

    def _read(self, shape: tuple[int, ...]) -> np.ndarray:
        size = math.prod(shape) * self.dtype.itemsize
        require(self._path, f"`{self._name}`", size, self._archive.start_dir)
        content = self._file.read(size)  # read, and not room made: a header can claim any size
        return np.frombuffer(bytearray(content), self.dtype).reshape(shape)

    def _transposed(self) -> np.ndarray:
        """An array stored column by column has no rows to read one after the other: the whole of it."""
        return self._read(self.shape[::-1]).T


@contextlib.contextmanager
def opened(path: str) -> Iterator[zipfile.ZipFile]:
    """The archive, for reading; whatever NumPy and zipfile raise meanwhile becomes a WarmloopError."""
    if not zipfile.is_zipfile(path):
        raise WarmloopError(f"{path} is not an .npz archive, or was cut short; record or copy it again.")
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except WarmloopError:
        raise
    except Exception as error:  # they raise a dozen kinds for damaged bytes
        raise WarmloopError(f"{path} is not a readable .npz file ({error}); record or copy it again.") from error


def names(archive: zipfile.ZipFile) -> list[str]:
    """The names of its arrays. Raises WarmloopError where two have one name, as after an array was added to a file anew."""
    found = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
    twice = next((name for name, count in Counter(found).items() if count > 1), None)
    if twice is not None:
        raise WarmloopError(f"{archive.filename}: holds `{twice}` twice, and which one counts is not known; write the file anew.")
    return found


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = npy.read_magic(file)
    if version not in READERS:
        raise ValueError(f"version {version} of the array format is not known")
    return READERS[version](file)
