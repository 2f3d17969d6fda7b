"""HDF5 files at the edge: which layout a file has, and arrays out of it, each checked before it is read.

Only arrays of numbers are read, and only from the file itself: links into other files, arrays whose values lie in other files, and arrays
of which nothing was ever written (a recording that broke off) are refused. An array need not be contiguous; any filter will do that
this machine's HDF5 has.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import WarmloopError
from . import global_heap
from .files import kind, require_file
from .recording import Columns

if TYPE_CHECKING:
    import h5py

SPLIT = "::"
FEW_CHUNKS = 1000
TREES = ("observations", "next_observations", "obs", "next_obs")  # what may be a group of arrays


def split(origin: str) -> tuple[str, str | None]:
    """`PATH::NAME` as its two parts; NAME is None where there is none, or where a file is called so."""
    path, separator, name = origin.rpartition(SPLIT)
    return (path, name) if separator and path and not Path(origin).exists() else (origin, None)


def layout(origin: str) -> str | None:
    """ "robomimic", "d3rlpy" or "d4rl", by what the file holds; None where it is no HDF5 file.

    One that cannot be opened, or has none of these layouts, is "d4rl": the reader of the plainest says what is wrong.
    """
    path = Path(split(origin)[0])
    if kind(str(path)) != "hdf5":
        return None
    try:
        with opened(str(path)) as file:
            if {"columns", "num_episodes"} <= set(file):
                return "d3rlpy"
            return "robomimic" if "data" in file and "observations" not in file else "d4rl"
    except WarmloopError:
        return "d4rl"


@contextlib.contextmanager
def opened(path: str) -> Iterator[h5py.File]:
    """The file, for reading; whatever HDF5 raises meanwhile becomes a WarmloopError."""
    import h5py

    require_file(Path(path))
    try:
        with h5py.File(path, "r") as file:
            yield file
    except WarmloopError:
        raise
    except Exception as error:  # h5py raises a dozen kinds for damaged bytes
        raise WarmloopError(f"{path} is not a readable HDF5 file ({_reason(error)}); it may have been cut short: copy it again.") from error


class StoredArray:
    """An array of numbers in a file; its rows are read when they are asked for. By HDF5's own handles, several times as fast as h5py's
    objects where a file holds thousands of small arrays.

    Raises:
        WarmloopError: it holds no numbers, or they lie elsewhere or nowhere; on reading, it is damaged.
    """

    def __init__(self, place: str, path: str, dataset: h5py.h5d.DatasetID):
        self._place, self._path, self._dataset = place, path, dataset
        self.shape: tuple[int, ...] = dataset.shape
        self.dtype: np.dtype = dataset.dtype
        self._check()

    def __getitem__(self, rows: slice) -> np.ndarray:
        import h5py

        memory = stored = h5py.h5s.ALL
        shape = self.shape
        if shape and (bounds := rows.indices(shape[0])) != (0, shape[0], 1):
            shape = (bounds[1] - bounds[0], *shape[1:])
            memory, stored = h5py.h5s.create_simple(shape), self._dataset.get_space()
            stored.select_hyperslab((bounds[0], *(0,) * (len(shape) - 1)), shape)
        values = np.empty(shape, self.dtype)
        try:
            if values.size:
                self._dataset.read(memory, stored, values)
        except (OSError, MemoryError) as error:
            raise WarmloopError(
                f"{self._place}: `{self._path}` cannot be read ({_reason(error)}); it is damaged, or compressed by a filter that is not "
                "installed here: copy it again, or store it with gzip."
            ) from error
        return values

    def _check(self) -> None:
        import h5py

        where = f"{self._place}: `{self._path}`"
        if self.dtype.kind not in "biuf":
            kind = "Python objects or texts" if self.dtype.kind == "O" else f"{self.dtype} values"
            raise WarmloopError(f"{where} holds {kind}; numbers are needed.")
        created = self._dataset.get_create_plist()
        if created.get_layout() == h5py.h5d.VIRTUAL or created.get_external_count():
            raise WarmloopError(f"{self._place}: the values of `{self._path}` lie in other files; copy them into this one.")
        if math.prod(self.shape) and not self._dataset.get_storage_size():
            raise WarmloopError(f"{where} has room for {self.shape} values, none of which was ever written; record it again.")
        if created.get_layout() == h5py.h5d.CHUNKED:
            chunks = math.prod(-(-size // chunk) for size, chunk in zip(self.shape, created.get_chunk(), strict=True))
            if chunks > FEW_CHUNKS and chunks > 2 * self._dataset.get_num_chunks():  # HDF5 would look for each, for hours
                raise WarmloopError(f"{where} has room for {self.shape} values, most of which were never written; record or copy it again.")


def read_arrays(origin: str, where: str, parent: h5py.Group, names: Iterable[str], needed: Collection[str] = ()) -> Columns:
    """As `find_arrays`, read whole."""
    return {name: array[:] for name, array in find_arrays(origin, where, parent, names, needed).items()}


def find_arrays(origin: str, where: str, parent: h5py.Group, names: Iterable[str], needed: Collection[str] = ()) -> dict[str, StoredArray]:
    """What `parent` holds under each of `names`: an array, or a group's, where `obs/robot/joints` is named `obs/robot.joints`, as nested
    observations are. Absent ones are left out.

    Args:
        origin: the file, as errors name it.
        where: the episode, as errors name it; "" for the whole file.
        needed: those of `names` that must not be absent.

    Raises:
        WarmloopError: one that is needed is absent, or something is no array of numbers that lies in this file.
    """
    place = f"{origin}, {where}" if where else origin
    arrays: dict[str, StoredArray] = {}
    for name in names:
        found = {_leaf(path): StoredArray(place, path, dataset) for path, dataset in _datasets(place, name, parent.id)}
        if not found and (name in needed or name.encode() in parent.id):
            raise WarmloopError(f"{place}: there is no array `{name}`; record or copy the file again.")
        if found and name not in found and name not in TREES:
            raise WarmloopError(f"{place}: `{name}` is a group of arrays, and one array is needed.")
        arrays |= found
    return arrays


def group(origin: str, parent: h5py.Group, name: str) -> h5py.Group:
    """The group `name`. Raises WarmloopError where there is none in this file."""
    import h5py

    if isinstance(parent.get(name, getlink=True), h5py.ExternalLink):
        raise WarmloopError(f"{origin}: `{name}` in {parent.name} is a link into another file, which is not followed; copy the group.")
    node = parent.get(name)
    if not isinstance(node, h5py.Group):
        raise WarmloopError(f"{origin}: `{name}` in {parent.name} is no group of arrays.")
    return node


def texts(place: str, dataset: h5py.Dataset) -> list[str]:
    """A one-dimensional array of strings, or a single one, of either of HDF5's kinds.

    Raises:
        WarmloopError: it holds no texts, or reading them would not end.
    """
    name = (dataset.name or "").strip("/")
    if dataset.dtype.kind == "O":
        global_heap.check(place, dataset.file)
    if dataset.dtype.kind not in "OS":
        raise WarmloopError(f"{place}: `{name}` holds {dataset.dtype} values; texts are needed.")
    try:
        return [text.decode() if isinstance(text, bytes) else str(text) for text in np.ravel(dataset[()])]
    except (OSError, ValueError, MemoryError) as error:
        raise WarmloopError(f"{place}: `{name}` cannot be read ({_reason(error)}); copy the file again.") from error


def _datasets(place: str, path: str, parent: h5py.h5g.GroupID) -> Iterator[tuple[str, h5py.h5d.DatasetID]]:
    import h5py

    name = path.rpartition("/")[2].encode()
    if name not in parent:
        return
    if parent.links.get_info(name).type == h5py.h5l.TYPE_EXTERNAL:  # pyright: ignore[reportAttributeAccessIssue]
        file = parent.links.get_val(name)[0].decode(errors="replace")
        raise WarmloopError(f"{place}: `{path}` is a link to {file}, which is not followed; copy the array into the file.")
    try:
        node = h5py.h5o.open(parent, name)  # pyright: ignore[reportAttributeAccessIssue]
    except KeyError:
        node = None
    if isinstance(node, h5py.h5d.DatasetID):
        yield path, node
    elif isinstance(node, h5py.h5g.GroupID):
        for child in node:  # pyright: ignore[reportOptionalIterable]
            yield from _datasets(place, f"{path}/{child.decode(errors='replace')}", node)
    else:
        raise WarmloopError(f"{place}: `{path}` is a link to nothing, and no array.")


def _leaf(path: str) -> str:
    """The column of an array by its path."""
    head, slash, rest = path.partition("/")
    return head + slash + rest.replace("/", ".")


def _reason(error: Exception) -> str:
    return str(error).strip().splitlines()[0].strip("\"'") if str(error).strip() else type(error).__name__
