"""The exceptions that commands turn into a sentence and an exit code."""

from __future__ import annotations

from typing import Any


class WarmloopError(Exception):
    """A mistake in the input, told to the person who made it: what is wrong, where, what to do.

    Attributes:
        exit_code: of a command that it ends.
    """

    exit_code = 2


class NonFiniteActionError(WarmloopError):
    """An action that is not a number, or is infinite: the policy that chose it has diverged."""


class EnvironmentFault(WarmloopError):  # noqa: N818 (a fault is no mistake)
    """An environment broke off an episode: an exception of its own, a value that is not finite, a part of an observation that is missing.

    The next episode may be sound, so a loop may end this one, reset and go on. What is wrong from the first observation on, or in the
    configuration, is a plain WarmloopError: it would not go away.

    Attributes:
        observation: what the environment gave, as it came; None where it gave nothing.
    """

    def __init__(self, message: str, observation: Any = None):
        super().__init__(message)
        self.observation = observation


class EnvironmentGaveOut(WarmloopError):  # noqa: N818
    """An environment cannot go on without a person: too many faults, a step that blocks, a thread that died. It was brought to rest."""

    exit_code = 3
