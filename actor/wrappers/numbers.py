"""Which of an action's numbers a wrapper is about."""

from __future__ import annotations

import re
from typing import Protocol, TypeVar

import gymnasium as gym

from ...data.errors import WarmloopError


class OfNumbers(Protocol):
    """A wrapper that is about some of an action's numbers, counted from 0."""

    numbers: range


Kind = TypeVar("Kind", bound=OfNumbers)


def parsed(wrapper: str, text: str, dimensions: int) -> range:
    """The numbers of `FROM:TO`, TO not among them, of an action of so many. Raises WarmloopError where it is none, or has others."""
    matched = re.fullmatch(r"(\d+):(\d+)", text)
    numbers = range(int(matched[1]), int(matched[2])) if matched else range(0)
    if not numbers or numbers.stop > dimensions:
        raise WarmloopError(
            f"The wrapper {wrapper} has numbers={text}; it must be FROM:TO, of an action's {dimensions} numbers from 0 on, as in 0:6."
        )
    return numbers


def alone(made: Kind, env: gym.Env, wrapper: str, remedy: str) -> list[Kind]:
    """The wrappers in `env` of the same kind as `made`. Raises WarmloopError where one of them is about the same numbers."""
    others = list[Kind]()
    while isinstance(env, gym.Wrapper):
        if isinstance(env, type(made)):
            others.append(env)
        env = env.env
    for other in others:
        if both := sorted({*other.numbers} & {*made.numbers}):
            shared = f"number {both[0]}" if len(both) == 1 else f"numbers {both[0]} to {both[-1]}"
            raise WarmloopError(f"Two wrappers {wrapper} are about {shared} of the action; give each its own, {remedy}.")
    return others
