"""Episodes of a Minari dataset out of its `main_data.hdf5`, by the checks that all HDF5 files pass here and not by Minari's own reading."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import WarmloopError
from ..hdf5.hdf5 import attribute, group, names, objects, opened, read_arrays
from ..hdf5.hdf5_links import follow
from ..recordings import images
from ..recordings.flat import Attempt, Part
from ..recordings.recording import Columns
from .episodes import EXTRAS, FLAGS, OWN, SCALARS, Kept, check_count, is_jpeg, to_part

if TYPE_CHECKING:
    import h5py

MAIN = "main_data.hdf5"


def attempts(origin: str, storage: Any, kept: Kept) -> Iterator[Attempt]:
    """The episodes, one at a time. Infos that are not needed are not read.

    Raises:
        WarmloopError: the file is damaged; of an attempt, the episode lacks or contradicts itself in a key.
    """
    spaces = {path: space.shape if is_jpeg(storage, space) else None for path, space in {**kept.boxes, **kept.choices}.items()}
    with opened(str(storage.data_path / MAIN)) as file:
        check_count(origin, storage.total_episodes, f"episode_{storage.total_episodes}" in names(file))
        for index in range(storage.total_episodes):
            yield f"episode {index}", functools.partial(_part, origin, file, index, spaces, kept)


def _part(origin: str, file: h5py.File, index: int, spaces: Mapping[tuple[str, ...], tuple[int, ...] | None], kept: Kept) -> Part | None:
    episode, place = group(origin, file, f"episode_{index}"), f"episode {index}"
    arrays = read_arrays(origin, place, episode, ("actions", *SCALARS), ("actions", *SCALARS))
    steps = len(np.atleast_1d(arrays["actions"]))
    observations = {path: _leaf(origin, place, episode, path, jpeg, steps + 1) for path, jpeg in spaces.items()}
    own = {
        name.removeprefix(f"{OWN}/"): attribute(f"{origin}, {place}", episode, name) for name in episode.attrs if name.startswith(f"{OWN}/")
    }
    return to_part(origin, index, arrays, observations, _infos(origin, place, episode, bool(own)), own, kept)


def _infos(origin: str, place: str, episode: h5py.Group, ours: bool) -> Columns:
    if "infos" not in names(episode):
        return {}
    infos = group(origin, episode, "infos")
    found = read_arrays(origin, f"{place}, infos", infos, FLAGS)
    for name in (OWN, EXTRAS) if ours else ():
        if name in names(infos):
            inner = group(origin, infos, name)
            found |= {f"{name}/{key}": value for key, value in read_arrays(origin, f"{place}, infos/{name}", inner, names(inner)).items()}
    return found


def _leaf(origin: str, place: str, node: h5py.Group, path: tuple[str, ...], jpeg: tuple[int, ...] | None, rows: int) -> np.ndarray:
    """The observations at `path` of an episode's group; `jpeg` is the shape of its pictures, where it is made of those."""
    import h5py

    *above, name = ("observations", *path)
    for part in above:
        node = group(f"{origin}, {place}", node, part)
    where = ", ".join((place, "/".join(above))) if above else place
    stored = follow(f"{origin}, {where}", node.id, name) if jpeg else None
    if jpeg is None or not isinstance(stored, h5py.h5d.DatasetID):
        return read_arrays(origin, where, node, [name], [name])[name]
    pictures = h5py.Dataset(stored)
    if pictures.shape[:1] != (rows,):
        raise WarmloopError(f"{origin}, {where}: `{name}` has shape {pictures.shape}; a picture for each of {rows} observations is needed.")
    encoded = [np.asarray(frame, np.uint8).tobytes() for frame in objects(f"{origin}, {where}", name, pictures)]
    return images.decode(f"{origin}, {where}", name, encoded, (*jpeg, 1)[:3]).reshape(-1, *jpeg)
