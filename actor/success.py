"""When an episode has succeeded: the rules that `environment.success` can name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..data.errors import WarmloopError

KEYS = ("success", "is_success", "goal_achieved", "succeed")
SuccessRule = Callable[[Mapping[str, Any], bool, float, float], bool | None]


def success_rule(rule: str) -> SuccessRule:
    """The function `(info, terminated, reward, return so far) -> success`, None where the step carries no signal.

    `rule` is one of

        auto          the first of success, is_success, goal_achieved, succeed in the step's info
        info:KEY      the value of KEY in the step's info
        terminated    the environment terminated
        reward>=X     the step's raw reward
        return>=X     the episode's raw return so far
        operator      never by itself: only a person's success key says so

    Raises:
        WarmloopError: `rule` is none of these.
    """
    if rule == "auto":
        return lambda info, terminated, reward, total: _flag(info, KEYS)
    if rule.startswith("info:") and len(rule) > len("info:"):
        keys = (rule.removeprefix("info:"),)
        return lambda info, terminated, reward, total: _flag(info, keys)
    if rule == "terminated":
        return lambda info, terminated, reward, total: terminated
    if rule == "operator":
        return lambda info, terminated, reward, total: False
    quantity, _, bound = rule.partition(">=")
    try:
        least = float(bound)
        if quantity == "reward":
            return lambda info, terminated, reward, total: reward >= least
        if quantity == "return":
            return lambda info, terminated, reward, total: total >= least
    except ValueError:
        pass
    raise WarmloopError(
        f'environment.success is "{rule}"; it must be auto, info:KEY, terminated, operator, reward>=NUMBER or return>=NUMBER.'
    )


def _flag(info: Mapping[str, Any], keys: tuple[str, ...]) -> bool | None:
    for key in keys:
        if key in info:
            return bool(np.all(info[key]))
    return None
