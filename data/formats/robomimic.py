"""robomimic's HDF5 demonstrations: one group per episode, `data/demo_0`, `data/demo_1`, ...

`PATH` reads every demonstration, `PATH::NAME` those that the filter key `mask/NAME` lists (`demos.hdf5::train`).

Read of each: the group `obs` (arrays, images as uint8, or groups of them; a leaf is named by its path, with dots), `next_obs`, `actions`,
`rewards`, `dones`. The simulator's `states`, `model_file` and `env_args` are not observations and are ignored.

- A row is terminated where `dones` is 1, which robomimic defines as "this action ends the episode". A demonstration is one episode,
  even where it goes on after that.
- Success is a reward of 1, robosuite's sparse reward, in a file whose rewards are all 0 or 1 and not all 0; any other file has no
  success signal.
- Without `next_obs` (robomimic can leave it out) the next observation is the following row's; the last row stays only if it is done.
- Episodes keep their own numbers: `demo_7` is episode 7.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from ..errors import WarmloopError
from .files import did_you_mean
from .flat import Part, join
from .hdf5 import group, layout, opened, read_arrays, split, texts
from .recording import Recording, require_keys

if TYPE_CHECKING:
    import h5py

COLUMNS = {"obs": "observations", "next_obs": "next_observations", "actions": "actions", "rewards": "rewards", "dones": "terminals"}
REQUIRED = ["obs", "actions", "rewards", "dones"]


def matches(path: str) -> bool:
    """Whether `path`, without a filter key, is an HDF5 file with a group `data`."""
    return layout(path) == "robomimic"


def read(origin: str) -> Iterator[Recording]:
    """The rows of the demonstrations that `origin` names, in pieces.

    Raises:
        WarmloopError: the file is damaged, there is no such filter key, or a demonstration lacks or contradicts itself in a key.
    """
    path, mask = split(origin)
    with opened(path) as file:
        names = _selected(path, file, mask)
        numbers = _numbers(names)
        data = group(path, file, "data")
        demos = [group(path, data, name) for name in names]
        signalled = _rewards_are_successes(path, demos, names)
        yield from join(path, (_part(path, *demo, signalled) for demo in zip(demos, names, numbers, strict=True)))


def _selected(path: str, file: h5py.File, mask: str | None) -> list[str]:
    """The names of the demonstrations to read, by number."""
    names = present = list(group(path, file, "data"))
    if mask is not None:
        masks = list(group(path, file, "mask")) if "mask" in file else []
        if mask not in masks:
            listed = ", ".join(masks) or "none"
            raise WarmloopError(f"{path} has no filter key `mask/{mask}`; its filter keys are {listed}{did_you_mean(mask, masks)}")
        filter_key = file[f"mask/{mask}"]
        if not hasattr(filter_key, "dtype"):
            raise WarmloopError(f"{path}: `mask/{mask}` is no list of demonstrations; split the data set again.")
        names = texts(path, filter_key)  # pyright: ignore[reportArgumentType]
        absent = [name for name in names if name not in present]
        if absent:
            raise WarmloopError(f"{path}: `mask/{mask}` lists {absent[0]}, and `data` has no such demonstration.")
    if not names:
        raise WarmloopError(f"{path} holds no demonstrations in {'`data`' if mask is None else f'`mask/{mask}`'}.")
    return sorted(set(names), key=_by_number)


def _by_number(name: str) -> tuple[int, str]:
    found = re.search(r"(\d+)$", name)
    return (int(found[1]) if found else -1, name)


def _numbers(names: list[str]) -> list[int]:
    """Their own where every name is `demo_NUMBER`, else their positions."""
    found = [re.fullmatch(r"demo_(\d{1,9})", name) for name in names]
    return [int(number[1]) for number in found if number] if all(found) else list(range(len(names)))


def _rewards_are_successes(path: str, demos: list[h5py.Group], names: list[str]) -> bool:
    """Whether the rewards of all are 0 or 1, and not all 0."""
    rewards = [read_arrays(path, name, demo, ["rewards"]).get("rewards", np.zeros(0)) for demo, name in zip(demos, names, strict=True)]
    return any((some == 1).any() for some in rewards) and all(((some == 0) | (some == 1)).all() for some in rewards)


def _part(path: str, demo: h5py.Group, name: str, number: int, signalled: bool) -> Part:
    if "states" in demo and "obs" not in demo:
        raise WarmloopError(
            f"{path}, {name}: there is no `obs`, only the simulator's `states`; extract observations with robomimic's "
            "dataset_states_to_obs.py."
        )
    require_keys(path, name, list(demo), REQUIRED)
    arrays = read_arrays(path, name, demo, COLUMNS, REQUIRED)
    columns = {}
    for key, array in arrays.items():
        head, slash, leaf = key.partition("/")
        columns[COLUMNS[head] + slash + leaf] = array
    samples = demo.attrs.get("num_samples")
    if samples is not None and samples != len(np.atleast_1d(columns["actions"])):
        raise WarmloopError(f"{path}, {name}: `num_samples` is {samples}, and `actions` has {len(np.atleast_1d(columns['actions']))} rows.")
    if signalled:
        columns["success"] = columns["rewards"] == 1
    return Part(name, number, columns)
