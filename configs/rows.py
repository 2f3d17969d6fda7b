"""All that decides a row of experience beside the policy. It must be alike at an actor and its learner, and in a run that is resumed.

What is new in one of these sections counts, unless it is named here as something that decides none.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..data.wire.row_schema import KWARGS, Settings
from .schema import RunConfig

SECTIONS = ("environment", "reward", "tasks")
ELSEWHERE = ("environment.id", "environment.action_low", "environment.action_high", "environment.kwargs", "tasks.balance")
LONGEST = 300  # characters of a value; of a longer one the beginning and a hash are compared
PINNED = re.compile(r"^[^:]*:.*(?=,sha256=)|^socket:.*")  # a policy with a hash, and one that is elsewhere
CLASSIFIERS = re.compile(r"^classifier:[^,]*(?=,.*\bsha256=)")


def run_settings(config: RunConfig) -> Settings:
    """`row_settings` with the environment itself: what must stay as it is when a run is resumed."""
    label = config.tasks.label(config.environment.id)
    return tuple(sorted([*row_settings(config), ("environment", json.dumps(label))]))


def row_settings(config: RunConfig, time_limit: int | None = None, control_hz: float = 0.0) -> Settings:
    """Every setting that decides a row by its name, `SECTION.NAME`, and its value as text, sorted.

    The id and the limits of actions are not among them: an actor and a learner compare them by themselves.

    Args:
        time_limit: the environment's own, in steps, which counts where the configuration has no horizon.
        control_hz: the environment's steps per second; 0 where it does not say.
    """
    found = {
        f"{section}.{field.name}": getattr(getattr(config, section), field.name)
        for section in SECTIONS
        for field in dataclasses.fields(getattr(config, section))
        if f"{section}.{field.name}" not in ELSEWHERE
    }
    environment = config.environment
    found |= {f"{KWARGS}{name}": value for name, value in dict(environment.kwargs).items() if name not in environment.local_kwargs}
    found["environment.horizon"] = environment.horizon or time_limit or 0
    found["environment.success"] = CLASSIFIERS.sub("classifier:", environment.success)  # its hash tells, not where it lies
    if environment.base:
        found["environment.base"] = PINNED.sub("", environment.base)
    else:
        del found["environment.base"], found["environment.base_proposals"]  # of rows that are as they were without these
    if control_hz:
        found["control rate in Hz"] = control_hz
    return tuple(sorted((name, _text(value)) for name, value in found.items()))


def _text(value: Any) -> str:
    text = json.dumps(_plain(value), sort_keys=True)
    return text if len(text) <= LONGEST else f"{text[:60]}… (sha256 {hashlib.sha256(text.encode()).hexdigest()[:16]})"


def _plain(value: Any) -> Any:
    """A value as JSON has it: whole floats as whole numbers, and of an object its kind, since nothing else of it is known to last."""
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    kind = value if isinstance(value, type) or (callable(value) and hasattr(value, "__qualname__")) else type(value)
    return f"{kind.__module__}.{kind.__qualname__}"
