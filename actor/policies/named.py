"""Policies by their names, for those who may not know where all kinds of them are kept.

A checkpoint is read by the learner's rooms, which the actor's do not import. So the commands say how a name is found.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...data.errors import WarmloopError

# `(name, deterministic)` to what makes the policy, given the `Environment` that it acts in.
Finder = Callable[[str, bool], Callable[[Any], Any]]
_finders = list[Finder]()


def found_by(finder: Finder) -> None:
    """From now on `finder` finds policies by their names."""
    _finders[:] = [finder]


def find_policy(name: str, deterministic: bool) -> Callable[[Any], Any]:
    """What makes the policy `name`, given the `Environment` that it acts in; by its mode where it samples and is to be `deterministic`.

    Raises:
        WarmloopError: there is none of that name.
    """
    if not _finders:
        raise WarmloopError(f'Nobody knows the policy "{name}" yet: import warmloop.launch.flags.choices, as the commands do.')
    return _finders[0](name, deterministic)
