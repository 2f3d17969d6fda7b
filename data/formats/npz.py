"""Episodes in plain `.npz` files: arrays only, never a pickle.

Read: `observations`, `actions`, `rewards` `[N, ...]`, and where present `next_observations`, `terminals`, `timeouts`, `success`,
`intervened`, `episode_starts` `[E]` or `episode_ids` `[N]`. A dict observation is one array per leaf, `observations/NAME`.
Other arrays are ignored, so D4RL's layout reads as it is.

- Boundaries: `episode_starts`, else where `episode_ids` changes, else after `terminals | timeouts`; a file with no `timeouts`
  that does record `next_observations` is also cut where these do not lead to the following row.
- Without `next_observations` they are the following row's observations. An episode's last row has none: it is dropped, unless it is
  terminal, where the target does not use it and the observation itself stands in.

Written (`metadata` says `"format": "warmloop-episodes-1"`): all of the above, and per row `intervened`, `source`, `quality`,
`mc_return`, `policy_version`, `step`, per episode `episode_numbers`, `episode_sources`, `success_known`. Reading that back gives
every field bit for bit. Uncompressed: floats hardly deflate, and it is some twenty times faster.
"""

from __future__ import annotations

import contextlib
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from ..episode import Episode
from ..errors import WarmloopError
from ..transition import Source, concatenate
from .files import replacing, require_file
from .flat import complete, starts_by_flags
from .recording import RECORDED_FIELDS, Columns, Recording, named, require_keys, starts_after, tidy

FORMAT = "warmloop-episodes-1"
OPTIONAL = ("terminals", "timeouts", "success", "intervened")
PER_EPISODE = ("episode_numbers", "episode_sources", "success_known")
DATA = ("observations", "next_observations", "actions", "rewards", *OPTIONAL)
KNOWN = {*DATA, *PER_EPISODE, *RECORDED_FIELDS, "episode_starts", "episode_ids", "metadata"}


def matches(path: str) -> bool:
    """Whether `path` is named `.npz`."""
    return path.endswith(".npz")


def read(origin: str) -> Recording:
    """The rows of file `origin`.

    Raises:
        WarmloopError: the file is missing, empty, damaged, holds object arrays, or lacks or contradicts itself in a key.
    """
    path = Path(origin)
    require_file(path)
    try:
        arrays = _load(path)
    except WarmloopError:
        raise
    except Exception as error:  # NumPy and zipfile raise a dozen kinds for damaged bytes
        raise WarmloopError(f"{origin} is not a readable .npz file ({error}); record or copy it again.") from error
    ours = _metadata(arrays).get("format") == FORMAT
    names = [name for name in arrays if name.split("/")[0] in DATA]
    columns = tidy(origin, {name: arrays[name] for name in names} | _own(arrays, ours))
    starts = _starts(origin, arrays, columns)
    own = {name.removeprefix("episode_"): arrays[name] for name in PER_EPISODE if ours and name in arrays}
    kinds = [values for values in (own.get("sources"), columns.get("source")) if values is not None]
    if any(len(values) != len(starts) for values in own.values()) or not all(np.isin(values, list(Source)).all() for values in kinds):
        raise WarmloopError(f"{origin}: its {len(starts)} episodes and what it records of each do not match; write it again.")
    return complete(Recording(origin, columns, starts, own.get("success_known"), own.get("numbers"), own.get("sources")))


def own_metadata(path: str | Path) -> dict[str, Any]:
    """The metadata of a file in this project's own layout; {} for anything else."""
    file = Path(path).expanduser()
    if not (matches(str(path)) and zipfile.is_zipfile(file)):
        return {}
    with contextlib.suppress(OSError, ValueError, KeyError, zipfile.BadZipFile, EOFError), np.load(file, allow_pickle=False) as archive:
        metadata = _metadata({"metadata": archive["metadata"]})
        return metadata if metadata.get("format") == FORMAT else {}
    return {}


def write(origin: str, episodes: list[Episode], metadata: dict[str, Any]) -> None:
    """Writes `episodes` to file `origin`, whole or not at all."""
    steps = concatenate([episode.steps for episode in episodes])
    lengths = np.array([len(episode) for episode in episodes])
    known = np.array([episode.success is not None for episode in episodes])
    columns: Columns = {
        **named("observations", steps.observation),
        **named("next_observations", steps.next_observation),
        "actions": steps.action,
        "rewards": steps.reward,
        "terminals": steps.mask == 0,
        "timeouts": steps.truncated,
        **{name: getattr(steps, name) for name in RECORDED_FIELDS if name != "truncated"},
        "episode_ids": np.repeat(np.arange(len(episodes), dtype=np.int32), lengths),
        "episode_starts": np.cumsum(lengths) - lengths,
        "episode_numbers": np.array([episode.number for episode in episodes], np.int64),
        "episode_sources": np.array([episode.source for episode in episodes], np.int32),
        "metadata": np.array(json.dumps(metadata | {"format": FORMAT})),
    }
    if known.any():
        parts = [np.zeros(len(e), bool) if e.success is None else e.success for e in episodes]
        columns |= {"success": np.concatenate(parts), "success_known": known}
    with replacing(Path(origin)) as file:
        np.savez(file, **columns)  # pyright: ignore[reportArgumentType]


def _load(path: Path) -> Columns:
    if not zipfile.is_zipfile(path):
        raise WarmloopError(f"{path} is not an .npz archive, or was cut short; record or copy it again.")
    with np.load(path, allow_pickle=False) as archive:
        require_keys(str(path), "the file", archive.files, ["observations", "actions", "rewards"])
        arrays = {}
        for name in archive.files:
            if name.split("/")[0] not in KNOWN:
                continue
            try:
                arrays[name] = archive[name]
            except ValueError as error:
                if "allow_pickle" not in str(error):
                    raise
                raise WarmloopError(
                    f"{path}: `{name}` is an array of Python objects, which only unpickling could read, and that is never done; "
                    "save it as arrays of numbers."
                ) from None
        return arrays


def _metadata(arrays: Columns) -> dict[str, Any]:
    """The file's JSON metadata; other files may say anything there, so what is no JSON object counts as none."""
    try:
        metadata = json.loads(str(arrays["metadata"]))
    except (KeyError, ValueError):
        return {}
    return metadata if isinstance(metadata, dict) else {}


def _own(arrays: Columns, ours: bool) -> Columns:
    """Columns that only this project's own layout defines, under their Transition names."""
    if not ours:
        return {}
    require = {name: arrays[name] for name in RECORDED_FIELDS if name in arrays}
    return require | ({"truncated": arrays["timeouts"]} if "timeouts" in arrays else {})


def _starts(origin: str, arrays: Columns, columns: Columns) -> np.ndarray:
    rows = len(columns["actions"])
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
    return starts_by_flags(columns)
