"""The info of an environment's step: its keys as strings, and where it has the action of a person at the environment's own device."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

import numpy as np

from ...data.errors import WarmloopError

WHENEVER = "intervene_action"  # HIL-SERL
WHERE_FLAGGED = ("teleop_action", "action_intervention")  # gym-hil and LeRobot; the second is their earlier name
ACTIONS = (WHENEVER, *WHERE_FLAGGED)


def plain(info: Mapping[Any, Any]) -> dict[str, Any]:
    """The info with members of an enum among its keys, such as LeRobot's TeleopEvents, under their values; a string goes before them."""
    named = {key.value: value for key, value in info.items() if isinstance(key, Enum)}
    return named | {key: value for key, value in info.items() if not isinstance(key, Enum)}


def as_array(value: Any) -> np.ndarray:
    """What an environment gave as an array; one of objects where it is none, or some of it is masked."""
    try:
        return np.asarray(None) if np.ma.is_masked(value) else np.asarray(value)
    except (TypeError, ValueError, RuntimeError):  # parts of different lengths; a tensor on a GPU
        return np.asarray(None)


def says_yes_or_no(array: np.ndarray) -> bool:
    """Whether an array holds nothing but truth values, or numbers that are 0 or 1."""
    return array.size > 0 and array.dtype.kind in "biuf" and bool(np.isin(array, (0, 1)).all())


def is_true(info: Mapping[str, Any], key: str) -> bool:
    """Whether the info has the key and it is true, of several numbers any. Raises WarmloopError where it says neither true nor false."""
    said = info.get(key)
    if said is None:
        return False
    array = as_array(said)
    if array.size and not says_yes_or_no(array):
        raise WarmloopError(f'The info of a step has as "{key}" {said!r:.60}, which is neither true nor false; put True or False there.')
    return bool(array.any())


def key_of_persons_action(info: Mapping[str, Any]) -> str | None:
    """Where a plain info has, or should have, the action that was taken in the policy's place; None where the policy's was taken."""
    if WHENEVER in info:
        return WHENEVER
    if not is_true(info, "is_intervention"):
        return None
    return next((key for key in WHERE_FLAGGED if key in info), WHERE_FLAGGED[0])
