"""HDF5 files at the edge: which layout a file has, and arrays out of it, each checked before it is read.

Only arrays of numbers are read, and only from the file itself: links into other files, arrays whose values lie in other files, and arrays
of which nothing was ever written (a recording that broke off) are refused. An array need not be contiguous; any filter will do that
this machine's HDF5 has.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import WarmloopError
from . import global_heap
from .files import require_file
from .recording import Columns

if TYPE_CHECKING:
    import h5py

SIGNATURE = b"\x89HDF\r\n\x1a\n"
SPLIT = "::"
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
    if not path.is_file():
        return None
    with open(path, "rb") as file:
        if file.read(len(SIGNATURE)) != SIGNATURE:
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


def read_arrays(origin: str, where: str, parent: h5py.Group, names: Iterable[str], needed: Collection[str] = ()) -> Columns:
    """What `parent` holds under each of `names`: an array, or a group's by their paths (`obs/robot/joints`). Absent ones are left out.

    Args:
        origin: the file, as errors name it.
        where: the episode, as errors name it; "" for the whole file.
        needed: those of `names` that must not be absent.

    Raises:
        WarmloopError: one that is needed is absent, or something is no array of numbers that lies in this file.
    """
    place = f"{origin}, {where}" if where else origin
    arrays: Columns = {}
    for name in names:
        found = {path: _array(place, path, dataset) for path, dataset in _datasets(place, name, parent)}
        if not found and (name in needed or name in parent):
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


def _datasets(place: str, path: str, parent: h5py.Group) -> Iterator[tuple[str, h5py.Dataset]]:
    import h5py

    name = path.rpartition("/")[2]
    link = parent.get(name, getlink=True)
    if link is None:
        return
    if isinstance(link, h5py.ExternalLink):
        raise WarmloopError(f"{place}: `{path}` is a link to {link.filename}, which is not followed; copy the array into the file.")
    node = parent.get(name)
    if isinstance(node, h5py.Dataset):
        yield path, node
    elif isinstance(node, h5py.Group):
        for child in node:
            yield from _datasets(place, f"{path}/{child}", node)
    else:
        raise WarmloopError(f"{place}: `{path}` is a link to nothing, and no array.")


def _array(place: str, path: str, dataset: h5py.Dataset) -> np.ndarray:
    import h5py

    if dataset.dtype.kind not in "biuf":
        kind = "Python objects or texts" if dataset.dtype.kind == "O" else f"{dataset.dtype} values"
        raise WarmloopError(f"{place}: `{path}` holds {kind}; numbers are needed.")
    created = dataset.id.get_create_plist()
    if created.get_layout() == h5py.h5d.VIRTUAL or created.get_external_count():
        raise WarmloopError(f"{place}: the values of `{path}` lie in other files; copy them into this one.")
    if dataset.size and not dataset.id.get_storage_size():
        raise WarmloopError(f"{place}: `{path}` has room for {dataset.shape} values, none of which was ever written; record it again.")
    try:
        return np.asarray(dataset[()])
    except (OSError, MemoryError) as error:
        raise WarmloopError(
            f"{place}: `{path}` cannot be read ({_reason(error)}); it is damaged, or compressed by a filter that is not installed here: "
            "copy it again, or store it with gzip."
        ) from error


def _reason(error: Exception) -> str:
    return str(error).strip().splitlines()[0].strip("\"'") if str(error).strip() else type(error).__name__
