"""robomimic's HDF5 demonstrations: one group per episode, `data/demo_0`, `data/demo_1`, ...

`PATH` reads every demonstration, `PATH::NAME` those that the filter key `mask/NAME` lists (`demos.hdf5::train`).

Read of each: the group `obs` (arrays, images as uint8, or groups of them; a leaf is named by its path, with dots), `next_obs`, `actions`,
`rewards`, `dones`, and `success` where somebody added it. The simulator's `states`, `model_file` and `env_args` are no observations.

- A row is terminated where `dones` is 1, which robomimic defines as "this action ends the episode". A demonstration is one episode,
  even where it goes on after that.
- The rewards tell success, by the rule of `data/outcome.py`: robosuite's sparse reward is 1 at a success, and stays 1 after it.
- Without `next_obs` (robomimic can leave it out) the next observation is the following row's; the last row stays only if it is done.
- Episodes keep their own numbers: `demo_7` is episode 7.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from ...errors import WarmloopError
from ..recordings.flat import Part, join
from ..recordings.options import PLAIN, ReadOptions
from ..recordings.recording import Recording, require_keys
from .demonstrations import demonstrations
from .hdf5 import attribute, layout, names, opened, read_arrays, split

if TYPE_CHECKING:
    import h5py

COLUMNS = {
    "obs": "observations",
    "next_obs": "next_observations",
    "actions": "actions",
    "rewards": "rewards",
    "dones": "terminals",
    "success": "success",
}
REQUIRED = ["obs", "actions", "rewards", "dones"]


def matches(path: str) -> bool:
    """Whether `path`, without a filter key, is an HDF5 file with a group `data`."""
    return layout(path) == "robomimic"


def read(origin: str, options: ReadOptions = PLAIN) -> Iterator[Recording]:
    """The rows of the demonstrations that `origin` names, in pieces.

    Raises:
        WarmloopError: the file is damaged, there is no such filter key, or a demonstration lacks or contradicts itself in a key.
    """
    path, mask = split(origin)
    with opened(path) as file:
        yield from join(path, demonstrations(path, file, mask, _part), options)


def _part(path: str, demo: h5py.Group, name: str, number: int) -> Part:
    present = names(demo)
    if "states" in present and "obs" not in present:
        raise WarmloopError(
            f"{path}, {name}: there is no `obs`, only the simulator's `states`; extract observations with robomimic's "
            "dataset_states_to_obs.py."
        )
    require_keys(path, name, present, REQUIRED)
    arrays = read_arrays(path, name, demo, COLUMNS, REQUIRED)
    columns = {}
    for key, array in arrays.items():
        head, slash, leaf = key.partition("/")
        columns[COLUMNS[head] + slash + leaf] = array
    samples = attribute(f"{path}, {name}", demo, "num_samples")
    if samples is not None and samples != len(np.atleast_1d(columns["actions"])):
        raise WarmloopError(f"{path}, {name}: `num_samples` is {samples}, and `actions` has {len(np.atleast_1d(columns['actions']))} rows.")
    return Part(name, number, columns, unread=tuple(key for key in present if key not in COLUMNS))
