"""The formats that there are, and which of them a path is of."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..episode import Episode
from ..errors import WarmloopError
from ..files.whole_files import require_file
from . import collected, lerobot, minari, npz, own_format, rlds
from .hdf5 import aloha, d3rlpy_dump, d4rl, isaac, robomimic
from .hilserl import hilserl
from .locations import origin_of
from .pickles import array_dict, dapg, sb3
from .recordings.options import ReadOptions
from .recordings.recording import Recording

LIMITS = "action_limits"  # in metadata: what -1 and 1 of the actions are, where not the environment's own limits


@dataclasses.dataclass(frozen=True)
class Format:
    """One way of storing episodes.

    Attributes:
        described: how it is named to a person.
        matches: whether what is at a path (as text) is of this format; no two formats claim the same, but for a user's own, which is
            the first of them.
        read: the rows at a path, in pieces of whole episodes.
        write: stores episodes at a path, with JSON-able metadata, whole or not at all; None where the format is only read.
        names: whether a path to write to names this format.
        environment: the environment that a file says it was recorded in; None where it says nothing.
    """

    described: str
    matches: Callable[[str], bool]
    read: Callable[[str, ReadOptions], Iterator[Recording]]
    write: Callable[[str, list[Episode], dict[str, Any]], None] | None = None
    names: Callable[[str], bool] = lambda path: False
    environment: Callable[[str], str | None] = lambda path: None


FORMATS = {
    "own": Format("a format of your own (MODULE:NAME:PATH)", own_format.matches, own_format.read),
    "set": Format("a set that merge_data keeps (its folder)", collected.matches, collected.read, environment=collected.environment),
    "npz": Format(".npz arrays", npz.matches, npz.read, npz.write, npz.names_one, npz.environment),
    "hilserl": Format(".pkl as HIL-SERL records it", hilserl.matches, hilserl.read, hilserl.write, hilserl.names),
    "minari": Format("a Minari dataset (minari:ID or its directory)", minari.matches, minari.read, minari.write, minari.names),
    "lerobot": Format("a LeRobot directory (written: NAME.lerobot)", lerobot.matches, lerobot.read, lerobot.write, lerobot.names),
    "rlds": Format("an RLDS data set of TFDS (DIRECTORY or DIRECTORY::SPLIT)", rlds.matches, rlds.read),
    "d4rl": Format("D4RL's HDF5", d4rl.matches, d4rl.read),
    "robomimic": Format("robomimic's HDF5 (PATH or PATH::FILTER_KEY)", robomimic.matches, robomimic.read),
    "isaac": Format("Isaac Lab's HDF5 (PATH or PATH::FILTER_KEY)", isaac.matches, isaac.read, environment=isaac.environment),
    "aloha": Format("ALOHA's HDF5 (an episode, or a folder of them)", aloha.matches, aloha.read),
    "d3rlpy": Format("d3rlpy's HDF5 dump", d3rlpy_dump.matches, d3rlpy_dump.read),
    "dapg": Format("DAPG's pickled paths", dapg.matches, dapg.read),
    "dict": Format("a pickled dict of arrays", array_dict.matches, array_dict.read),
    "sb3": Format("a Stable-Baselines3 replay buffer", sb3.matches, sb3.read),
}


def format_of(path: str | Path) -> Format:
    """The format of what is at `path`. Raises WarmloopError where there is nothing, or nothing that any format claims."""
    origin = origin_of(path)
    for candidate in FORMATS.values():
        if candidate.matches(origin):
            return candidate
    if Path(origin).is_dir():
        raise WarmloopError(
            f"{origin} is a directory without a data set: no Minari's data/metadata.json, no LeRobot's meta/info.json, "
            "no RLDS's features.json, no HIL-SERL's transitions_*.pkl and no ALOHA's episode_*.hdf5."
        )
    require_file(Path(origin))
    raise WarmloopError(f"{origin} is in no supported format; supported are {_described()}.")


def written_format(path: str | Path, metadata: dict[str, Any] | None = None) -> Format:
    """The format in which episodes would be written to `path`. Raises WarmloopError where it names none, or would lose LIMITS."""
    origin = origin_of(path)
    found = next((candidate for candidate in FORMATS.values() if candidate.write and candidate.names(origin)), None)
    if found is None:
        raise WarmloopError(f"{origin} names no format that is written; written are {_described(writing=True)}.")
    if metadata and LIMITS in metadata and found is not FORMATS["npz"]:
        raise WarmloopError(f"{origin}: -1 and 1 of its actions are {metadata[LIMITS]}, which only .npz keeps; write that.")
    return found


def own_metadata(path: str | Path) -> dict[str, Any]:
    """What this project wrote about the data at `path` beside them; {} for other files."""
    origin = origin_of(path)
    return collected.own_metadata(origin) if collected.matches(origin) else npz.own_metadata(origin)


def recorded_environment(path: str | Path) -> str | None:
    """The environment that the data at `path` say they were recorded in; None where they say nothing, or cannot be read."""
    origin = origin_of(path)
    found = next((candidate for candidate in FORMATS.values() if candidate.matches(origin)), None)
    with contextlib.suppress(WarmloopError):
        return None if found is None else found.environment(origin)


def _described(writing: bool = False) -> str:
    return ", ".join(candidate.described for candidate in FORMATS.values() if candidate.write or not writing)
