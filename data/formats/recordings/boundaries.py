"""Where trajectories end in rows end to end, by their flags: one rule for every flat layout.

An episode ends after `terminals`, after `timeouts`, and, without `timeouts`, where next observations do not lead to the following row.

In some data the terminal flag says where the robot is, and not that the trajectory is over: in D4RL's AntMaze it stays 1 from the goal
on. A file is read so where the flag is on in three or more successive rows of a trajectory that began before the flag was set. A trajectory
goes on where the next observation is the following row's or, where none is recorded, where the following observation is no further away
than others are. Then `timeouts` alone, and breaks, end trajectories; without `timeouts` the last row of each such run does.
"""

from __future__ import annotations

import logging

import numpy as np

from .recording import ROWS_PER_CHUNK, Stored, Table, breaks

SLACK = 1.2  # times the farthest that an observation moves within trajectories

log = logging.getLogger("warmloop")


def trajectory_ends(origin: str, table: Table, terminals: np.ndarray, cut: np.ndarray | None) -> np.ndarray:
    """`[N]` bool, the last rows of trajectories.

    Args:
        origin: the file, as a message names it.
        table: its observations and, where they are recorded, its next observations.
        terminals: `[N]` bool.
        cut: `[N]` bool, rows that end a trajectory, terminal or not, such as `timeouts`; None where the file says nothing of them.
    """
    recorded, told = any(name.startswith("next_") for name in table), cut is not None
    if cut is None:
        cut = breaks(table) if recorded else np.zeros(len(terminals), bool)
    pairs = terminals[:-1] & terminals[1:] & ~cut[:-1]  # [N - 1]
    if not pairs.any():
        return terminals | cut
    leads_on = ~breaks(table)[:-1] if recorded else _near(table, terminals | cut)
    staying = pairs & leads_on & _moves(table) if leads_on.any() else np.zeros_like(pairs)
    staying &= _began_before(terminals, cut, leads_on)
    if not (staying[:-1] & staying[1:]).any():
        return terminals | cut
    log.info(
        "%s: the terminal flag stays on while the trajectory goes on (%d steps); its episodes end %s",
        origin, int(staying.sum()), "where they are marked to" if told else "with the flag's last step",
    )  # fmt: skip
    goes_on = np.append(leads_on if told else staying, False)
    return cut | (terminals & ~goes_on)


def _began_before(terminals: np.ndarray, cut: np.ndarray, leads_on: np.ndarray) -> np.ndarray:
    """`[N - 1]` bool, rows of runs of terminals that a row without the flag leads to."""
    entered = terminals[1:] & ~terminals[:-1] & ~cut[:-1] & leads_on  # the run's first row is the one after
    rows = np.arange(len(terminals))
    latest_entry = np.maximum.accumulate(np.where(np.append(False, entered), rows, -1))
    outside = np.append(True, ~terminals[:-1] | cut[:-1] | ~leads_on) & ~np.append(False, entered)
    latest_break = np.maximum.accumulate(np.where(outside, rows, -1))
    return (latest_entry > latest_break)[:-1]


def _moves(table: Table) -> bool:
    """Whether any observation changes at all; where none does, nothing tells one trajectory from the next."""
    return any((chunk != chunk[:1]).any() for column in _observed(table) for chunk in _chunks(column))


def _near(table: Table, unsure: np.ndarray) -> np.ndarray:
    """`[N - 1]` bool, rows whose following observation is no further away, in any number, than those are that surely follow."""
    near = np.ones(len(unsure) - 1, bool)
    numbers = [column for column in _observed(table) if column.dtype.kind == "f" or len(column.shape) < 3]
    for column in numbers:
        values = np.reshape(column[0 : len(unsure)], (len(unsure), -1)).astype(np.float64)
        change = np.abs(np.diff(values, axis=0))
        sure = change[~unsure[:-1]]
        near &= (change <= SLACK * sure.max(axis=0)).all(axis=1) if len(sure) else False
    return near & bool(numbers)


def _observed(table: Table) -> list[Stored]:
    return [column for name, column in table.items() if name.split("/")[0] == "observations"]


def _chunks(column: Stored):
    rows = column.shape[0]
    return (column[low : min(low + ROWS_PER_CHUNK, rows)] for low in range(0, rows, ROWS_PER_CHUNK))
