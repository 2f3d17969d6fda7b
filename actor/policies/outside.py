"""Policies from outside this package: any callable that Python can import.

`MODULE:NAME` names one of three things, told apart in this order:

1. A class, or a function whose first parameter is called `environment`: it is called once with the `Environment`, and returns a policy.
2. An object with a method `begin`: it is the policy.
3. Any other callable: it is called with each observation, and returns the action.

A policy has `begin(seed)`, called at the start of every episode, and `__call__(observation, step)`, which returns the action. Actions are
`[A]` in [-1, 1]. An episode must depend on nothing before it: the global generators of `random`, NumPy and PyTorch are seeded at its
start, and what else a policy remembers is for its `begin` to forget. A method `drop_plan()`, where it has one, is called after a step that
somebody else took in its place.
"""

from __future__ import annotations

import dataclasses
import inspect
import random
import sys
from typing import Any

import numpy as np

from ...data.errors import WarmloopError
from ...data.transition import PyTree
from ..doors import POLICY as DOOR
from ..doors import POLICY_FLAG as WHERE
from ..environment.environment import Environment
from .policy import Policy

TOLERANCE = 1e-3  # by which rounding may carry an action over ±1


class OutsidePolicy:
    """A policy whose every action is checked.

    Args:
        name: how errors call it.
        policy: the policy, or a function of the observation alone.
        environment: that it acts in.
    """

    def __init__(self, name: str, policy: Any, environment: Environment):
        self._name, self._policy, self._environment = name, policy, environment
        self._is_function = not hasattr(policy, "begin")

    def begin(self, seed: int) -> None:
        seed_generators(seed)
        if not self._is_function:
            self._policy.begin(seed)

    def drop_plan(self, done: np.ndarray) -> None:
        """The user's own takes no argument."""
        if drop := getattr(self._policy, "drop_plan", None):
            drop()

    def __call__(self, observation: PyTree, step: int) -> np.ndarray:
        action = self._policy(observation) if self._is_function else self._policy(observation, step)
        try:
            action = np.asarray(action, np.float32)
        except (TypeError, ValueError):
            raise WarmloopError(f"{self._name} gave {action!r:.60} at step {step}, which is no array of numbers.") from None
        expected = (self._environment.spec.action_dim,)
        if action.shape != expected:
            raise WarmloopError(
                f"{self._name} gave an action of shape {action.shape} at step {step}; {self._environment.config.id} takes {expected}."
            )
        if not (np.abs(action) <= 1.0 + TOLERANCE).all():  # NaN is not either
            raise WarmloopError(
                f"{self._name} gave the action {action} at step {step}; every number must be finite and in [-1, 1], where -1 and 1 stand "
                f"for the limits of {self._environment.config.id}'s action space. Scale or clip it."
            )
        return np.clip(action, -1.0, 1.0)


def outside_policy(name: str, environment: Environment) -> Policy:
    """The policy that `name`, `MODULE:NAME`, stands for; the module is found from the working directory too.

    Raises:
        WarmloopError: there is no such module or name, importing or making it failed, or it is no policy.
    """
    found = DOOR.open(name, WHERE)
    if is_factory(found):
        factory = found
        found = DOOR.call(name, WHERE, "called with the environment", lambda: factory(environment))
        if not (callable(found) and hasattr(found, "begin")):
            wanted = dataclasses.replace(DOOR, wanted="an object with begin(seed) and __call__(observation, step)")
            raise wanted.refused(name, WHERE, found, "returned")
    if not callable(found):
        raise DOOR.refused(name, WHERE, found)
    return OutsidePolicy(name, found, environment)


def seed_generators(seed: int) -> None:
    """Seeds the global generators of `random`, NumPy and, where it is in use, PyTorch."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(seed)


def is_factory(found: Any) -> bool:
    """Whether what a name stands for is called once with the environment: a class, or a function whose first parameter has that name."""
    if inspect.isclass(found):
        return True
    return inspect.isroutine(found) and next(iter(_parameters(found)), "") == "environment"


def _parameters(function: Any) -> list[str]:
    try:
        return list(inspect.signature(function).parameters)
    except ValueError:  # some built-in functions have none
        return []
