"""Episodes of a Minari dataset out of its `main_data.hdf5`, by the checks that all HDF5 files pass here and not by Minari's own reading."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import WarmloopError
from .. import global_heap, images
from ..flat import Part
from ..hdf5 import group, opened, read_arrays
from ..recording import Columns
from .episodes import EXTRAS, FLAGS, OWN, SCALARS, is_jpeg, leaves, to_part

if TYPE_CHECKING:
    import h5py

MAIN = "main_data.hdf5"


def parts(origin: str, storage: Any) -> Iterator[Part]:
    """The episodes that have steps, one at a time. Infos that are not needed are not read.

    Raises:
        WarmloopError: the file is damaged, or an episode lacks or contradicts itself in a key.
    """
    spaces = {path: space.shape if is_jpeg(storage, space) else None for path, space in leaves(storage.observation_space)}
    with opened(str(storage.data_path / MAIN)) as file:
        if any(spaces.values()):
            global_heap.check(origin, file)
        for index in range(storage.total_episodes):
            episode, place = group(origin, file, f"episode_{index}"), f"episode {index}"
            arrays = read_arrays(origin, place, episode, ("actions", *SCALARS), ("actions", *SCALARS))
            steps = len(np.atleast_1d(arrays["actions"]))
            observations = {path: _leaf(origin, place, episode, path, jpeg, steps + 1) for path, jpeg in spaces.items()}
            own = {name.removeprefix(f"{OWN}/"): episode.attrs[name] for name in episode.attrs if name.startswith(f"{OWN}/")}
            part = to_part(origin, index, arrays, observations, _infos(origin, place, episode, bool(own)), own)
            if part is not None:
                yield part


def _infos(origin: str, place: str, episode: h5py.Group, ours: bool) -> Columns:
    if "infos" not in episode:
        return {}
    infos = group(origin, episode, "infos")
    found = read_arrays(origin, f"{place}, infos", infos, FLAGS)
    for name in (OWN, EXTRAS) if ours else ():
        if name in infos:
            inner = group(origin, infos, name)
            found |= {f"{name}/{key}": value for key, value in read_arrays(origin, f"{place}, infos/{name}", inner, list(inner)).items()}
    return found


def _leaf(origin: str, place: str, node: h5py.Group, path: tuple[str, ...], jpeg: tuple[int, ...] | None, rows: int) -> np.ndarray:
    """The observations at `path` of an episode's group; `jpeg` is the shape of its pictures, where it is made of those."""
    import h5py

    *above, name = ("observations", *path)
    for part in above:
        node = group(f"{origin}, {place}", node, part)
    where = ", ".join((place, "/".join(above))) if above else place
    own = not isinstance(node.get(name, getlink=True), h5py.ExternalLink)
    pictures = node.get(name) if jpeg and own else None
    if jpeg is None or not isinstance(pictures, h5py.Dataset):
        return read_arrays(origin, where, node, [name], [name])[name]
    if pictures.shape[:1] != (rows,):
        raise WarmloopError(f"{origin}, {where}: `{name}` has shape {pictures.shape}; a picture for each of {rows} observations is needed.")
    encoded = [np.asarray(frame, np.uint8).tobytes() for frame in pictures]
    return images.decode(f"{origin}, {where}", name, encoded, (*jpeg, 1)[:3]).reshape(-1, *jpeg)
