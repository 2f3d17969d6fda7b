"""Which of several policies is the best, by a given number of episodes: successive halving (Karnin et al. 2013).

Two thirds of the episodes choose, in rounds of as many episodes each; after every round the worse half of the policies is out. All that
are left play the same starts, so that luck with a start does not decide. What is left of the budget, at least a third, is
played afresh by the chosen one alone: only these episodes say how good it is, since the best of many means is too high.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from ...data.errors import WarmloopError
from ...data.statistics import bootstrap_interval

Play = Callable[[int, int], float]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What the episodes showed.

    Attributes:
        chosen: the arm that was left.
        plays: for every arm, its values while choosing, in the order of the starts.
        first_round: episodes of each arm in the first round, in which all took part.
        fresh: values of the chosen arm's own episodes, on which nothing was chosen.
    """

    chosen: int
    plays: list[np.ndarray]
    first_round: int
    fresh: np.ndarray

    @property
    def mean(self) -> float:
        """Of the fresh episodes."""
        return float(self.fresh.mean())

    @property
    def interval(self) -> tuple[float, float]:
        """Its 95 % bootstrap interval."""
        return bootstrap_interval(self.fresh)

    @property
    def first_means(self) -> np.ndarray:
        """`[A]` every arm's mean over the first round: as many episodes, from the same starts, for all."""
        return np.array([values[: self.first_round].mean() if self.first_round else np.nan for values in self.plays])


def rounds(arms: int, episodes: int) -> list[tuple[int, int]]:
    """The rounds as (arms that play, episodes of each); the rest of `episodes` is for the chosen one.

    Raises:
        WarmloopError: there is not one episode for every arm in every round, or fewer than 2 would be left.
    """
    count = math.ceil(math.log2(arms)) if arms > 1 else 0
    least = max(math.ceil(1.5 * arms * count), 2)
    if episodes < least:
        raise WarmloopError(f"To choose among {arms} checkpoints takes at least {least} episodes, and {episodes} were given.")
    playing = [math.ceil(arms / 2**number) for number in range(count)]
    return [(left, max(2 * episodes // (3 * count) // left, 1)) for left in playing]


def halving(arms: int, episodes: int, choose: Play, fresh: Play) -> Outcome:
    """Plays exactly `episodes` episodes.

    Args:
        arms: policies to choose among, the one expected to be the best first: it wins ties.
        choose, fresh: `(arm, number) -> value` of the episode of a number; the two must never share a start.

    Raises:
        WarmloopError: the episodes are too few.
    """
    plan = rounds(arms, episodes)
    plays: list[list[float]] = [[] for _ in range(arms)]
    left, number = list(range(arms)), 0
    for playing, each in plan:
        for start in range(number, number + each):
            for arm in left:
                plays[arm].append(choose(arm, start))
        number += each
        means = np.array([np.mean(plays[arm]) for arm in left])
        keep = np.argsort(-means, kind="stable")[: math.ceil(playing / 2)]
        left = [left[index] for index in sorted(keep)]
    spent = sum(map(len, plays))
    values = np.array([fresh(left[0], start) for start in range(episodes - spent)])
    return Outcome(left[0], [np.array(values) for values in plays], plan[0][1] if plan else 0, values)
