"""HDF5 files at the edge: which layout a file has, and arrays out of it, each checked before it is read.

Only arrays of numbers are read, and only from the file itself: links into other files (`hdf5_links.py`), virtual arrays and those whose
values lie in other files, arrays of which nothing was ever written (a recording that broke off), and those that would take more memory
than `budget.py` allows are refused. An array need not be contiguous; any filter will do that this machine's HDF5 has.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import WarmloopError
from ...files.whole_files import kind, require_file
from ..recordings.budget import allowed, require
from ..recordings.recording import Columns, distinct
from . import global_heap
from .deflated import fits
from .hdf5_links import datasets, follow
from .hdf5_links import names as names

if TYPE_CHECKING:
    import h5py

SPLIT = "::"
OBJECT = 64  # bytes of an object of Python's
FEW_CHUNKS = 1000
TREES = ("observations", "next_observations", "obs", "next_obs")  # what may be a group of arrays


def split(origin: str) -> tuple[str, str | None]:
    """`PATH::NAME` as its two parts; NAME is None where there is none, or where a file is called so."""
    path, separator, name = origin.rpartition(SPLIT)
    return (path, name) if separator and path and not Path(origin).exists() else (origin, None)


def layout(origin: str) -> str | None:
    """ "robomimic", "isaac", "aloha", "d3rlpy" or "d4rl", by what the file holds; None where it is no HDF5 file.

    One that cannot be opened, or has none of these layouts, is "d4rl": the reader of the plainest says what is wrong.
    """
    path = Path(split(origin)[0])
    if kind(str(path)) != "hdf5":
        return None
    try:
        with opened(str(path)) as file:
            present = set(names(file))
            if {"columns", "num_episodes"} <= present:
                return "d3rlpy"
            if "data" in present and "observations" not in present:
                return "isaac" if _of_isaac(str(path), file) else "robomimic"
            pose = "qpos" in names(group(str(path), file, "observations")) if {"action", "observations"} <= present else False
            return "aloha" if pose else "d4rl"
    except WarmloopError:
        return "d4rl"


def _of_isaac(path: str, file: h5py.File) -> bool:
    """Whether its demonstrations are Isaac Lab's: the simulator's states are a group, where robomimic's are an array, and nothing says
    what ended them."""
    import h5py

    demos = group(path, file, "data")
    first = next((group(path, demos, name) for name in names(demos)), None)
    if first is None or {"dones", "rewards"} & set(names(first)):
        return False
    return "initial_state" in names(first) or isinstance(follow(path, first.id, "states"), h5py.h5g.GroupID)


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

    def __init__(self, place: str, path: str, dataset: h5py.h5d.DatasetID, size: int):
        self._place, self._path, self._dataset, self._size = place, path, dataset, size
        self._inflated = False
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
        require(self._place, f"`{self._path}`", math.prod(shape) * self.dtype.itemsize, self._size)
        self._check_inflated()
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
            raise WarmloopError(f"{self._place}: the values of `{self._path}` lie in other files or arrays; copy them into this one.")
        if math.prod(self.shape) and not self._dataset.get_storage_size():
            raise WarmloopError(f"{where} has room for {self.shape} values, none of which was ever written; record it again.")
        if created.get_layout() == h5py.h5d.CHUNKED:
            require(self._place, f"a chunk of `{self._path}`", math.prod(created.get_chunk()) * self.dtype.itemsize, self._size)
            chunks = math.prod(-(-size // chunk) for size, chunk in zip(self.shape, created.get_chunk(), strict=True))
            if chunks > FEW_CHUNKS and chunks > 2 * self._dataset.get_num_chunks():  # HDF5 would look for each, for hours
                raise WarmloopError(f"{where} has room for {self.shape} values, most of which were never written; record or copy it again.")

    def _check_inflated(self) -> None:
        """Once, before HDF5 inflates a chunk: it would inflate all that the chunk's bytes hold, whatever the chunk's size."""
        import h5py

        created = self._dataset.get_create_plist()
        if not self._inflated and created.get_layout() == h5py.h5d.CHUNKED:
            if not fits(self._dataset, math.prod(created.get_chunk()) * self.dtype.itemsize):
                raise WarmloopError(
                    f"{self._place}: `{self._path}` is compressed into more than its chunks hold, or in an order that is not read; copy or "
                    "record it again."
                )
            self._inflated = True


def read_arrays(origin: str, where: str, parent: h5py.Group, names: Iterable[str], needed: Collection[str] = ()) -> Columns:
    """As `find_arrays`, read whole."""
    found = find_arrays(origin, where, parent, names, needed)
    wanted = sum(math.prod(array.shape) * array.dtype.itemsize for array in found.values())
    require(f"{origin}, {where}" if where else origin, "what it holds", wanted, file_size(parent))
    return {name: array[:] for name, array in found.items()}


def file_size(node: h5py.Group | h5py.Dataset) -> int:
    """Bytes of the file that a group or an array is in."""
    import h5py

    return h5py.h5i.get_file_id(node.id).get_filesize()  # pyright: ignore[reportAttributeAccessIssue]


def find_arrays(
    origin: str, where: str, parent: h5py.Group, names: Iterable[str], needed: Collection[str] = (), trees: Collection[str] = TREES
) -> dict[str, StoredArray]:
    """What `parent` holds under each of `names`: an array, or a group's, where `obs/robot/joints` is named `obs/robot.joints`, as nested
    observations are. Absent ones are left out.

    Args:
        origin: the file, as errors name it.
        where: the episode, as errors name it; "" for the whole file.
        needed: those of `names` that must not be absent.
        trees: those of `names` that may be groups of arrays.

    Raises:
        WarmloopError: one that is needed is absent, or something is no array of numbers that lies in this file.
    """
    place = f"{origin}, {where}" if where else origin
    arrays: dict[str, StoredArray] = {}
    size = file_size(parent)
    for name in names:
        below = datasets(place, name, parent.id)
        found = distinct(place, ((leaf_of(path), StoredArray(place, path, dataset, size)) for path, dataset in below))
        if not found and (name in needed or parent.id.links.exists(name.encode())):
            raise WarmloopError(f"{place}: there is no array `{name}`; record or copy the file again.")
        if found and name not in found and name not in trees:
            raise WarmloopError(f"{place}: `{name}` is a group of arrays, and one array is needed.")
        arrays |= found
    return arrays


def group(origin: str, parent: h5py.Group, name: str) -> h5py.Group:
    """The group `name`. Raises WarmloopError where there is none in this file."""
    import h5py

    node = follow(origin, parent.id, name)
    if not isinstance(node, h5py.h5g.GroupID):
        raise WarmloopError(f"{origin}: `{name}` in {parent.name} is no group of arrays.")
    return h5py.Group(node)


def attribute(place: str, node: h5py.Group, name: str) -> Any:
    """A single number or text (as bytes or str) that a group has beside its arrays; None where it has none of that name.

    Raises:
        WarmloopError: it is an array of them, or reading it would not end.
    """
    if name not in node.attrs:
        return None
    found = node.attrs.get_id(name)
    if found.dtype.kind == "O":
        global_heap.check(place, node.file)
    if math.prod(found.shape or ()) != 1 or found.dtype.kind not in "biufSO":
        raise WarmloopError(f"{place}: its attribute `{name}` is {found.dtype} {found.shape}; one number or text is needed.")
    return np.ravel(np.asarray(node.attrs[name]))[0]


def texts(origin: str, parent: h5py.Group, name: str) -> list[str]:
    """The one-dimensional array of strings `name`, or a single one, of either of HDF5's kinds.

    Raises:
        WarmloopError: it holds no texts, or reading them would not end, or exhaust the memory.
    """
    import h5py

    node = follow(origin, parent.id, name)
    shown = f"{(parent.name or '').strip('/')}/{name}".strip("/")
    if not isinstance(node, h5py.h5d.DatasetID):
        raise WarmloopError(f"{origin}: `{shown}` is no list of texts; write it again.")
    dataset = h5py.Dataset(node)
    if dataset.dtype.kind not in "OS" or dataset.ndim > 1:
        raise WarmloopError(f"{origin}: `{shown}` holds {dataset.dtype} values {dataset.shape}; a list of texts is needed.")
    try:
        found = list(objects(origin, shown, dataset))
    except (OSError, ValueError, MemoryError) as error:
        raise WarmloopError(f"{origin}: `{shown}` cannot be read ({_reason(error)}); copy the file again.") from error
    return [text.decode() if isinstance(text, bytes) else str(text) for text in found]


def objects(place: str, shown: str, dataset: h5py.Dataset) -> Iterator[Any]:
    """The values of an array of texts, or of rows of variable length, few at a time: each may be as long as the file, and stand there
    often.

    Raises:
        WarmloopError: reading them would not end, or exhaust the memory.
    """
    size, count = file_size(dataset), math.prod(dataset.shape)
    require(place, f"`{shown}`", count * max(dataset.dtype.itemsize, OBJECT), size)
    if dataset.dtype.kind == "O":
        global_heap.check(place, dataset.file)
    if not dataset.shape:
        yield dataset[()]
        return
    taken, some = 0, max(1, allowed(size) // (4 * size))
    for first in range(0, len(dataset), some):
        for value in dataset[first : first + some]:
            taken += len(value) + OBJECT
            yield value
        require(place, f"`{shown}`", taken, size)


def leaf_of(path: str) -> str:
    """The column of an array by its path: `obs/robot/joints` is `obs/robot.joints`."""
    head, slash, rest = path.partition("/")
    return head + slash + rest.replace("/", ".")


def _reason(error: Exception) -> str:
    return str(error).strip().splitlines()[0].strip("\"'") if str(error).strip() else type(error).__name__
