"""D4RL's flat HDF5 files, and those of others: all episodes end to end.

Read: the flat arrays under the names that `marks.py` lists, by the rules of `flat_arrays.py`; a success flag of the group
`infos` included. Observations may also be a group, of groups and arrays; a leaf is named by its path, with dots. The names of all else
(`infos/qpos`, `metadata`) are told. d3rlpy's dumps of version 1 have the same layout, with `episode_terminals` in place of `timeouts`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...errors import WarmloopError
from ...files.whole_files import listed
from ..recordings.flat_arrays import REQUIRED, read_arrays
from ..recordings.marks import INFOS, NAMES, SECOND, TREES
from ..recordings.options import PLAIN, ReadOptions
from ..recordings.recording import Recording
from .hdf5 import StoredArray, find_arrays, group, layout, names, opened
from .hdf5_links import follow

if TYPE_CHECKING:
    import h5py

KNOWN = {name for known in (*NAMES.values(), *SECOND.values()) for name in known}
OF_TREES = {name for tree in TREES for name in (*NAMES[tree], *SECOND[tree])}


def matches(path: str) -> bool:
    """Whether `path` is an HDF5 file of this layout, or of none that is known."""
    return layout(path) == "d4rl"


def read(origin: str, options: ReadOptions = PLAIN) -> Iterator[Recording]:
    """The rows of file `origin`, in pieces.

    Raises:
        WarmloopError: the file is damaged, lacks or contradicts itself in a key, or does not say where episodes were cut.
    """
    with opened(origin) as file:
        keys = names(file)
        if not any({*NAMES[column], *SECOND.get(column, ())} & set(keys) for column in REQUIRED):
            raise WarmloopError(
                f"{origin} is an HDF5 file, but neither D4RL's (`observations`, `actions`, ...), robomimic's or Isaac "
                "Lab's (`data/demo_0`), ALOHA's (`action`, `observations/qpos`) nor d3rlpy's (`num_episodes`, `columns`); its keys are "
                f"{listed(keys) or 'none'}."
            )
        stored, others = _stored(origin, file, keys)

        def array(name: str) -> StoredArray:
            if name in stored:
                return stored[name]
            head, slash, leaf = name.rpartition("/")
            parent = group(origin, file, head) if slash else file
            return find_arrays(origin, head, parent, [leaf], [leaf], ())[leaf]

        yield from read_arrays(origin, [*stored, *others], array, options)


def _stored(origin: str, file: h5py.File, keys: list[str]) -> tuple[dict[str, StoredArray], list[str]]:
    """The arrays that may be read, by name, and the names of the others."""
    import h5py

    stored = find_arrays(origin, "", file, [key for key in keys if key in KNOWN], [key for key in keys if key in KNOWN], OF_TREES)
    infos = [key for key in keys if key in INFOS and isinstance(follow(origin, file.id, key), h5py.h5g.GroupID)]
    others = [key for key in keys if key not in KNOWN and key not in infos]
    return stored, [*others, *(f"{key}/{name}" for key in infos for name in names(group(origin, file, key)))]
