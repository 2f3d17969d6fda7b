"""Flat arrays, all episodes end to end, as our peers name them: which array is which, where episodes end, and which ends are terminal.

| project | marks of ends |
|---|---|
| D4RL, d3rlpy | `terminals`, `timeouts` (d3rlpy 1: `episode_terminals`) |
| Gymnasium, RLlib | `terminations`, `truncations` (`terminateds`, `truncateds`) |
| RLPD, IQL, JAXRL | `masks`, 0 where the task was over; `dones` or `dones_float` at the end of every trajectory |
| OGBench | `masks`, likewise; `terminals` at the end of every trajectory |
| Stable-Baselines3, Tianshou | `dones` at every end; `timeouts` (`truncated`) at those that a time limit cut |
| CORL | `terminals` alone, with next observations |
| CleanRL | `dones` alone: a setting says what they mean, see `ReadOptions.dones` |

A row is terminal by the first of these that is there: a mask of 0; `terminations`; `terminals`; `dones` without `timeouts`. Every mark
ends an episode. Two arrays of one meaning are refused, unless they hold the same marks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np

from ...errors import WarmloopError
from .recording import Stored, Table, cast

# By what an array is here, the names that it may have.
NAMES = {
    "observations": ("observations", "observation", "obs"),
    "next_observations": ("next_observations", "next_observation", "next_obs", "obs_next"),
    "actions": ("actions", "action", "acts", "act"),
    "rewards": ("rewards", "reward", "rews", "rew"),
    "success": ("success", "successes", "is_success", "succeed", "goal_achieved"),
    "intervened": ("intervened", "is_intervention", "interventions"),
    "masks": ("masks", "mask", "discounts", "discount"),
    "terminations": ("terminations", "termination", "terminated", "terminateds"),
    "terminals": ("terminals", "terminal"),
    "timeouts": ("timeouts", "timeout", "truncations", "truncation", "truncated", "truncateds"),
    "dones": ("dones", "done", "dones_float", "done_float", "episode_terminals", "is_last"),
    "episode_starts": ("episode_starts",),
    "episode_ids": ("episode_ids", "episode_id", "episode_index", "episode", "traj_ids", "traj_id", "trajectory_ids"),
    "episode_ends": ("episode_ends",),
    "episode_lengths": ("episode_lengths", "traj_lengths", "trajectory_lengths"),
}
SECOND = {"observations": ("states", "state"), "next_observations": ("next_states", "next_state")}  # else a simulator's states
TREES = ("observations", "next_observations")  # may be a dict: one array for each leaf, `observations/NAME`
BOUNDARIES = ("episode_starts", "episode_ids", "episode_ends", "episode_lengths")
MARKS = ("masks", "terminations", "terminals", "timeouts", "dones")
INFOS = ("infos", "info", "env_infos")  # groups that may hold a success flag
REPEATABLE = {*MARKS, "episode_ids"}  # two arrays may say the same


@dataclasses.dataclass(frozen=True)
class Named:
    """Which of a file's arrays are read.

    Attributes:
        by_column: by column, the file's names of what is read as it; of a tree one for each leaf, else mostly one.
        unread: names of the others.
    """

    by_column: dict[str, tuple[str, ...]]
    unread: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Ends:
    """What a file's marks say.

    Attributes:
        terminal: `[N]` bool, rows after which the task was over.
        marked: `[N]` bool, rows that are marked as the last one of an episode.
        cuts_are_marked: whether ends by a time limit are among these.
        timeouts: `[N]` bool, rows that a time limit ended; None where nothing tells them.
        cut: `[N]` bool, rows at which trajectories end whether or not they are terminal; None where no array tells that of its own.
    """

    terminal: np.ndarray
    marked: np.ndarray
    cuts_are_marked: bool
    timeouts: np.ndarray | None
    cut: np.ndarray | None


def name_columns(origin: str, names: Iterable[str]) -> Named:
    """Which column each of a file's arrays is; `obs/wrist` is the leaf `observations/wrist`.

    Raises:
        WarmloopError: two arrays are one and the same column.
    """
    names = list(names)
    heads = list(dict.fromkeys(name.split("/")[0] for name in names))
    by_column: dict[str, tuple[str, ...]] = {}
    read: set[str] = set()
    observed = not set(NAMES["observations"]).isdisjoint(heads)
    for column, known in NAMES.items():
        found = [head for head in known if head in heads]
        if not observed:
            found = found or [head for head in SECOND.get(column, ()) if head in heads][:1]
        if len(found) > 1 and column not in REPEATABLE:
            raise WarmloopError(f"{origin} has both `{found[0]}` and `{found[1]}`, which are one and the same; remove one of them.")
        for head in found:
            own = [name for name in names if name == head or (column in TREES and name.startswith(f"{head}/"))]
            for name in own:
                key = column + name.removeprefix(head)
                by_column[key] = (*by_column.get(key, ()), name)
            read |= set(own)
    flags = (f"{group}/{flag}" for group in INFOS for flag in NAMES["success"])
    if "success" not in by_column and (flag := next((flag for flag in flags if flag in names), None)):
        by_column["success"] = (flag,)
        read.add(flag)
    return Named(by_column, tuple(name for name in names if name not in read))


def read_ends(origin: str, marks: Table, rows: int, dones: str) -> Ends | None:
    """What the arrays in `marks`, by column, say of ends; None where there are none.

    Args:
        rows: N.
        dones: as `ReadOptions` has it.

    Raises:
        WarmloopError: they contradict each other, or `dones` alone could mean two things.
    """
    if not marks:
        return None
    terminal = _terminal(origin, marks, rows, dones)
    flags = {name: _flags(marks[name]) for name in marks if name != "masks"}
    marked = np.logical_or.reduce([terminal, *flags.values()])
    # With masks, `terminals` are the ends of trajectories; without, they are what masks would be.
    cuts = {"timeouts", "dones"} | ({"terminals"} if "masks" in marks or "terminations" in marks else set())
    timeouts = flags.get("timeouts")
    if timeouts is None and cuts & marks.keys():
        timeouts = marked & ~terminal
    tells_terminal = next((name for name in ("masks", "terminations", "terminals", "dones") if name in marks), "") if terminal.any() else ""
    of_their_own = [flags[name] for name in cuts & flags.keys() if name != tells_terminal]
    cut = np.logical_or.reduce(of_their_own) if of_their_own else None
    return Ends(terminal, marked, bool(cuts & marks.keys()), timeouts, cut)


def one_of(origin: str, column: str, arrays: dict[str, Stored]) -> Stored:
    """The one array that all of these, by the file's names, are. Raises WarmloopError where they differ."""
    (name, first), *others = arrays.items()
    for other, array in others:
        if array.shape != first.shape or not np.array_equal(array[:], first[:]):
            raise WarmloopError(f"{origin} has both `{name}` and `{other}`, and they differ; remove one of them.")
    return first


