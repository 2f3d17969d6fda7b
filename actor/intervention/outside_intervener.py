"""Interveners from outside this package: `--intervention=MODULE:NAME` names one of three things, told apart in this order.

1. A class, or a function whose first parameter is called `environment`: it is called once with the `Environment`, and the options of the
   flag by their names; it returns the intervener.
2. An object with a method `begin`: it is the intervener.
3. Any other callable: it is called as `f(observation, action, step)`.

An intervener has `__call__(observation, action, step)`, which returns None while the policy acts, the action `[A]` in [-1, 1] to take in
its place, or a `Command`, which can also end the episode by a `Signal`. It may have `ready()`, called before every reset, `begin(seed)`,
called after it, and `close()`. All of them return at once: a device is read on a thread of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ...data.doors.borrowed import is_theirs
from ...data.doors.imports import told
from ...data.errors import EnvironmentFault, WarmloopError
from ...data.transition import PyTree
from ..doors import INTERVENER as DOOR
from ..doors import INTERVENTION_FLAG as WHERE
from ..environment.environment import Environment
from ..policies.outside import TOLERANCE, is_factory
from .intervention import Command, Signal


class OutsideIntervener:
    """An intervener whose every answer is checked. What it raises once it has worked is a fault, as of a device that was unplugged."""

    def __init__(self, name: str, intervener: Any, environment: Environment):
        self._name, self._intervener, self._environment, self._worked = name, intervener, environment, False

    def ready(self) -> None:
        self._optional("ready")

    def begin(self, seed: int) -> None:
        self._optional("begin", seed)

    def close(self) -> None:
        self._optional("close")

    def __call__(self, observation: PyTree, action: np.ndarray, step: int) -> Command:
        answer = self._called(self._intervener, observation, action, step)
        command = answer if isinstance(answer, Command) else Command(answer)
        if command.signal is not None and not isinstance(command.signal, Signal):
            raise WarmloopError(f"{self._name} gave the signal {command.signal!r:.60} at step {step}; a Signal, or None, is needed.")
        if command.action is not None:
            command = command._replace(action=self._checked(command.action, step))
        self._worked = True
        return command

    def _checked(self, given: Any, step: int) -> np.ndarray:
        expected = (self._environment.spec.action_dim,)
        try:
            action = np.asarray(given, np.float32)
        except (TypeError, ValueError):
            action = np.zeros(0, np.float32)
        if action.shape != expected or not (np.abs(action) <= 1.0 + TOLERANCE).all():  # NaN is not either
            raise WarmloopError(
                f"{self._name} gave {given!r:.80} at step {step}; return None, a Command, or an action of shape {expected} with every "
                "number finite and in [-1, 1], where -1 and 1 stand for the limits of the environment's action space."
            )
        return np.clip(action, -1.0, 1.0)

    def _optional(self, method: str, *arguments: Any) -> None:
        if hasattr(self._intervener, method):
            self._called(getattr(self._intervener, method), *arguments)

    def _called(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except WarmloopError:
            raise
        except BaseException as error:
            if not is_theirs(error):
                raise
            kind = EnvironmentFault if self._worked else WarmloopError
            raise kind(f"The intervention {self._name} failed: {told(error)}.") from error


def outside_intervener(name: str, environment: Environment, options: Mapping[str, Any]) -> OutsideIntervener:
    """The intervener that `name`, `MODULE:NAME`, stands for.

    Raises:
        WarmloopError: there is no such module or name, importing or making it failed, or it is no intervener.
    """
    found = DOOR.open(name, WHERE)
    if is_factory(found):
        factory = found
        found = DOOR.call(name, WHERE, "called with the environment", lambda: factory(environment, **options))
    elif options:
        raise WarmloopError(f"{name} takes no options; a class, or a function whose first parameter is called environment, can.")
    if not callable(found):
        raise DOOR.refused(name, WHERE, found)
    return OutsideIntervener(name, found, environment)
