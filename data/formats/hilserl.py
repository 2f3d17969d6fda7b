"""HIL-SERL's `.pkl` demonstrations: a list of transitions, each a dict.

Keys: `observations`, `actions`, `next_observations`, `rewards`, `masks`, `dones`, and often `infos`. Either of `masks` and `dones` may
be absent. Other keys (`grasp_penalty`) are ignored.

- Episodes end at `dones`, at a mask of 0, and where the next observation is not the following row's observation (the recording was
  cut there). A row is terminated where its mask is 0; every other end is a truncation and keeps the bootstrap.
- HIL-SERL stacks one frame of history: a state `[1, D]` is read as `[D]`, an image `[1, H, W, C]` as `[H, W, C]`.
- Success: `infos` flag `succeed`, `success` or `is_success`, for the episodes that have one at any step. A file without any such
  flag whose rewards are all 0 or 1 says it by its reward: success where a terminated step has reward 1. Otherwise there is no
  success signal.
- Interventions: the `infos` flag `is_intervention`; without it, rows with an `intervene_action` (the recorded action already is
  the human's). HIL-SERL's own `record_demos` marks a human's every move so, and sends zeros in between: a file in which nobody but
  the human ever moves the robot is a demonstration, and no row of it counts as an intervention.

Written: the same list, with float32 arrays, `succeed` where success is known, `is_intervention`, and no history axis. Quality, source,
numbers and returns have no key there and are not written.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..episode import Episode
from ..errors import WarmloopError
from .files import replacing
from .pickled import ENDINGS, layout
from .recording import Columns, Recording, breaks, named, require_keys, starts_after, tidy
from .safe_pickle import load

SUCCESS_FLAGS = ("succeed", "success", "is_success")


def matches(path: str) -> bool:
    """Whether `path` is a pickle, or named as one, and of no other layout."""
    return layout(path) == "hilserl"


def names(path: str) -> bool:
    """Whether a file to write is named as a pickle."""
    return path.endswith(ENDINGS)


def read(origin: str) -> Iterator[Recording]:
    """The rows of file `origin`; nothing in it is run.

    Raises:
        WarmloopError: the file is refused by `safe_pickle`, is no list of transitions, or lacks or mixes up a key.
    """
    rows: list[dict] = load(Path(origin))
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise WarmloopError(f"{origin} holds a {type(rows).__name__}, and not HIL-SERL's list of transitions (dicts).")
    if not rows:
        raise WarmloopError(f"{origin} holds no transitions.")
    ending = [name for name in ("masks", "dones") if name in rows[0]]
    require_keys(origin, "a transition", list(rows[0]), ["observations", "actions", "next_observations", "rewards"])
    if not ending:
        raise WarmloopError(f"{origin}: a transition has neither `masks` nor `dones`, so nothing says where episodes end.")
    raw = _columns(origin, rows, ["observations", "actions", "next_observations", "rewards", *ending])
    columns = tidy(origin, {name: _without_history(name, column) for name, column in raw.items()})
    masks, dones = columns.pop("masks", None), columns.pop("dones", None)
    columns["terminals"] = dones if masks is None else masks == 0  # pyright: ignore[reportArgumentType]
    ends = columns["terminals"] if dones is None else columns["terminals"] | dones
    starts = starts_after(ends | breaks(columns))
    infos = [info if isinstance(info := row.get("infos"), dict) else {} for row in rows]
    success, known = _success(infos, columns, starts)
    columns |= {"intervened": _intervened(infos, columns["actions"])} | ({} if success is None else {"success": success})
    yield Recording(origin, columns, starts, known)


def write(origin: str, episodes: list[Episode], metadata: dict[str, Any]) -> None:
    """Writes `episodes` to file `origin`, whole or not at all; the format has no place for `metadata`."""
    rows = [row for episode in episodes for row in _rows(episode)]
    with replacing(Path(origin)) as file:
        pickle.dump(rows, file, protocol=4)


def _columns(origin: str, rows: list[dict], names: list[str]) -> Columns:
    columns: Columns = {}
    for name in names:
        try:
            values = [row[name] for row in rows]
            if isinstance(values[0], dict):
                parts = {f"{name}/{leaf}": [value[leaf] for value in values] for leaf in values[0]}
            else:
                parts = {name: values}
        except (KeyError, TypeError, IndexError):
            row = next(i for i, row in enumerate(rows) if name not in row or not _alike(row[name], rows[0][name]))
            raise WarmloopError(f"{origin}: `{name}` of transition {row} is absent or lacks keys that the first transition has.") from None
        for key, part in parts.items():
            try:
                columns[key] = np.array(part)
            except ValueError:
                raise WarmloopError(f"{origin}: `{key}` changes its shape from transition to transition.") from None
    return columns


def _alike(value: Any, first: Any) -> bool:
    return not isinstance(first, dict) or (isinstance(value, dict) and set(first) <= set(value))


def _without_history(name: str, column: np.ndarray) -> np.ndarray:
    """An observation column without the history axis of one frame: states `[N, 1, D]`, images `[N, 1, H, W, C]`."""
    stacked = 5 if column.dtype == np.uint8 else 3
    if name.split("/")[0] in ("observations", "next_observations") and column.ndim == stacked and column.shape[1] == 1:
        return column[:, 0]
    return column


def _success(infos: list[dict], columns: Columns, starts: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None]:
    """`(success [N], known [E])`, by the module's rule; `(None, None)` where nothing says."""
    flags = [next((info[name] for name in SUCCESS_FLAGS if name in info), None) for info in infos]
    flagged = np.array([flag is not None for flag in flags])
    if flagged.any():
        return np.array([_truth(flag) for flag in flags]), np.logical_or.reduceat(flagged, starts)
    rewards = columns["rewards"]
    if np.all((rewards == 0) | (rewards == 1)):
        return (rewards > 0) & columns["terminals"], None
    return None, None


def _intervened(infos: list[dict], actions: np.ndarray) -> np.ndarray:
    if any("is_intervention" in info for info in infos):
        return np.array([_truth(info.get("is_intervention")) for info in infos])
    human = np.array(["intervene_action" in info for info in infos])
    robot_moved = np.any(actions[~human] != 0)
    return human if robot_moved else np.zeros(len(infos), bool)


def _truth(flag: Any) -> bool:
    return bool(flag.any()) if isinstance(flag, np.ndarray) else bool(flag)


def _rows(episode: Episode) -> list[dict[str, Any]]:
    steps = episode.steps
    observation, following = named("", steps.observation), named("", steps.next_observation)
    rows = []
    for t in range(len(episode)):
        infos: dict[str, Any] = {"is_intervention": bool(steps.intervened[t])}
        if episode.success is not None:
            infos["succeed"] = bool(episode.success[t])
        rows.append(
            {
                "observations": _row(observation, t),
                "actions": steps.action[t],
                "next_observations": _row(following, t),
                "rewards": float(steps.reward[t]),
                "masks": float(steps.mask[t]),
                "dones": t == len(episode) - 1,
                "infos": infos,
            }
        )
    return rows


def _row(columns: Columns, t: int) -> Any:
    """Row `t` of the observation whose columns are `/NAME`, or "" for a bare array."""
    return columns[""][t] if "" in columns else {name[1:]: column[t] for name, column in columns.items()}
