"""Scripted experts of simulated tasks, a source of demonstrations that needs no download."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...data.errors import WarmloopError
from ...data.tasks import SINGLE, TaskConfig
from ...data.transition import PyTree
from ..environment.environment import Environment
from ..seeds import task_of_seed
from ..simulators.metaworld_tasks import expert_for, is_metaworld
from .gym_hil_expert import EXPERTS, GymHilExpert
from .policy import Policy


class MetaWorldExpert:
    """Meta-World's scripted policy for a task, or for several the one of each episode's; it is deterministic and reads the
    39-dimensional observation."""

    def __init__(self, environment_ids: Sequence[str], tasks: TaskConfig = SINGLE):
        self._environment_ids, self._tasks = environment_ids, tasks

    def begin(self, seed: int) -> None:
        self._expert = expert_for(self._environment_ids[task_of_seed(seed, len(self._environment_ids))])

    def __call__(self, observation: PyTree, step: int) -> np.ndarray:
        action = self._expert.get_action(np.asarray(self._tasks.strip(observation), np.float64))
        return np.clip(action, -1.0, 1.0).astype(np.float32)


def scripted_policy(environment: Environment) -> Policy:
    """The environment's scripted expert.

    Raises:
        WarmloopError: it has none.
    """
    template, tasks = environment.config.id, environment.tasks
    if template in EXPERTS:
        return GymHilExpert(environment)
    if not is_metaworld(template):
        raise WarmloopError(
            f"There is no scripted expert for \"{template}\"; only Meta-World's tasks (Meta-World/NAME-v3) and gym-hil's "
            f"({' and '.join(EXPERTS)}) have one. Use --policy=random or --policy=checkpoint:DIR."
        )
    several = "{task}" in template
    return MetaWorldExpert([template.replace("{task}", name) for name in tasks.names] if several else [template], tasks)
