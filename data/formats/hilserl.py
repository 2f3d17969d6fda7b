"""HIL-SERL's `.pkl` demonstrations: a list of transitions, each a dict.

Keys: `observations`, `actions`, `next_observations`, `rewards`, `masks`, `dones`, and often `infos`. Either of `masks` and `dones` may
be absent. `grasp_penalty`, one number per transition, is kept beside the steps (`Episode.extras`). Other keys are ignored. A leaf of a
dict in a dict of observations is named `robot.joints`.

- Episodes end at `dones`, at a mask of 0, and where the next observation is not the following row's observation (the recording was
  cut there). A row is terminated where its mask is 0; every other end is a truncation and keeps the bootstrap.
- HIL-SERL stacks one frame of history: a state `[1, D]` is read as `[D]`, an image `[1, H, W, C]` as `[H, W, C]`.
- Success: `infos` flag `succeed`, `success` or `is_success`, for the episodes that have one at any step. A file without any such
  flag whose rewards are all 0 or 1 says it by its reward: success where a terminated step has reward 1. Otherwise there is no
  success signal.
- Interventions: the `infos` flag `is_intervention`; without it, rows with an `intervene_action` (the recorded action already is
  the human's). HIL-SERL's own `record_demos` marks a human's every move so, and sends zeros in between: a file in which nobody but
  the human ever moves the robot is a demonstration, and no row of it counts as an intervention.

Written: the same list, with float32 arrays, `succeed` where success is known, `is_intervention`, and no history axis; and in
`infos["warmloop"]` what has no key there: `quality`, `source`, `mc_return`, `policy_version`, `step`, `truncated`, the episode's `number`,
`kind` and `task`, and other `extras`. Where every transition has that, `dones` alone says where episodes end, flags alone say success, no
axis is taken for a history, and every field is read as it was.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..episode import Episode
from ..errors import WarmloopError
from ..transition import Source
from .files import replacing
from .pickled import ENDINGS, layout
from .recording import RECORDED_FIELDS, Columns, Recording, breaks, named, require_keys, starts_after, tidy
from .safe_pickle import holds_objects, load

SUCCESS_FLAGS = ("succeed", "success", "is_success")
EXTRAS = ("grasp_penalty",)  # numbers that a transition may have beside the others
OWN = "warmloop"
OWN_FIELDS = tuple(name for name in RECORDED_FIELDS if name != "intervened")


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
    rows: list[dict] = load(Path(origin), inert={})
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise WarmloopError(f"{origin} holds a {type(rows).__name__}, and not HIL-SERL's list of transitions (dicts).")
    if not rows:
        raise WarmloopError(f"{origin} holds no transitions.")
    ending = [name for name in ("masks", "dones") if name in rows[0]]
    require_keys(origin, "a transition", list(rows[0]), ["observations", "actions", "next_observations", "rewards"])
    if not ending:
        raise WarmloopError(f"{origin}: a transition has neither `masks` nor `dones`, so nothing says where episodes end.")
    infos = [info if isinstance(info := row.get("infos"), dict) else {} for row in rows]
    own = [info[OWN] for info in infos if isinstance(info.get(OWN), dict)] if all(OWN in info for info in infos) else []
    extras = [name for name in EXTRAS if any(name in row for row in rows)]
    raw = _columns(origin, rows, ["observations", "actions", "next_observations", "rewards", *ending, *extras])
    raw = {f"extras/{name}" if name in EXTRAS else name: column for name, column in raw.items()}
    if len(own) == len(rows):
        yield _ours(origin, raw, infos, own)
        return
    columns = tidy(origin, {name: _without_history(name, column) for name, column in raw.items()})
    dones = _with_terminals(columns)
    ends = columns["terminals"] if dones is None else columns["terminals"] | dones
    starts = starts_after(ends | breaks(columns))
    success, known = _success(infos, columns, starts)
    columns |= {"intervened": _intervened(infos, columns["actions"])} | ({} if success is None else {"success": success})
    yield Recording(origin, columns, starts, known)


def write(origin: str, episodes: list[Episode], metadata: dict[str, Any]) -> None:
    """Writes `episodes` to file `origin`, whole or not at all; the format has no place for `metadata`."""
    rows = [row for episode in episodes for row in _rows(episode)]
    with replacing(Path(origin)) as file:
        pickle.dump(rows, file, protocol=4)


def _ours(origin: str, raw: Columns, infos: list[dict], own: list[dict]) -> Recording:
    """The rows of a file that `write` wrote."""
    present = [name for name in (*OWN_FIELDS, "extras") if name in own[0]]
    columns = tidy(origin, raw | _columns(f"{origin}, infos/{OWN}", own, present))
    dones = _with_terminals(columns)
    starts = starts_after(columns["terminals"] if dones is None else dones)
    flagged = np.array(["succeed" in info for info in infos])
    columns |= {"intervened": np.array([_truth(info.get("is_intervention")) for info in infos])}
    if flagged.any():
        columns["success"] = np.array([_truth(info.get("succeed")) for info in infos])
    first = [own[start] for start in starts]
    try:
        numbers = np.array([int(episode["number"]) for episode in first])
        sources = np.array([Source(int(episode["kind"])) for episode in first])
        tasks = np.array([str(episode["task"]) for episode in first])
    except (KeyError, TypeError, ValueError) as error:
        raise WarmloopError(f'{origin}: what `infos["{OWN}"]` says of an episode is damaged ({error}); write it again.') from None
    return Recording(origin, columns, starts, np.logical_or.reduceat(flagged, starts), numbers, sources, tasks)


def _with_terminals(columns: Columns) -> np.ndarray | None:
    """Puts `terminals` in the place of `masks` and `dones`, and returns the latter."""
    masks, dones = columns.pop("masks", None), columns.pop("dones", None)
    columns["terminals"] = dones if masks is None else masks == 0  # pyright: ignore[reportArgumentType]
    return dones


def _columns(origin: str, rows: list[dict], names: list[str]) -> Columns:
    columns: Columns = {}
    for name in names:
        for key, path in _paths(name, rows[0].get(name)):
            parts = []
            for number, row in enumerate(rows):
                try:
                    value = row[name]
                    for part in path:
                        value = value[part]
                except (KeyError, TypeError, IndexError):
                    raise WarmloopError(
                        f"{origin}: `{key}` of transition {number} is absent; every transition needs the same keys."
                    ) from None
                if holds_objects(value):
                    raise WarmloopError(
                        f"{origin}: `{key}` of transition {number} is an array of Python objects; save it as an array of numbers."
                    )
                parts.append(value)
            try:
                columns[key] = np.array(parts)
            except ValueError:
                raise WarmloopError(f"{origin}: `{key}` changes its shape from transition to transition.") from None
    return columns


def _paths(name: str, value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """The column of each array in `value`, and the keys that lead to it."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _paths(name, part, (*path, key))
    else:
        yield "/".join([name, ".".join(map(str, path))]) if path else name, path


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
    whole = {"number": episode.number, "kind": int(episode.source), "task": episode.task}
    rows = []
    for t in range(len(episode)):
        own = {name: getattr(steps, name)[t].item() for name in OWN_FIELDS} | whole
        infos: dict[str, Any] = {"is_intervention": bool(steps.intervened[t])}
        if episode.success is not None:
            infos["succeed"] = bool(episode.success[t])
        others = {name: values[t] for name, values in episode.extras.items() if name not in EXTRAS}
        rows.append(
            {
                "observations": _row(observation, t),
                "actions": steps.action[t],
                "next_observations": _row(following, t),
                "rewards": float(steps.reward[t]),
                "masks": float(steps.mask[t]),
                "dones": t == len(episode) - 1,
                "infos": infos | {OWN: own | ({"extras": others} if others else {})},
                **{name: episode.extras[name][t] for name in EXTRAS if name in episode.extras},
            }
        )
    return rows


def _row(columns: Columns, t: int) -> Any:
    """Row `t` of the observation whose columns are `/NAME`, or "" for a bare array."""
    return columns[""][t] if "" in columns else {name[1:]: column[t] for name, column in columns.items()}
