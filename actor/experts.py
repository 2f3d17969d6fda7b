"""Scripted experts of simulated tasks, a source of demonstrations that needs no download."""

from __future__ import annotations

import numpy as np

from ..data.errors import WarmloopError
from ..data.transition import PyTree
from .environment import Environment
from .metaworld import expert_for, is_metaworld
from .policy import Policy


class MetaWorldExpert:
    """Meta-World's scripted policy for a task; it is deterministic and reads the 39-dimensional observation."""

    def __init__(self, environment_id: str):
        self._environment_id = environment_id
        self._expert = expert_for(environment_id)

    def begin(self, seed: int) -> None:
        self._expert = expert_for(self._environment_id)

    def __call__(self, observation: PyTree, step: int) -> np.ndarray:
        action = self._expert.get_action(np.asarray(observation, np.float64))
        return np.clip(action, -1.0, 1.0).astype(np.float32)


def scripted_policy(environment: Environment) -> Policy:
    """The environment's scripted expert.

    Raises:
        WarmloopError: it has none.
    """
    if not is_metaworld(environment.config.id):
        raise WarmloopError(
            f'There is no scripted expert for "{environment.config.id}"; only Meta-World\'s tasks (Meta-World/NAME-v3) have one. '
            "Use --policy=random or --policy=checkpoint:DIR."
        )
    return MetaWorldExpert(environment.config.id)
