"""What a base policy would have done along recorded episodes: it is asked once for each observation, in order.

Somebody else did the actions, so what the base plans is dropped after each step: each answer is to what was there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Protocol

import jax
import numpy as np

from ..episode import Episode
from ..files.digest import of_episode
from ..transition import BASE, PyTree, beside

LABELLED_BY = "base"  # in the metadata of a file: the base policy whose proposals are in its observations


class Base(Protocol):
    """A base policy as recorded data are shown to it.

    Attributes:
        name: what it is, with a hash where it has one.
        count: N, its proposals for an observation.
    """

    @property
    def name(self) -> str: ...

    @property
    def count(self) -> int: ...

    def begin(self, seed: int, task: str = "") -> None:
        """An episode of this task begins, whose randomness `seed` decides."""
        ...

    def answer(self, observation: PyTree, step: int) -> np.ndarray:
        """Proposals `[N·A]` for an observation without its task's code."""
        ...

    def drop_plan(self, done: np.ndarray) -> None:
        """Somebody else has done the action `done` `[A]`."""
        ...

    def close(self) -> None:
        """Lets go of what it holds, until it begins again."""
        ...


def is_labelled(episode: Episode) -> bool:
    """Whether an episode's observations have a base policy's proposals."""
    return isinstance(episode.steps.observation, dict) and BASE in episode.steps.observation


def labelled(episodes: Sequence[Episode], base: Base, advance: Callable[[], object] = lambda: None) -> list[Episode]:
    """The episodes with the base's proposals in their observations, as those that have them stay; `advance` is called after each."""
    found = []
    for episode in episodes:
        found.append(episode if is_labelled(episode) else _labelled(episode, base))
        advance()
    return found


def _labelled(episode: Episode, base: Base) -> Episode:
    steps, count = episode.steps, len(episode)
    base.begin(int(of_episode(episode)[:7], 16), episode.task)

    def answer(observations: PyTree, row: int, step: int) -> np.ndarray:
        proposals = base.answer(jax.tree.map(lambda leaf: leaf[row], observations), step)
        base.drop_plan(steps.action[row])
        return proposals

    follows = _follows(steps.observation, steps.next_observation)
    here, after = [], []
    for row in range(count):
        here.append(answer(steps.observation, row, row))
        if row == count - 1 or not follows[row]:
            after.append(answer(steps.next_observation, row, row + 1))
        else:
            after.append(None)
    after = [here[row + 1] if proposals is None else proposals for row, proposals in enumerate(after)]
    observation, following = beside(steps.observation, np.stack(here)), beside(steps.next_observation, np.stack(after))
    return dataclasses.replace(episode, steps=steps.replace(observation=observation, next_observation=following))


def _follows(observation: PyTree, following: PyTree) -> np.ndarray:
    """Whether the observation behind each row but the last is the one of the next row."""
    pairs = zip(jax.tree.leaves(observation), jax.tree.leaves(following), strict=True)
    return np.logical_and.reduce([(here[1:] == after[:-1]).all(axis=tuple(range(1, here.ndim))) for here, after in pairs])
