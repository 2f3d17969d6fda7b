"""From a file's arrays to the environment's: which leaves make up each observation, and which columns the action."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import WarmloopError
from ..formats.recordings.recording import Columns, Recording
from ..settings.near_names import did_you_mean
from ..transition import Spec

# By the environment's leaf, the file's leaves that make it up, in order.
Leaves = tuple[tuple[str, tuple[str, ...]], ...]
SIDES = ("observations", "next_observations")
SELECTION = re.compile(r"(?P<name>.*)\[(?P<columns>\s*\d*:?\d*\s*(,\s*\d*:?\d*\s*)*)\]", re.DOTALL)


def normalise(mapping: Mapping[str, Any] | Sequence[Any], where: str) -> Leaves:
    """A mapping in its stored form: sorted pairs of a name and a tuple of names.

    Raises:
        WarmloopError: it is something else, or has a bare array beside named ones; `where` is the setting.
    """
    try:
        pairs = {name: (parts,) if isinstance(parts, str) else tuple(parts) for name, parts in dict(mapping).items()}
    except (TypeError, ValueError):
        pairs = {None: ()}
    if not all(isinstance(name, str) and parts and all(isinstance(part, str) for part in parts) for name, parts in pairs.items()):
        raise WarmloopError(
            f"{where} is {mapping!r}; it maps the environment's names to the file's, as in "
            '{"front": "agentview_image"} or {"": ("state", "object[:7]")}.'
        )
    if "" in pairs and len(pairs) > 1:
        raise WarmloopError(f'{where} maps "", the whole observation, and {max(pairs)} beside it; an observation is one or the other.')
    return tuple(sorted(pairs.items()))


def arrange(recording: Recording, observation: Leaves, action: Sequence[int]) -> Recording:
    """The recording under the environment's names; an empty mapping leaves things as they are.

    Args:
        observation: as `normalise` gives it. A file's leaf is named by its path, `robot.joints`, and "" where the observation is a bare
            array; `NAME[0:7]` and `NAME[0,2,5:7]` take columns of its last axis. Several are joined along that axis, in order.
            Leaves that are not mentioned are dropped.
        action: columns of the file's action, in the environment's order.

    Raises:
        WarmloopError: a leaf or a column that the file does not have, or leaves that cannot be joined.
    """
    columns = recording.columns
    if observation:
        columns = {name: column for name, column in columns.items() if name.split("/")[0] not in SIDES}
        for side in SIDES:
            leaves = _leaves(recording.columns, side)
            for name, parts in observation:
                columns[f"{side}/{name}" if name else side] = _joined(recording.origin, parts, leaves)
    if action:
        actions, dimensions = recording.columns["actions"], recording.columns["actions"].shape[1]
        absent = [index for index in action if index >= dimensions]
        if absent:
            raise WarmloopError(
                f"{recording.origin}: the mapping takes action column {absent[0]}, and there are {dimensions}, 0 to {dimensions - 1}."
            )
        columns = columns | {"actions": actions[:, list(action)]}
    return dataclasses.replace(recording, columns=columns, optional=() if observation else recording.optional)


def settle(recording: Recording, wanted: Spec | None) -> Recording:
    """The recording with those of its `optional` leaves that are wanted under their own names, as an environment shows a choice: one
    number, or, where it shows several, one-hot. The others stay optional.

    Raises:
        WarmloopError: a choice is none of those that the environment shows.
    """
    shapes = {} if wanted is None else {leaf.name: leaf.shape for leaf in wanted.observation}
    columns, taken = dict(recording.columns), [name for name in recording.optional if name in shapes]
    for key in [f"{side}/{name}" for side in SIDES for name in taken]:
        width, column = math.prod(shapes[key.partition("/")[2]]), columns[key]
        if column.shape[1:] != (width,) and column.shape[1:] == (1,):
            if (column < 0).any() or (column >= width).any() or (column % 1 != 0).any():
                raise WarmloopError(f"{recording.origin}: `{key}` runs from {column.min():g} to {column.max():g}, and has {width} choices.")
            columns[key] = np.eye(width, dtype=np.float32)[column[:, 0].astype(np.int64)]
    return dataclasses.replace(recording, columns=columns, optional=tuple(name for name in recording.optional if name not in taken))


def _leaves(columns: Columns, side: str) -> Columns:
    """The arrays of an observation by their paths; "" for a bare one."""
    own = {name: column for name, column in columns.items() if name.split("/")[0] == side}
    return {name.removeprefix(side).removeprefix("/").replace("/", "."): column for name, column in own.items()}


def _joined(origin: str, parts: Sequence[str], leaves: Columns) -> np.ndarray:
    """`[N, ...]`, the parts side by side along their last axis; one alone is not copied."""
    chosen = [_leaf(origin, part, leaves) for part in parts]
    if len(chosen) == 1:
        return chosen[0]
    chosen = [array[:, None] if array.ndim == 1 else array for array in chosen]
    for part, array in zip(parts, chosen, strict=True):
        if array.shape[:-1] != chosen[0].shape[:-1]:
            raise WarmloopError(
                f"{origin}: `{parts[0]}` of shape {chosen[0].shape[1:]} and `{part}` of shape {array.shape[1:]} cannot be joined: "
                "they may differ in their last axis only."
            )
    return np.concatenate(chosen, axis=-1)


def _leaf(origin: str, part: str, leaves: Columns) -> np.ndarray:
    selection = None if part in leaves else SELECTION.fullmatch(part)
    name = selection["name"] if selection else part
    if name not in leaves:
        if set(leaves) == {""}:
            raise WarmloopError(f'{origin}: there is no observation `{name}`; it is one bare array, named "" in a mapping.')
        listed = ", ".join(f"`{leaf}`" for leaf in sorted(leaves))
        raise WarmloopError(f"{origin}: there is no observation `{name}`; there are {listed}{did_you_mean(name, leaves, one=True)}")
    leaf = leaves[name]
    if selection is None:
        return leaf
    leaf = leaf[:, None] if leaf.ndim == 1 else leaf
    return leaf[..., _columns(origin, part, selection["columns"], leaf.shape[-1])]


def _columns(origin: str, part: str, text: str, size: int) -> slice | list[int]:
    """The columns that `0:3,6` names; a slice, which copies nothing, where they are one range."""
    ranges = []
    for piece in text.split(","):
        first, colon, end = piece.strip().partition(":")
        if not (colon or first):
            raise WarmloopError(f"{origin}: `{part}` names no column between its brackets; write NAME[0:7], or NAME[0,2,5].")
        start = int(first or 0)
        ranges.append(range(start, (int(end) if end else size) if colon else start + 1))
    for chosen in ranges:
        if not len(chosen) or chosen[-1] >= size:
            raise WarmloopError(f"{origin}: `{part}` takes columns that are not there: it has {size}, 0 to {size - 1}.")
    if len(ranges) == 1:
        return slice(ranges[0].start, ranges[0].stop)
    return [column for chosen in ranges for column in chosen]
