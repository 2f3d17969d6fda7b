"""Episodes in plain `.npz` files: arrays only, never a pickle.

Read: `observations`, `actions`, `rewards` `[N, ...]`, and where present `next_observations`, `terminals`, `timeouts`, `success`,
`intervened`, `episode_starts` `[E]` or `episode_ids` `[N]`. A dict observation is one array per leaf, `observations/NAME`.
`timestamps` are kept as an extra. Other arrays are ignored, so D4RL's layout reads as it is.

- Boundaries: `episode_starts`, else where `episode_ids` changes, else after `terminals | timeouts`; a file with no `timeouts`
  that does record `next_observations` is also cut where these do not lead to the following row.
- Without `next_observations` they are the following row's observations. An episode's last row has none: it is dropped, unless it is
  terminal, where the target does not use it and the observation itself stands in.

Written (`metadata` says `"format": "warmloop-episodes-1"`): all of the above, and per row `intervened`, `source`, `quality`,
`mc_return`, `policy_version`, `step`, `extras/NAME`, per episode `episode_numbers`, `episode_sources`, `episode_tasks`,
`success_known`. Reading that back gives every field bit for bit. Uncompressed: floats hardly deflate, and it is some twenty times faster.
"""

from __future__ import annotations

import contextlib
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy_format

from ..episode import Episode
from ..errors import WarmloopError
from ..transition import Source
from .files import kind, replacing, require_file
from .flat import pieces, starts_by_flags
from .npy import ArchivedArray, names, opened
from .recording import RECORDED_FIELDS, Columns, Recording, Table, check, named, require_keys, starts_after

FORMAT = "warmloop-episodes-1"
OPTIONAL = ("terminals", "timeouts", "success", "intervened")
PER_EPISODE = {"episode_numbers": "numbers", "episode_sources": "sources", "episode_tasks": "tasks", "success_known": "success_known"}
DATA = ("observations", "next_observations", "actions", "rewards", *OPTIONAL)
OURS = (*(name for name in RECORDED_FIELDS if name not in ("truncated", "intervened")), "extras")
ENVIRONMENTS = ("env_id", "environment")
TIMES = ("timestamps", "timestamp", "time")


def matches(path: str) -> bool:
    """Whether `path` is an archive of arrays, or is named as one and begins as no other format does."""
    found = kind(path)
    return found == "npz" or (found is None and names_one(path))


def names_one(path: str) -> bool:
    """Whether a file to write is named as an archive of arrays."""
    return path.endswith(".npz")


def read(origin: str) -> Iterator[Recording]:
    """The rows of file `origin`, in pieces.

    Raises:
        WarmloopError: the file is missing, empty, damaged, holds object arrays, or lacks or contradicts itself in a key.
    """
    require_file(Path(origin))
    with opened(origin) as archive:
        present = names(archive)
        require_keys(origin, "the file", present, ["observations", "actions", "rewards"])

        def array(name: str) -> ArchivedArray:
            return ArchivedArray(origin, archive, name)

        ours = "metadata" in present and _metadata(array("metadata").whole()).get("format") == FORMAT
        table = {name: array(name) for name in present if name.split("/")[0] in (DATA + OURS if ours else DATA)}
        if ours and "timeouts" in present:
            table["truncated"] = array("timeouts")
        check(origin, table)
        table |= _times(present, array, table["actions"].shape[0])
        starts = _starts(origin, {name: array(name).whole() for name in ("episode_ids", "episode_starts") if name in present}, table)
        own = {field: array(name).whole() for name, field in PER_EPISODE.items() if ours and name in present}
        kinds = [values for values in (own.get("sources"), table["source"][:] if "source" in table else None) if values is not None]
        if any(values.shape != starts.shape for values in own.values()) or not all(np.isin(values, list(Source)).all() for values in kinds):
            raise WarmloopError(f"{origin}: its {len(starts)} episodes and what it records of each do not match; write it again.")
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
    with replacing(Path(origin)) as file, zipfile.ZipFile(file, "w") as archive:
        for name, column in _columns(episodes, metadata):
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                npy_format.write_array(member, column, allow_pickle=False)


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


def _metadata(array: np.ndarray) -> dict[str, Any]:
    """The file's JSON metadata; other files may say anything there, so what is no JSON object counts as none."""
    try:
        metadata = json.loads(str(array))
    except ValueError:
        return {}
    return metadata if isinstance(metadata, dict) else {}


def _times(present: list[str], array: Callable[[str], ArchivedArray], rows: int) -> dict[str, ArchivedArray]:
    """The column of timestamps, where the file has one number for each row."""
    found = next((times for times in (array(name) for name in TIMES if name in present) if times.shape in ((rows,), (rows, 1))), None)
    return {} if found is None or found.dtype.kind not in "iuf" else {"extras/timestamps": found}


def _starts(origin: str, arrays: Columns, table: Table) -> np.ndarray:
    rows = table["actions"].shape[0]
    by_id = None
    if "episode_ids" in arrays:
        ids = np.ravel(arrays["episode_ids"])
        if len(ids) != rows:
            raise WarmloopError(f"{origin}: `episode_ids` has {len(ids)} rows and `actions` has {rows}.")
        by_id = starts_after(np.append(ids[1:] != ids[:-1], True))
    if "episode_starts" in arrays:
        starts = np.ravel(arrays["episode_starts"])
        whole = starts.dtype.kind in "iu" and len(starts) > 0
        if not whole or starts[0] != 0 or starts[-1] >= rows or np.any(np.diff(starts.astype(np.int64)) <= 0):
            raise WarmloopError(f"{origin}: `episode_starts` must rise from 0 and stay below the {rows} rows.")
        if by_id is not None and not np.array_equal(by_id, starts):
            raise WarmloopError(f"{origin}: `episode_starts` and `episode_ids` disagree on where episodes begin; remove one.")
        return starts.astype(np.int64)
    if by_id is not None:
        return by_id
    return starts_by_flags(table)
