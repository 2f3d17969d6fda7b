"""HIL-SERL's `.pkl` demonstrations: a list of transitions, each a dict.

Keys: `observations`, `actions`, `next_observations`, `rewards`, `masks`, `dones`, and often `infos`. Either of `masks` and `dones` may be
absent. `grasp_penalty`, one number per transition, there or in `infos`, is kept beside the steps (`Episode.extras`). Other keys are told
as not read. A leaf of a dict in a dict of observations is named `robot.joints`. A folder of the `transitions_*.pkl` that a run writes is
one data set: its files in the order of their numbers, over whose edges episodes go on. A file may be packed by gzip. A list whose entries
are whole episodes is read as `dapg.py` says.

- Episodes end at `dones`, at a mask of 0, and where the next observation is not the following row's observation (the recording was
  cut there). A row is terminated where its mask is 0; every other end is a truncation and keeps the bootstrap.
- HIL-SERL stacks steps of history: `histories.py` says how they are read, and written again.
- Success: `infos` flag `succeed`, `success` or `is_success`, for the episodes that have one at any step; in a file without any such flag
  the rewards tell, by the rule of `data/outcome.py`.
- Interventions: the `infos` flag `is_intervention`; without it, rows with an `intervene_action` (the recorded action already is
  the human's). HIL-SERL's own `record_demos` marks a human's every move so, and sends zeros in between: a file in which nobody but
  the human ever moves the robot is a demonstration, and no row of it counts as an intervention.

What this project writes is in `hilserl_writer.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import WarmloopError
from ...transition import Source
from ..pickles.dapg import are_paths, read_paths
from ..pickles.pickled import ENDINGS, layout
from ..recordings import wholes
from ..recordings.boundaries import trajectory_ends
from ..recordings.flags import truth
from ..recordings.flat import objects, strangers
from ..recordings.options import PLAIN, ReadOptions
from ..recordings.recording import Columns, Recording, breaks, require_keys, starts_after, tidy
from .hilserl_rows import columns_of, files_of, load_rows, sound_rows
from .hilserl_writer import EXTRAS, OWN, OWN_FIELDS
from .hilserl_writer import write as write
from .histories import taken_off, without_written_axis

SUCCESS_FLAGS = ("succeed", "success", "is_success")


def matches(path: str) -> bool:
    """Whether `path` is a pickle, or named as one, and of no other layout; or a folder of a run's `transitions_*.pkl`."""
    return bool(files_of(path)) if Path(path).is_dir() else layout(path) == "hilserl"


def names(path: str) -> bool:
    """Whether a file to write is named as a pickle."""
    return path.endswith(ENDINGS)


def read(origin: str, options: ReadOptions = PLAIN) -> Iterator[Recording]:
    """The rows of the file, or folder of files, `origin`; nothing in them is run.

    Raises:
        WarmloopError: a file is refused by `safe_pickle`, is no list of transitions, or lacks or mixes up a key.
    """
    rows = load_rows(origin)
    if are_paths(rows):
        yield from read_paths(origin, rows, options)
        return
    require_keys(origin, "a transition", list(rows[0]), ["observations", "actions", "next_observations", "rewards"])
    ending = [name for name in ("masks", "dones") if name in rows[0]]
    if not ending:
        raise WarmloopError(f"{origin}: a transition has neither `masks` nor `dones`, so nothing says where episodes end.")
    read_keys = ["observations", "actions", "next_observations", "rewards", *ending]
    _check_endings(origin, rows, ending)
    rows, numbers = sound_rows(origin, rows, read_keys, options)
    infos = [info if isinstance(info := row.get("infos"), dict) else {} for row in rows]
    own = [info[OWN] for info in infos if isinstance(info.get(OWN), dict)] if all(OWN in info for info in infos) else []
    raw = columns_of(origin, rows, read_keys) | _extras(origin, rows, infos)
    if len(own) == len(rows):
        yield _ours(origin, raw, infos, own)
        return
    columns = tidy(origin, taken_off(raw))
    dones = _with_terminals(columns)
    cut = breaks(columns) if dones is None or "masks" not in raw else breaks(columns) | dones
    starts = starts_after(trajectory_ends(origin, columns, columns["terminals"], cut))
    success, known = _success(origin, infos, starts)
    columns |= {"intervened": _intervened(origin, infos, columns["actions"])} | ({} if success is None else {"success": success})
    keys = dict.fromkeys(str(key) for row in rows for key in row)
    unread = tuple(key for key in keys if key not in (*read_keys, *EXTRAS, "infos"))
    unread += strangers(origin, files_of(origin) if Path(origin).is_dir() else [])
    own_numbers = np.array(numbers) if len(numbers) == len(starts) else None
    yield Recording(origin, columns, starts, known, own_numbers, unread=unread)


def _check_endings(origin: str, rows: list[dict], ending: list[str]) -> None:
    """Raises WarmloopError where a later transition has `masks` or `dones`, and the first has not."""
    for number, row in enumerate(rows):
        if late := next((name for name in ("masks", "dones") if name in row and name not in ending), None):
            raise WarmloopError(
                f"{origin}: `{late}` of transition 0 is absent, and transition {number} has it; every one needs the same keys."
            )


