"""Episodes in plain `.npz` files: arrays only, never a pickle.

Read: the flat arrays of our own and of others, under the names that `marks.py` lists, by the rules of `flat_arrays.py`. A dict
observation is one array per leaf, `observations/NAME`. `timestamps` are kept as an extra. Names of arrays that are not read are told.

Written (`metadata` says `"format": "warmloop-episodes-1"`): all of the above, and per row `intervened`, `source`, `quality`,
`mc_return`, `policy_version`, `step`, `extras/NAME`, per episode `episode_numbers`, `episode_sources`, `episode_tasks`,
`success_known`, and of pieces of episodes what they were cut out of (`wholes.py`). Reading that back gives every field bit for bit.
Uncompressed: floats hardly deflate, and it is some twenty times faster.

A file of our own is sealed (`data/files/sealed.py`), but for those of earlier versions, and read as it was written or not at all. It holds
nothing but the arrays above.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..episode import Episode
from ..errors import WarmloopError
from ..files import sealed
from ..files.whole_files import kind, replacing, require_file
from ..transition import Source
from .npy import ArchivedArray, names, opened
from .recordings import wholes
from .recordings.flat import pieces
from .recordings.flat_arrays import first_rows, read_arrays
from .recordings.options import PLAIN, ReadOptions
from .recordings.recording import RECORDED_FIELDS, Recording, Stored, check, named, require_keys

FORMAT = "warmloop-episodes-1"
OPTIONAL = ("terminals", "timeouts", "success", "intervened")
PER_EPISODE = {"episode_numbers": "numbers", "episode_sources": "sources", "episode_tasks": "tasks", "success_known": "success_known"}
DATA = ("observations", "next_observations", "actions", "rewards", *OPTIONAL)
OURS = (*(name for name in RECORDED_FIELDS if name not in ("truncated", "intervened")), "extras")
MEMBERS = {*DATA, *OURS, *PER_EPISODE, *wholes.ARRAYS, "episode_ids", "episode_starts", "metadata"}
FOLDERS = ("observations/", "next_observations/", "extras/")
ENVIRONMENTS = ("env_id", "environment")


def matches(path: str) -> bool:
    """Whether `path` is an archive of arrays, or is named as one and begins as no other format does."""
    found = kind(path)
    return found == "npz" or (found is None and names_one(path))


def names_one(path: str) -> bool:
    """Whether a file to write is named as an archive of arrays."""
    return path.endswith(".npz")


def read(origin: str, options: ReadOptions = PLAIN) -> Iterator[Recording]:
    """The rows of file `origin`, in pieces.

    Raises:
        WarmloopError: the file is missing, empty, damaged, holds object arrays, or lacks or contradicts itself in a key.
    """
    require_file(Path(origin))
    with opened(origin) as archive:
        present = names(archive)

        def array(name: str) -> ArchivedArray:
            return ArchivedArray(origin, archive, name)

        if _is_ours(origin, present, array):
            yield from _read_ours(origin, present, array)
        else:
            yield from read_arrays(origin, present, array, options, ignored=["metadata"])


def _read_ours(origin: str, present: list[str], array: Callable[[str], ArchivedArray]) -> Iterator[Recording]:
    """The rows of a file that `write` wrote."""
    require_keys(origin, "the file", present, ["observations", "actions", "rewards", "episode_starts"])
    table: dict[str, Stored] = {name: array(name) for name in present if name.split("/")[0] in DATA + OURS}
    if "timeouts" in present:
        table["truncated"] = array("timeouts")
    check(origin, table)
    rows = table["actions"].shape[0]
    starts = first_rows(origin, {name: array(name) for name in ("episode_ids", "episode_starts") if name in present}, rows)
    assert starts is not None
    own: dict[str, Any] = {field: array(name).whole() for name, field in PER_EPISODE.items() if name in present}
    kinds = [values for values in (own.get("sources"), table["source"][:] if "source" in table else None) if values is not None]
    if any(values.shape != starts.shape for values in own.values()) or not all(np.isin(values, list(Source)).all() for values in kinds):
        raise WarmloopError(f"{origin}: its {len(starts)} episodes and what it records of each do not match; write it again.")
    if wholes.ARRAYS[0] in present:
        lengths = np.diff(starts, append=rows)
        own["wholes"] = wholes.from_arrays({name: array(name).whole() for name in wholes.ARRAYS}, lengths)
    yield from pieces(origin, table, starts, **own)


def own_metadata(path: str | Path) -> dict[str, Any]:
    """The metadata of a file in this project's own layout; {} for anything else."""
    file = str(Path(path).expanduser())
    with contextlib.suppress(WarmloopError, OSError), opened(file) as archive:
        said = _metadata(ArchivedArray(file, archive, "metadata").whole()) if "metadata" in names(archive) else {}
        return said if said.get("format") == FORMAT else {}
    return {}


