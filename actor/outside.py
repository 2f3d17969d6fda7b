"""Policies from outside this package: any callable that Python can import.

`MODULE:CALLABLE` names one of three things, told apart in this order:

1. A class, or a function whose first parameter is called `environment`: it is called once with the `Environment`, and returns a policy.
2. An object with a method `begin`: it is the policy.
3. Any other callable: it is called with each observation, and returns the action.

A policy has `begin(seed)`, called at the start of every episode, and `__call__(observation, step)`, which returns the action. Actions are
`[A]` in [-1, 1]. An episode must depend on nothing before it: the global generators of `random`, NumPy and PyTorch are seeded at its
start, and what else a policy remembers is for its `begin` to forget.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import os
import random
import sys
import traceback
from pathlib import Path
from typing import Any

import numpy as np

from ..data.errors import WarmloopError
from ..data.transition import PyTree
from .environment import Environment
from .matches import near_matches
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
                f"{self._name} gave the action {action} at step {step}; every number must be finite and in [-1, 1], which are the "
                "environment's bounds. Scale or clip it."
            )
        return np.clip(action, -1.0, 1.0)


def outside_policy(name: str, environment: Environment) -> Policy:
    """The policy that `name`, `MODULE:CALLABLE`, stands for; the module is found from the working directory too.

    Raises:
        WarmloopError: there is no such module or name, importing or making it failed, or it is no policy.
    """
    found = _imported(name)
    if _is_factory(found):
        try:
            found = found(environment)
        except WarmloopError:
            raise
        except Exception as error:
            raise WarmloopError(f"{name}, called with the environment, failed: {told(error)}.") from error
        if not (callable(found) and hasattr(found, "begin")):
            raise WarmloopError(f"{name} returned {found!r:.60}; an object with begin(seed) and __call__(observation, step) is needed.")
    if not callable(found):
        raise WarmloopError(f"{name} is {found!r:.60}; a class, a function or an object with begin and __call__ is needed.")
    return OutsidePolicy(name, found, environment)


def source_hash(name: str) -> str:
    """The sha256 of the file that `MODULE:CALLABLE` is imported from; "" where it has none. Raises WarmloopError for no such module."""
    module = name.partition(":")[0]
    _search_working_directory()
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        raise WarmloopError(f'--policy={name}: there is no module "{module}" here or among the installed packages.')
    return hashlib.sha256(Path(spec.origin).read_bytes()).hexdigest() if spec.has_location and spec.origin else ""


def seed_generators(seed: int) -> None:
    """Seeds the global generators of `random`, NumPy and, where it is in use, PyTorch."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(seed)


def told(error: BaseException) -> str:
    """An exception in one phrase: its kind, what it says, and the line that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())}{place}"


def _imported(name: str) -> Any:
    source_hash(name)
    module_name, _, path = name.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
    except Exception as error:
        raise WarmloopError(f"--policy={name}: importing {module_name} failed: {told(error)}.") from error
    for part in path.split("."):
        if not hasattr(found, part):
            raise WarmloopError(f'--policy={name}: there is no "{part}" in {module_name}{near_matches(part, vars(found))}')
        found = getattr(found, part)
    return found


def _is_factory(found: Any) -> bool:
    if inspect.isclass(found):
        return True
    return inspect.isroutine(found) and next(iter(_parameters(found)), "") == "environment"


def _parameters(function: Any) -> list[str]:
    try:
        return list(inspect.signature(function).parameters)
    except ValueError:  # some built-in functions have none
        return []


def _search_working_directory() -> None:
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.append(os.getcwd())  # last, so that its folders hide no package
