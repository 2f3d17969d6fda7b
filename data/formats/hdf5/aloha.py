"""ALOHA's HDF5 episodes: one file each, `episode_0.hdf5`, `episode_1.hdf5`, ...; a folder of them is one data set.

Source: tonyzhaozh/act (README and `record_sim_episodes.py`), MarkFzp/mobile-aloha and act-plus-plus (`record_episodes.py`,
`compress_data.py`).

Read: `action` `[T, A]`; of `observations` `qpos`, `qvel`, `effort` and whatever arrays else there are; `observations/images/CAMERA`,
uint8 `[T, H, W, 3]`, as leaf `images.CAMERA`. Pictures may be JPEG (attribute `compress`): `[T, bytes]`, each filled up with zeros. The
names of all else (`base_action`, `compress_len`) are told, and so are
a folder's other files.

- There are no rewards and no ends: every reward is 0, nothing is terminal, and nothing is known of success; a last row has no known next
  observation and is dropped. `data.success=end` says that every episode succeeded, at the step that led to its last observation.
- Actions are joint positions in radians: they need `data.action_scaling`.
- A JPEG's colours are read as JPEG has them. ACT's own recorders hand OpenCV red, green and blue, which it takes for blue, green and red;
  there the two are exchanged, and a mapping to `images.CAMERA[2,1,0]` puts them right.
"""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..recordings import images
from ..recordings.flat import Part, join, strangers
from ..recordings.options import PLAIN, ReadOptions
from ..recordings.recording import Columns, Recording, distinct
from .hdf5 import StoredArray, file_size, layout, leaf_of, names, objects, opened, read_arrays
from .hdf5_links import datasets

if TYPE_CHECKING:
    import h5py

OF_EPISODE = re.compile(r"(?:\w*_)?episode_(\d{1,9})\.(hdf5|h5)")
PICTURES = "observations/images."
log = logging.getLogger("warmloop")


def matches(path: str) -> bool:
    """Whether `path` is an episode of ALOHA's, or a folder that holds some."""
    files = _files(path) if Path(path).is_dir() else [Path(path)]
    return bool(files) and layout(str(files[0])) == "aloha"


def read(origin: str, options: ReadOptions = PLAIN) -> Iterator[Recording]:
    """The rows of the file or folder `origin`, in pieces.

    Raises:
        WarmloopError: a file is damaged, or lacks or contradicts itself in a key.
    """
    files = _files(origin) if Path(origin).is_dir() else [Path(origin)]
    numbers = [_number(file) for file in files]
    numbered = len({*numbers} - {None}) == len(files) > 1
    others = strangers(origin, files)
    attempts = (
        (file.name, functools.partial(_part, str(file), others, number if numbered and number is not None else index))
        for index, (file, number) in enumerate(zip(files, numbers, strict=True))
    )
    yield from join(origin, attempts, options)


def _files(folder: str) -> list[Path]:
    """The episodes in a folder, by number."""
    found = [entry for entry in Path(folder).iterdir() if _number(entry) is not None]
    return sorted(found, key=lambda entry: (_number(entry) or 0, entry.name))


def _number(path: Path) -> int | None:
    found = OF_EPISODE.fullmatch(path.name)
    return int(found[1]) if found else None


def _part(path: str, others: tuple[str, ...], number: int) -> Part:
    with opened(path) as file:
        columns: Columns = {"actions": read_arrays(path, "", file, ["action"], ["action"])["action"]}
        observed = distinct(path, ((leaf_of(place), dataset) for place, dataset in datasets(path, "observations", file.id)))
        encoded = {leaf: dataset for leaf, dataset in observed.items() if leaf.startswith(PICTURES) and _is_encoded(dataset)}
        for leaf, dataset in observed.items():
            columns[leaf] = _decoded(path, leaf, dataset) if leaf in encoded else StoredArray(path, leaf, dataset, file_size(file))[:]
        unread = (*(name for name in names(file) if name not in ("action", "observations")), *others)
    rows = len(np.atleast_1d(columns["actions"]))
    columns |= {"rewards": np.zeros(rows, np.float32), "terminals": np.zeros(rows, bool)}
    return Part(Path(path).name, number, columns, unread=unread)


def _is_encoded(dataset: h5py.h5d.DatasetID) -> bool:
    return dataset.dtype.kind == "O" or (dataset.dtype == np.uint8 and len(dataset.shape) == 2)


def _decoded(path: str, leaf: str, dataset: h5py.h5d.DatasetID) -> np.ndarray:
    import h5py

    key = leaf.replace(".", "/")
    return images.decode(path, key, [np.asarray(row, np.uint8).tobytes() for row in objects(path, key, h5py.Dataset(dataset))])