def _terminal(origin: str, marks: Table, rows: int, dones: str) -> np.ndarray:
    if "masks" in marks:
        masks = np.asarray(cast("masks", marks["masks"][:]))
        terminal = masks == 0
        if "terminations" in marks and (terminal != _flags(marks["terminations"])).any():
            row = int(np.argmax(terminal != _flags(marks["terminations"])))
            raise WarmloopError(f"{origin}: `masks` and `terminations` disagree on row {row}; remove the one that is wrong.")
        return terminal
    for name in ("terminations", "terminals"):
        if name in marks:
            return _flags(marks[name])
    if "dones" not in marks:
        return np.zeros(rows, bool)
    ends = _flags(marks["dones"])
    if "timeouts" in marks:
        return ends & ~_flags(marks["timeouts"])
    if ends.any() and not dones:
        raise WarmloopError(
            f"{origin}: `dones` mark where its episodes end, and nothing says whether the task was over there or a time limit cut them; "
            "say so by dones=terminal or dones=time_limit of its source in data.sources (--config.data.dones for all, --dones of "
            "inspect_data and merge_data), or record `masks` or `timeouts`."
        )
    return ends if dones == "terminal" else np.zeros(rows, bool)


def _flags(column: Stored) -> np.ndarray:
    return cast("terminals", column[:]) != 0
