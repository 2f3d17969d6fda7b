"""Which environment a run acts in, and how its episodes end: the section `environment` of a configuration."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ...data.action_limits import ActionLimits
from ...data.errors import WarmloopError
from ..endings.success import success_rule
from ..wrappers import wrapper


@dataclasses.dataclass(frozen=True)
class EnvironmentConfig:
    """Which environment, and how its episodes end.

    Attributes:
        id: a Gymnasium id, `module:Id`, or `Meta-World/NAME-v3`. For several tasks, `{task}` in it stands for each one's name; one
            environment of several tasks names an episode's in the info of its reset, as "task".
        kwargs: arguments of the environment's constructor; a dict is stored as sorted pairs, so that the config is hashable.
        horizon: steps until truncation; 0 for the environment's own limit.
        action_low, action_high: what the policy's actions -1 and 1 are, one value per dimension, within the action space; () for its
            own bounds.
        wrappers: what the environment is wrapped in, the innermost first, as `actor/wrappers` names them.
        success: the success signal, a rule of `actor/endings/success.py`: auto, info:KEY, info:KEY>=X, terminated, operator,
            reward>=X, return>=X or classifier:DIR.
        unseen: parts of the observation that the success rule sees and the agent does not, such as a classifier's camera. What is no
            array, such as a text, is left out altogether.
        time_limit_is_truncation: an episode that the environment terminates at its time limit (`horizon`, else its own), not by success,
            counts as cut, and not as over. For environments that return their time limit as `terminated`, or as the `done` of old.
        local_kwargs: names of arguments that decide nothing about a row and may differ between an actor and its learner, such as an
            address, a serial number or a log file.
        base: a policy whose actions stand in each observation as "base_action", for an agent that improves it (`edit`): checkpoint:DIR,
            export:DIR, sb3:PATH.zip, socket:HOST:PORT, MODULE:NAME, scripted or random; "" for none.
        base_proposals: N, how many actions of the base: its mode, and N − 1 samples.
    """

    id: str = ""
    kwargs: tuple[tuple[str, Any], ...] | Mapping[str, Any] = ()
    horizon: int = 0
    success: str = "auto"
    action_low: tuple[float, ...] = ()
    action_high: tuple[float, ...] = ()
    wrappers: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
    time_limit_is_truncation: bool = False
    local_kwargs: tuple[str, ...] = ()
    base: str = ""
    base_proposals: int = 1

    def __post_init__(self):
        if not self.id:
            raise WarmloopError("environment.id is empty; name a Gymnasium id such as AdroitHandDoor-v1, or Meta-World/NAME-v3.")
        if self.horizon < 0:
            raise WarmloopError(f"environment.horizon is {self.horizon}; it must be 0 (the environment's own limit) or more.")
        if self.base_proposals < 1:
            raise WarmloopError(f"environment.base_proposals is {self.base_proposals}; it must be at least 1.")
        success_rule(self.success)
        object.__setattr__(self, "kwargs", tuple(sorted(dict(self.kwargs).items())))
        for text in self.wrappers:
            wrapper(text)
        try:
            _ = self.limits
        except WarmloopError as error:
            raise WarmloopError(f"environment.action_low and action_high do not fit: {error}") from error

    @property
    def limits(self) -> ActionLimits | None:
        """What -1 and 1 are, where the action space does not say."""
        return ActionLimits(self.action_low, self.action_high) if self.action_low or self.action_high else None
