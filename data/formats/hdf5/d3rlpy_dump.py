"""d3rlpy's HDF5 dump of its replay buffer (`ReplayBuffer.dump`, version 2 and later): `observations_0`, `actions_0`, ... by episode.

Read: `observations_I` (or `observations_I_J`, the parts of a tuple, read as a dict of `0`, `1`, ...), `actions_I`, `rewards_I`, and
`terminated_I`, whether the environment ended the episode. Images are put channels last. Next observations are not stored: the last row of
an episode that did not terminate is dropped (d3rlpy itself draws no transition from it). `columns`, which lists the kinds, is not read:
HDF5 can loop for ever over texts in a damaged file.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from ...errors import WarmloopError
from ..recordings.flags import single_flag
from ..recordings.flat import Part, channels_last, join
from ..recordings.options import PLAIN, ReadOptions
from ..recordings.recording import Columns, Recording
from .hdf5 import layout, names, opened, read_arrays

if TYPE_CHECKING:
    import h5py

REQUIRED = ("observations", "actions", "rewards", "terminated")


def matches(path: str) -> bool:
    """Whether `path` is an HDF5 file with `columns` and `num_episodes`."""
    return layout(path) == "d3rlpy"


def read(origin: str, options: ReadOptions = PLAIN) -> Iterator[Recording]:
    """The rows of file `origin`, in pieces.

    Raises:
        WarmloopError: the file is damaged, holds something other than whole episodes or discrete actions, or an episode lacks a key.
    """
    with opened(origin) as file:
        count = read_arrays(origin, "", file, ["num_episodes"], ["num_episodes"])["num_episodes"]
        if count.ndim or count.dtype.kind not in "iu":
            raise WarmloopError(f"{origin}: `num_episodes` is {count.dtype} {count.shape}; one whole number is needed.")
        present = set(names(file))
        beyond = next((key for key in present if key.rpartition("_")[0] in REQUIRED and key.rpartition("_")[2] == str(int(count))), None)
        if beyond is not None and count > 0:
            raise WarmloopError(f"{origin}: `num_episodes` is {int(count)}, and the file also holds `{beyond}`; dump the buffer again.")
        attempts = (
            (f"episode {index}", functools.partial(_part, origin, file, present, index))
            for index in range(min(int(count), len(present) + 1))
        )
        yield from join(origin, attempts, options)


def _part(origin: str, file: h5py.File, present: set[str], index: int) -> Part:
    name = f"episode {index}"
    observations = [f"observations_{index}"]
    if observations[0] not in present:
        parts = (f"observations_{index}_{part}" for part in itertools.count())
        observations = list(itertools.takewhile(lambda part: part in present, parts))
    scalars = {f"{kind}_{index}": kind for kind in REQUIRED[1:]}
    missing = [key for key in scalars if key not in present] + ([] if observations else [f"observations_{index}"])
    if missing:
        raise WarmloopError(f"{origin}, {name}: there is no `{missing[0]}`, and `num_episodes` counts it; dump the buffer again.")
    wanted = [*observations, *scalars]
    arrays = read_arrays(origin, name, file, wanted, wanted)
    columns: Columns = {kind: arrays[key] for key, kind in scalars.items()}
    terminated = columns.pop("terminated")
    if terminated.size != 1:
        raise WarmloopError(f"{origin}, {name}: `terminated_{index}` has shape {terminated.shape}; one flag is needed.")
    if columns["actions"].dtype.kind != "f":
        raise WarmloopError(
            f"{origin}, {name}: `actions_{index}` are {columns['actions'].dtype}: discrete actions, which no agent here takes."
        )
    for part, key in enumerate(observations):
        column = f"observations/{part}" if len(observations) > 1 or key != f"observations_{index}" else "observations"
        columns[column] = channels_last(arrays[key])
    rows = len(np.atleast_1d(columns["actions"]))
    columns["terminals"] = (np.arange(rows) == rows - 1) & single_flag(f"{origin}, {name}", f"terminated_{index}", terminated)
    return Part(name, index, columns)
