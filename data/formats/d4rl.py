"""D4RL's flat HDF5 files, and those of others: all episodes end to end.

Read: the flat arrays under the names that `marks.py` lists, by the rules of `flat_arrays.py`; and of `infos` the success flag `success`,
`is_success`, `succeed` or `goal_achieved`. Observations may also be a group, of groups and arrays; a leaf is named by its path, with
dots. The names of all else (`infos/qpos`, `metadata`) are told. d3rlpy's dumps of version 1 have the same layout, with
`episode_terminals` in place of `timeouts`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..errors import WarmloopError
from ..files.whole_files import listed
from .hdf5.hdf5 import StoredArray, find_arrays, group, layout, names, opened
from .recordings.flat import SUCCESS_FLAGS
from .recordings.flat_arrays import REQUIRED, read_arrays
from .recordings.marks import NAMES, SECOND, TREES
from .recordings.options import PLAIN, ReadOptions
from .recordings.recording import Recording

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
            return stored[name] if name in stored else find_arrays(origin, "", file, [name], [name], ())[name]

        yield from read_arrays(origin, [*stored, *others], array, options)


def _stored(origin: str, file: h5py.File, keys: list[str]) -> tuple[dict[str, StoredArray], list[str]]:
    """The arrays that may be read, by name, and the names of the others."""
    stored = find_arrays(origin, "", file, [key for key in keys if key in KNOWN], [key for key in keys if key in KNOWN], OF_TREES)
    others = [key for key in keys if key not in KNOWN and key != "infos"]
    infos = names(group(origin, file, "infos")) if "infos" in keys else []
    flag = next((name for name in SUCCESS_FLAGS if name in infos), None)
    if flag and not {*NAMES["success"]} & set(keys):
        stored |= {"success": find_arrays(origin, "", group(origin, file, "infos"), [flag])[flag]}
    return stored, [*others, *(f"infos/{name}" for name in infos if name != flag)]
