"""Episodes of a Minari dataset out of its `main_data.hdf5`, by the checks that all HDF5 files pass here and not by Minari's own reading."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from . import global_heap, images
from .flat import Part
from .hdf5 import group, opened, read_arrays
from .minari_episodes import EXTRAS, FLAGS, OWN, SCALARS, is_jpeg, leaves, to_part
from .recording import Columns

if TYPE_CHECKING:
    import h5py

MAIN = "main_data.hdf5"


def parts(origin: str, storage: Any) -> Iterator[Part]:
    """The episodes that have steps, one at a time. Infos that are not needed are not read.

    Raises:
        WarmloopError: the file is damaged, or an episode lacks or contradicts itself in a key.
    """
    with opened(str(storage.data_path / MAIN)) as file:
        if any(is_jpeg(storage, space) for _, space in leaves(storage.observation_space)):
            global_heap.check(origin, file)
        for index in range(storage.total_episodes):
            episode = group(origin, file, f"episode_{index}")
            place = f"episode {index}"
            arrays = read_arrays(origin, place, episode, ("actions", *SCALARS), ("actions", *SCALARS))
            observations = {}
            for path, space in leaves(storage.observation_space):
                jpeg = space.shape if is_jpeg(storage, space) else None
                observations[path] = _leaf(origin, place, episode, ("observations", *path), jpeg)
            own = {name.removeprefix(f"{OWN}/"): value for name, value in episode.attrs.items() if name.startswith(f"{OWN}/")}
            part = to_part(origin, index, arrays, observations, _infos(origin, place, episode), own)
            if part is not None:
                yield part


def _infos(origin: str, place: str, episode: h5py.Group) -> Columns:
    if "infos" not in episode:
        return {}
    infos = group(origin, episode, "infos")
    flags = read_arrays(origin, f"{place}, infos", infos, FLAGS)
    for name in (OWN, EXTRAS):
        if name in infos:
            inner = group(origin, infos, name)
            flags |= {f"{name}/{key}": value for key, value in read_arrays(origin, f"{place}, infos/{name}", inner, list(inner)).items()}
    return flags


def _leaf(origin: str, place: str, node: h5py.Group, path: tuple[str, ...], jpeg: tuple[int, ...] | None) -> np.ndarray:
    """The array at `path` below an episode's group; `jpeg` is the shape of its pictures, where it is made of those."""
    for name in path[:-1]:
        node = group(f"{origin}, {place}", node, name)
    where = ", ".join((place, "/".join(path[:-1]))) if path[:-1] else place
    if jpeg is None or not hasattr(node.get(path[-1]), "dtype"):
        return read_arrays(origin, where, node, [path[-1]], [path[-1]])[path[-1]]
    frames = [np.asarray(frame, np.uint8).tobytes() for frame in node[path[-1]]]  # pyright: ignore[reportGeneralTypeIssues]
    return images.decode(f"{origin}, {where}", path[-1], frames, (*jpeg, 1)[:3]).reshape(-1, *jpeg)