def write(origin: str, episodes: list[Episode], metadata: dict[str, Any]) -> None:
    """Writes `episodes` to file `origin`, whole or not at all; one column at a time is joined in memory."""
    with replacing(Path(origin)) as file:
        sealed.write(file, _columns(episodes, metadata))


def _columns(episodes: list[Episode], metadata: dict[str, Any]) -> Iterator[tuple[str, np.ndarray]]:
    """What is written, by name."""

    def joined(of: Callable[[Episode], np.ndarray]) -> np.ndarray:
        return np.concatenate([of(episode) for episode in episodes])

    first, lengths = episodes[0], np.array([len(episode) for episode in episodes])
    for tree in ("observation", "next_observation"):
        for name in named(f"{tree}s", getattr(first.steps, tree)):
            yield name, joined(lambda e, tree=tree, name=name: named(f"{tree}s", getattr(e.steps, tree))[name])
    yield "actions", joined(lambda e: e.steps.action)
    yield "rewards", joined(lambda e: e.steps.reward)
    yield "terminals", joined(lambda e: e.steps.mask == 0)
    yield "timeouts", joined(lambda e: e.steps.truncated)
    for name in [name for name in RECORDED_FIELDS if name != "truncated"]:
        yield name, joined(lambda e, name=name: getattr(e.steps, name))
    for name in first.extras:
        yield f"extras/{name}", joined(lambda e, name=name: e.extras[name])
    yield "episode_ids", np.repeat(np.arange(len(episodes), dtype=np.int32), lengths)
    yield "episode_starts", np.cumsum(lengths) - lengths
    yield "episode_numbers", np.array([episode.number for episode in episodes], np.int64)
    yield "episode_sources", np.array([episode.source for episode in episodes], np.int32)
    yield "episode_tasks", np.array([episode.task for episode in episodes])
    yield from wholes.as_arrays(episodes)
    yield "metadata", np.array(json.dumps(metadata | {"format": FORMAT}))
    known = np.array([episode.success is not None for episode in episodes])
    if known.any():
        yield "success", joined(lambda e: np.zeros(len(e), bool) if e.success is None else e.success)
        yield "success_known", known


def environment(origin: str) -> str | None:
    """The environment that the file says it was recorded in."""
    with opened(origin) as archive:
        said = _metadata(ArchivedArray(origin, archive, "metadata").whole()) if "metadata" in names(archive) else {}
    return next((said[key] for key in ENVIRONMENTS if isinstance(said.get(key), str)), None)


def _is_ours(origin: str, present: list[str], array: Callable[[str], ArchivedArray]) -> bool:
    """Whether this project wrote the file. Raises WarmloopError where it did, and the file is no longer what was written."""
    sealed.verify(origin)
    if "metadata" not in present or _metadata(array("metadata").whole()).get("format") != FORMAT:
        return False
    unknown = [name for name in present if name not in MEMBERS and not name.startswith(FOLDERS)]
    if unknown:
        raise WarmloopError(
            f"{origin} is a file of warmloop's own with `{unknown[0]}`, which it does not write: it was changed or damaged since; restore "
            "it from a copy, or take `metadata` out of it to have it read as anybody's arrays."
        )
    return True


def _metadata(array: np.ndarray) -> dict[str, Any]:
    """The file's JSON metadata; other files may say anything there, so what is no JSON object counts as none."""
    try:
        metadata = json.loads(str(array))
    except ValueError:
        return {}
    return metadata if isinstance(metadata, dict) else {}
