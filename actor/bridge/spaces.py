"""What agents get of a bridged environment's observations, and the limits of its actions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from ...data.action_limits import ActionLimits
from ...data.errors import WarmloopError
from ...data.transition import BASE, STATE, Spec, without

ROUNDING = 1e-6  # of a bound that an action space stores as float32
ABSURD = 1e9  # no robot has such a bound: who writes ±3.4e38 means that there is none


def spec_of(env: gym.Env) -> Spec:
    """The shapes of a bridged environment's observations and actions."""
    return Spec.from_spaces(env.observation_space, env.action_space)


def seen_space(space: gym.Space, unseen: Sequence[str]) -> gym.Space:
    """The space of what the agent gets."""
    return gym.spaces.Dict(without(space.spaces, unseen)) if isinstance(space, gym.spaces.Dict) and unseen else space


def space_beside(space: gym.Space, proposals: int, actions: Any) -> gym.Space:
    """The space of observations beside N proposals of a base policy. Raises WarmloopError where they have such a part already."""
    parts = dict(space.spaces) if isinstance(space, gym.spaces.Dict) else {STATE: space}
    if BASE in parts:
        raise WarmloopError(f'The observations have a part "{BASE}" of their own, where a base policy\'s actions are to be; rename it.')
    return gym.spaces.Dict(parts | {BASE: gym.spaces.Box(-1.0, 1.0, (proposals * actions.shape[0],), np.float32)})


def limits_of(space: Any, given: ActionLimits | None, environment: str) -> tuple[ActionLimits, ActionLimits]:
    """The action space's own limits (the given ones in dimensions where it has none), and those to act by.

    Raises:
        WarmloopError: the space has no bounds and none are given, or those that are given do not fit it.
    """
    low, high = (side.astype(np.float64) for side in (space.low, space.high))
    low, high = np.where(low > -ABSURD, low, -np.inf), np.where(high < ABSURD, high, np.inf)
    if given is None:
        if not (np.isfinite(low).all() and np.isfinite(high).all()):
            name, ones = f'Environment "{environment}"', f"({', '.join(['1.0'] * len(low))}{',' if len(low) == 1 else ''})"
            raise WarmloopError(
                f"{name} has unbounded actions ({space}); give its action space finite bounds, or say what a policy's "
                f'-1 and 1 are in its units, as in --config.environment.action_low="{ones.replace("1", "-1")}" '
                f'--config.environment.action_high="{ones}".'
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
