"""Isaac Lab's HDF5 recordings, of teleoperation and of Mimic: one group per episode, `data/demo_0`, `data/demo_1`, ...

Source: isaac-sim/IsaacLab, `source/isaaclab/isaaclab/utils/datasets/hdf5_dataset_file_handler.py` and `envs/mdp/recorders/recorders.py`.
The layout is near robomimic's; it has no rewards, no dones and no next observations, and the simulator's states are groups.

Read of each: the group `obs` (or one array; images as uint8; a leaf is named by its path, with dots) without `datagen_info`, which is
what Mimic knows of the scene; `actions`; the attribute `success`. The names of all else (`states`, `initial_state`, `processed_actions`)
are told. `PATH::NAME` reads the demonstrations of a filter key, as robomimic's.

- `success` says of the whole episode whether its success term ended it: then the last step is a success, is paid 1 and is terminal; all
  other rewards are 0. Without the attribute nothing is known of success.
- An episode that did not succeed was cut: its last row has no known next observation and is dropped.
- The environment is `env_name` of the attribute `env_args`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from ...errors import WarmloopError
from ..recordings.flags import single_flag
from ..recordings.flat import Part, join
from ..recordings.options import PLAIN, ReadOptions
from ..recordings.recording import Columns, Recording, require_keys
from .demonstrations import demonstrations
from .hdf5 import attribute, group, layout, names, opened, read_arrays, split

if TYPE_CHECKING:
    import h5py

REQUIRED = ["obs", "actions"]
OF_MIMIC = "datagen_info"


def matches(path: str) -> bool:
    """Whether `path`, without a filter key, is an HDF5 file of Isaac Lab's."""
    return layout(path) == "isaac"


def read(origin: str, options: ReadOptions = PLAIN) -> Iterator[Recording]:
    """The rows of the demonstrations that `origin` names, in pieces.

    Raises:
        WarmloopError: the file is damaged, there is no such filter key, or a demonstration lacks or contradicts itself in a key.
    """
    path, mask = split(origin)
    with opened(path) as file:
        yield from join(path, demonstrations(path, file, mask, _part), options)


def environment(origin: str) -> str | None:
    """The environment that the file says it was recorded in."""
    path, _ = split(origin)
    with opened(path) as file:
        said = attribute(path, group(path, file, "data"), "env_args")
    try:
        found = json.loads(said.decode() if isinstance(said, bytes) else str(said)).get("env_name")
    except (ValueError, AttributeError, RecursionError):
        return None
    return found if isinstance(found, str) and found else None


def _part(path: str, demo: h5py.Group, name: str, number: int) -> Part:
    present, place = names(demo), f"{path}, {name}"
    if "obs" not in present:
        raise WarmloopError(f"{place}: there is no `obs`; record the observations too, as Isaac Lab's ActionStateRecorderManagerCfg does.")
    require_keys(path, name, present, REQUIRED)
    arrays = read_arrays(path, name, demo, REQUIRED, REQUIRED)
    columns: Columns = {"actions": arrays.pop("actions")}
    known = {key: array for key, array in arrays.items() if key.removeprefix("obs/").split(".")[0] != OF_MIMIC}
    columns |= {f"observations{key.removeprefix('obs')}": array for key, array in known.items()}
    rows = len(np.atleast_1d(columns["actions"]))
    success, samples = (attribute(place, demo, key) for key in ("success", "num_samples"))
    if samples is not None and samples != rows:
        raise WarmloopError(f"{place}: `num_samples` is {samples}, and `actions` has {rows} rows.")
    won = (np.arange(rows) == rows - 1) & (success is not None and single_flag(place, "success", success))
    columns |= {"rewards": won.astype(np.float32), "terminals": won} | ({} if success is None else {"success": won})
    unread = [key for key in present if key not in REQUIRED] + ([f"obs/{OF_MIMIC}"] if len(known) < len(arrays) else [])
    return Part(name, number, columns, unread=tuple(unread))
