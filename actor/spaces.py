"""An environment's spaces as the project sees them: observations side by side, what an agent gets of them, and action limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from ..data.action_limits import ActionLimits
from ..data.errors import WarmloopError
from ..data.transition import Spec, without
from .matches import near_matches

ROUNDING = 1e-6  # of a bound that an action space stores as float32


def spec_of(env: gym.Env) -> Spec:
    """The shapes of an environment's own observations, nested ones side by side, and of its actions."""
    return Spec.from_spaces(flat_space(env.observation_space), env.action_space)


def flat(parts: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested parts side by side, named `outer.inner`."""
    found = {}
    for name, part in parts.items():
        nested = isinstance(part, Mapping | gym.spaces.Dict)
        found |= flat(part, f"{prefix}{name}.") if nested else {f"{prefix}{name}": part}
    return found


def flat_space(space: gym.Space) -> gym.Space:
    """The same of an observation space."""
    return gym.spaces.Dict(flat(space.spaces)) if isinstance(space, gym.spaces.Dict) else space


def seen_space(space: gym.Space, unseen: Sequence[str], environment: str) -> gym.Space:
    """The space of what the agent gets. Raises WarmloopError where `unseen` names what is not there, or everything."""
    parts = space.spaces if isinstance(space, gym.spaces.Dict) else {}
    for name in unseen:
        if name not in parts:
            raise WarmloopError(
                f'environment.unseen has "{name}", and the observations of "{environment}" have '
                f"{', '.join(parts) or 'no named parts'}{near_matches(name, parts)}"
            )
    if unseen and len(set(unseen)) == len(parts):
        raise WarmloopError(f'environment.unseen names all that "{environment}" observes; leave a part for the agent.')
    return gym.spaces.Dict(without(parts, unseen)) if unseen else space


def limits_of(space: Any, given: ActionLimits | None, environment: str) -> tuple[ActionLimits, ActionLimits]:
    """The action space's own limits (the given ones in dimensions where it has none), and those to act by.

    Raises:
        WarmloopError: the space has no bounds and none are given, or those that are given do not fit it.
    """
    low, high = space.low.astype(np.float64), space.high.astype(np.float64)
    if given is None:
        if not (np.isfinite(low).all() and np.isfinite(high).all()):
            raise WarmloopError(
                f'Environment "{environment}" has unbounded actions ({space}); give its action space finite bounds, or set '
                "environment.action_low and action_high."
            )
        return ActionLimits(low, high), ActionLimits(low, high)
    if len(given.low) != len(low):
        raise WarmloopError(
            f'environment.action_low has {len(given.low)} values, and actions of "{environment}" have {len(low)} dimensions.'
        )
    slack_low, slack_high = (np.where(np.isfinite(side), ROUNDING * abs(side), 0.0) for side in (low, high))
    if (given.low < low - slack_low).any() or (given.high > high + slack_high).any():
        raise WarmloopError(f'environment.action_low and action_high, {given}, reach beyond the action space of "{environment}", {space}.')
    own = ActionLimits(np.where(np.isfinite(low), low, given.low), np.where(np.isfinite(high), high, given.high))
    return own, ActionLimits(np.clip(given.low, low, high), np.clip(given.high, low, high))
