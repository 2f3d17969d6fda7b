"""The action limits that a checkpoint acts by: whoever goes on from it must act by the same."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from ...data.errors import WarmloopError
from .common import log

if TYPE_CHECKING:
    from ...configs.schema import RunConfig
    from ...data.action_limits import ActionLimits


def recorded_limits(directory: str | Path) -> ActionLimits | None:
    """What -1 and 1 are for the policy of the newest checkpoint in `directory`; None for the action space's own limits."""
    from ...configs.saved import config_of
    from ...learner.checkpoints import complete_checkpoints

    return config_of(complete_checkpoints.newest(directory).meta).environment.limits


def with_limits(config: RunConfig, limits: ActionLimits | None) -> RunConfig:
    """The configuration of a run that acts by these limits."""
    return config.replace(environment={"action_low": limits.low, "action_high": limits.high}) if limits else config


def taken_over(config: RunConfig, *directories: str | Path | None) -> RunConfig:
    """The configuration with the limits of the checkpoint in the first of `directories` that has any.

    Raises:
        WarmloopError: the configuration sets others.
    """
    from ...learner.checkpoints import complete_checkpoints

    directory = next((directory for directory in directories if directory and complete_checkpoints.steps(directory)), None)
    if directory is None:
        return config
    limits, own = recorded_limits(directory), config.environment.limits
    if limits == own:
        return config
    if own is None:
        log.info("actions -1 to 1 are %s, as in the checkpoint in %s", limits, directory)
        return with_limits(config, limits)
    raise other_limits(directory, limits, own)


def other_limits(directory: str | Path, limits: ActionLimits | None, own: ActionLimits | None) -> WarmloopError:
    """What to say where a checkpoint acts within `limits`, and the settings say `own`."""
    space, instead = "the limits of the action space", shlex.join(limits.flags()) if limits else "neither"
    return WarmloopError(
        f"The policy in {directory} acts within {limits or space}, and environment.action_low and action_high say {own or space}; "
        f"set {instead}."
    )