def _extras(origin: str, rows: list[dict], infos: list[dict]) -> Columns:
    """What transitions, or their `infos`, have beside the others."""
    found: Columns = {}
    for name in EXTRAS:
        for where, held in (("", rows), ("infos", infos)):
            if f"extras/{name}" not in found and any(name in one for one in held):
                found[f"extras/{name}"] = columns_of(origin, held, [name], where)[name]
    return found


def _ours(origin: str, raw: Columns, infos: list[dict], own: list[dict]) -> Recording:
    """The rows of a file that `write` wrote."""
    present = [name for name in (*OWN_FIELDS, "extras") if name in own[0]]
    columns = tidy(origin, _without_history(origin, raw, own) | columns_of(origin, own, present, f"infos/{OWN}"))
    dones = _with_terminals(columns)
    starts = starts_after(columns["terminals"] if dones is None else dones)
    flagged = np.array(["succeed" in info for info in infos])
    columns |= {"intervened": _truths(origin, "is_intervention", [info.get("is_intervention") for info in infos])}
    if flagged.any():
        columns["success"] = _truths(origin, "succeed", [info.get("succeed") for info in infos])
    first = [own[start] for start in starts]
    try:
        numbers = np.array([int(episode["number"]) for episode in first])
        sources = np.array([Source(int(episode["kind"])) for episode in first])
        tasks = np.array([str(episode["task"]) for episode in first])
        lengths = np.diff(starts, append=len(own))
        cut = objects([wholes.from_text(str(episode.get("whole", "")), length) for episode, length in zip(first, lengths, strict=True)])
    except (KeyError, TypeError, ValueError) as error:
        raise WarmloopError(f'{origin}: what `infos["{OWN}"]` says of an episode is damaged ({error}); write it again.') from None
    return Recording(origin, columns, starts, np.logical_or.reduceat(flagged, starts), numbers, sources, tasks, cut)


def _without_history(origin: str, raw: Columns, own: list[dict]) -> Columns:
    """The columns of a file of ours without the axis that `put_back` gave them. Raises WarmloopError where rows differ in it."""
    history = own[0].get("history", {})
    leaves = {name.partition("/")[2] for name in raw if name.split("/")[0] == "observations"}
    if not isinstance(history, dict) or not history.keys() <= leaves or any(one.get("history", {}) != history for one in own):
        raise WarmloopError(f'{origin}: what `infos["{OWN}"]` says of the history of its observations is damaged; write it again.')
    return without_written_axis(raw, history)


def _with_terminals(columns: Columns) -> np.ndarray | None:
    """Puts `terminals` in the place of `masks` and `dones`, and returns the latter."""
    masks, dones = columns.pop("masks", None), columns.pop("dones", None)
    columns["terminals"] = dones if masks is None else masks == 0  # pyright: ignore[reportArgumentType]
    return dones


def _success(origin: str, infos: list[dict], starts: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None]:
    """`(success [N], known [E])` by the flags; `(None, None)` where there are none."""
    flags = [_agreed(origin, row, [(name, info[name]) for name in SUCCESS_FLAGS if name in info]) for row, info in enumerate(infos)]
    flagged = np.array([flag is not None for flag in flags])
    if not flagged.any():
        return None, None
    return _truths(origin, " or ".join(SUCCESS_FLAGS), flags), np.logical_or.reduceat(flagged, starts)


def _agreed(origin: str, row: int, flags: list[tuple[str, Any]]) -> Any:
    """The first of a row's success flags, None without any. Raises WarmloopError where another says otherwise."""
    for name, value in flags[1:]:
        if value is not None and flags[0][1] is not None and truth(value) != truth(flags[0][1]):
            raise WarmloopError(
                f"{origin}: the `infos` of row {row} hold both `{flags[0][0]}` and `{name}`, and they differ; take one of them out."
            )
    return next((value for _, value in flags if value is not None), None)


def _intervened(origin: str, infos: list[dict], actions: np.ndarray) -> np.ndarray:
    if any("is_intervention" in info for info in infos):
        return _truths(origin, "is_intervention", [info.get("is_intervention") for info in infos])
    human = np.array([info.get("intervene_action") is not None for info in infos])
    robot_moved = np.any(actions[~human] != 0)
    return human if robot_moved else np.zeros(len(infos), bool)


def _truths(origin: str, name: str, flags: list[Any]) -> np.ndarray:
    """`[N]` bool, what the flags of that name in the `infos` say; one that is absent is false, and of several any.

    Raises:
        WarmloopError: one is neither 0 nor 1, such as NaN or a word, which Python takes for true.
    """
    found = np.zeros(len(flags), bool)
    for row, flag in enumerate(flags):
        said = truth(False if flag is None else flag)
        if said is None:
            raise WarmloopError(
                f"{origin}: the `infos` of row {row} hold {flag!r:.40} as {name}, and a flag is 0 or 1; repair it, or take it out."
            )
        found[row] = said
    return found
