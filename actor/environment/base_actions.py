"""What a base policy would do, as a part of each observation: so it travels with the row, and that of the next state with it.

The base is asked once a step, with its own memory, and is made when an episode first begins: a learner, which never acts, needs only the
shapes. Where somebody else has acted (a person, or whoever recorded an episode), what the base had planned is dropped.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...data.errors import WarmloopError
from ...data.transition import PyTree
from ..policies.named import find_policy
from ..policies.policy import Policy, drop_plan

STRIDE = 7_919  # between the seeds of an episode's proposals


class BaseActions:
    """The proposals `[N·A]` of a base policy, side by side: its mode, and N − 1 samples of it.

    Args:
        environment: the `Environment` as the base knows it, whose observations have no proposals.
        name: of the policy, as commands take it.
        count: N. Each proposal is of a policy of its own, so that each follows its own plan.
    """

    def __init__(self, environment: Any, name: str, count: int):
        self.environment, self.name, self.count = environment, name, count
        self._policies: list[Policy] | None = None
        self._task = 0

    def begin(self, seed: int, task: str = "") -> None:
        """An episode begins, whose randomness `seed` decides; `task` is that of a recorded one. Raises WarmloopError where the base cannot
        be had, or does not fit."""
        if self._policies is None:
            self._policies = [find_policy(self.name, deterministic=place == 0)(self.environment) for place in range(self.count)]
        tasks = self.environment.tasks
        self._task = tasks.number(task, "A recorded episode", "set the `task` of its source") if task and tasks.names else 0
        stride = STRIDE * max(len(tasks), 1)  # which keeps the task that a seed stands for
        for place, policy in enumerate(self._policies):
            policy.begin((seed + stride * place) % 2**31)

    def __call__(self, observation: PyTree, step: int) -> np.ndarray:
        """The proposals for the observation, with its task's code, of step `step`: float32, within ±1.

        Raises:
            WarmloopError: one is no action.
        """
        assert self._policies is not None, "begin comes first"
        proposals = [np.asarray(policy(observation, step), np.float32) for policy in self._policies]
        for proposal in proposals:
            if proposal.shape != (self.environment.spec.action_dim,) or not np.isfinite(proposal).all():
                raise WarmloopError(f"The base policy {self.name} gave {proposal!r:.80} at step {step}, which is no action.")
        return np.clip(np.concatenate(proposals), -1.0, 1.0)

    def answer(self, observation: PyTree, step: int) -> np.ndarray:
        """The same for an observation as it was recorded, without its task's code."""
        return self(self.environment.tasks.condition(observation, self._task), step)

    def drop_plan(self, done: np.ndarray) -> None:
        """Somebody else has done the action `done` `[A]`: what was planned is not what comes next."""
        for policy in self._policies or ():
            drop_plan(policy, done)

    def close(self) -> None:
        """Lets go of what the policies hold, such as a connection."""
        for policy in self._policies or ():
            if close := getattr(policy, "close", None):
                close()
        self._policies = None
