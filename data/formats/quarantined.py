"""Reading what the learner put into quarantine: rows that it did not learn from, each with its reason."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..errors import WarmloopError
from ..files import sealed
from ..transition import Array

OWN = ("number", "reason")  # beside the rows' leaves
ACTION_LIMIT = 1.0


@dataclasses.dataclass(frozen=True)
class QuarantinedRow:
    """One row: its number in its actor's stream, where in which episode it was, why it is here, and the values that say so
    (`observation[3]` to its value)."""

    stream: str
    number: int
    episode: int
    step: int
    reason: str
    values: dict[str, float]


def quarantine_files(path: str | Path) -> list[Path]:
    """The files below a quarantine folder, or the one file. Raises WarmloopError where there is nothing of that name."""
    path = Path(path)
    if not path.exists():
        raise WarmloopError(f"There is no {path}; quarantined rows are in RUNS/EXP_NAME/quarantine, if there are any.")
    return sorted(path.glob("*.npz")) if path.is_dir() else [path]


def read_quarantine(path: Path) -> Iterator[QuarantinedRow]:
    """The rows of one file. Raises WarmloopError where it is not one, or damaged."""
    try:
        leaves = sealed.load(path)
    except OSError as error:
        raise WarmloopError(f"{path} cannot be read as quarantined rows ({error}).") from error
    if not {*OWN, "action", "episode", "step"} <= leaves.keys():
        raise WarmloopError(f"{path} holds no quarantined rows: it has no numbers and reasons. Name RUNS/EXP_NAME/quarantine.")
    for row, (number, reason) in enumerate(zip(leaves["number"], leaves["reason"], strict=True)):
        values = dict(bad for name, leaf in leaves.items() if name not in OWN for bad in _bad_values(name, leaf[row]))
        named = str(reason).partition(" ")[0]
        if not values and named in leaves and leaves[named].dtype.kind == "f":  # beyond what is plausible
            values = dict([_largest(named, leaves[named][row])])
        yield QuarantinedRow(
            path.stem.rpartition("-")[0], int(number), int(leaves["episode"][row]), int(leaves["step"][row]), str(reason), values
        )


def _largest(name: str, value: Array) -> tuple[str, float]:
    """The element of the greatest magnitude."""
    index = np.unravel_index(np.argmax(np.abs(value)), np.shape(value))
    place = ",".join(map(str, map(int, index)))
    return (f"{name}[{place}]" if place else name), float(value[index])


def _bad_values(name: str, value: Array) -> Iterator[tuple[str, float]]:
    """Elements that are not finite, or an action's that are out of range."""
    if value.dtype.kind != "f":
        return
    bad = ~np.isfinite(value) & ((name != "mc_return") | (value != -np.inf))
    if name == "action":
        bad |= np.abs(value) > ACTION_LIMIT
    for index in np.argwhere(bad):
        place = ",".join(map(str, index.tolist()))
        yield (f"{name}[{place}]" if place else name), float(value[tuple(index)])
