"""Stable-Baselines3 replay buffers, as `model.save_replay_buffer` pickles them: plain, Dict, n-step and HER buffers.

The classes that the pickle names (the buffer's, Gymnasium's spaces, `torch.device`, NumPy's generators) are not imported: each
becomes an inert record, and the arrays are taken out of the buffer's. Any other class is refused by name.

- Rows are put in the order of time: from the oldest where the ring is full, one environment after the other.
- A row is terminated where `dones` is 1 and `timeouts` 0. A buffer made with `handle_timeout_termination=False` has no time limits: every
  done counts as a termination, as it does for Stable-Baselines3. Episodes end at `dones`, and where the next observation does not lead on.
- With `optimize_memory_usage` next observations are the following row's, and of a full ring the oldest row, whose observation was
  overwritten, is left out; so is the last row of an episode that is not done.
- Actions of continuous spaces are in [-1, 1], as the algorithms store them. Images are put channels last.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import WarmloopError
from ..recordings.boundaries import trajectory_ends
from ..recordings.flags import check_flags
from ..recordings.flat import channels_last, complete, has_next
from ..recordings.options import PLAIN, ReadOptions
from ..recordings.recording import Recording, breaks, require_keys, starts_after, tidy
from .pickled import layout, numbers
from .safe_pickle import Record, load

BUFFERS = ("ReplayBuffer", "DictReplayBuffer", "NStepReplayBuffer", "HerReplayBuffer")
SPACES = {"box": "Box", "dict": "Dict", "discrete": "Discrete", "multi_discrete": "MultiDiscrete", "multi_binary": "MultiBinary"}
REQUIRED = ("observations", "actions", "rewards", "dones", "timeouts")
INERT = {
    *(("stable_baselines3.common.buffers", name) for name in BUFFERS[:3]),
    ("stable_baselines3.her.her_replay_buffer", "HerReplayBuffer"),
    ("stable_baselines3.her.goal_selection_strategy", "GoalSelectionStrategy"),
    *((f"{package}.spaces.{module}", name) for package in ("gymnasium", "gym") for module, name in SPACES.items()),
    ("torch", "device"),
    *(("numpy.random._pickle", f"__{kind}_ctor") for kind in ("generator", "bit_generator", "randomstate")),
    ("numpy.random._pcg64", "PCG64"),
    ("numpy.random._mt19937", "MT19937"),
    *(("numpy.random.bit_generator", name) for name in ("SeedSequence", "__pyx_unpickle_SeedSequence")),
}


def matches(path: str) -> bool:
    """Whether `path` is a pickle that begins with a class of Stable-Baselines3."""
    return layout(path) == "sb3"


def read(origin: str, options: ReadOptions = PLAIN) -> Iterator[Recording]:
    """The rows of file `origin`; nothing in it is run.

    Raises:
        WarmloopError: the file is refused by `safe_pickle`, is no replay buffer, has discrete actions, or contradicts itself in a key.
    """
    buffer = load(Path(origin), inert=INERT)
    state = buffer.state if isinstance(buffer, Record) and buffer.named.rpartition(".")[2] in BUFFERS else None
    if not isinstance(state, dict):
        raise WarmloopError(f"{origin} holds no replay buffer of Stable-Baselines3; save it with `model.save_replay_buffer`.")
    require_keys(origin, "the buffer", [str(key) for key in state], [*REQUIRED, "action_space", "pos", "full"])
    space = getattr(state["action_space"], "named", "").rpartition(".")[2]
    if space != "Box":
        raise WarmloopError(
            f"{origin}: its actions are of a {space or 'space of an unknown kind'}; only continuous ones (Box) are learnt from."
        )
    arrays = dict(_arrays(origin, state))
    order = _order(origin, state, len(arrays["actions"]))
    columns = {name: channels_last(_unrolled(array, order)) for name, array in arrays.items()}
    for name in ("dones", "timeouts"):
        check_flags(origin, name, columns[name])
    dones, timeouts = columns.pop("dones") != 0, columns.pop("timeouts") != 0
    columns = tidy(origin, columns | {"terminals": dones & ~timeouts})
    cut = (dones & timeouts) | (np.arange(len(dones)) % len(order) == len(order) - 1)
    cut = cut | breaks(columns) if has_next(columns) else cut
    yield complete(Recording(origin, columns, starts_after(trajectory_ends(origin, columns, columns["terminals"], cut))))


def _arrays(origin: str, state: dict[str, Any]) -> Iterator[tuple[str, np.ndarray]]:
    """The buffer's arrays by column name, each `[size, environments, ...]`."""
    shape = numbers(origin, "actions", state["actions"]).shape[:2]
    follows = "next_observations" in state and not state.get("optimize_memory_usage")
    for name in (*REQUIRED, *(["next_observations"] if follows else [])):
        value: Any = state[name]
        for key, array in {f"{name}/{leaf}": part for leaf, part in value.items()}.items() if isinstance(value, dict) else [(name, value)]:
            if numbers(origin, key, array).ndim < 2 or array.shape[:2] != shape:
                raise WarmloopError(
                    f"{origin}: `{key}` has shape {array.shape}; [buffer size, environments, ...] as `actions`, {shape}, is needed."
                )
            yield key, array


def _order(origin: str, state: dict[str, Any], size: int) -> np.ndarray:
    """The ring's slots that hold rows, oldest first."""
    position, full = state["pos"], state["full"]
    if type(position) is not int or type(full) is not bool or not 0 <= position < size + (not full):
        raise WarmloopError(f"{origin}: `pos` is {position!r:.40} and `full` {full!r:.40}, which no buffer of {size} rows can be.")
    order = (position + np.arange(size)) % size if full else np.arange(position)
    if full and state.get("optimize_memory_usage"):
        order = order[1:]
    if not len(order):
        raise WarmloopError(f"{origin} holds no transitions.")
    return order


def _unrolled(array: np.ndarray, order: np.ndarray) -> np.ndarray:
    """`[size, environments, ...]` as `[environments · rows, ...]`."""
    rows = array[order].swapaxes(0, 1)
    return rows.reshape(-1, *array.shape[2:])
