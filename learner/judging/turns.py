"""Whose the next training episode is, where the best policy and the trained one take turns (`keep_best=act`): Thompson sampling.

Before each episode a rate of success is drawn for the best policy from what is known of it, Beta(1 + successes, 1 + failures); it acts
where that is more than is likely of the trained one, its mean and SURE standard deviations: that one learns, and is given the benefit of
the doubt (optimistic sampling, May et al. 2012). So a warm policy, which is the best one at first, has most of the episodes as long as
the trained one succeeds less often, and no longer. One episode in TURNS at least is the trained one's, since what was known of it ages.
"""

from __future__ import annotations

import dataclasses
import math
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np

from .tally import Tally

TURNS = 3  # the best policy never has so many training episodes one after another
SURE = 0.84  # standard errors by which a policy must be ahead for it to act, or to become the best one: odds of four to one


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What is known of policies by their episodes: rates of success, or mean returns."""

    success: bool

    def known(self, tally: Tally) -> tuple[float, float]:
        """A rate of success and its standard deviation (Beta's), or a mean return and its standard error: infinite of fewer than two."""
        if self.success:
            mean = (1 + tally.total) / (2 + tally.count)
            return mean, math.sqrt(mean * (1 - mean) / (3 + tally.count))
        return (tally.mean, math.sqrt(tally.variance / tally.count)) if tally.count > 1 else (0.0, math.inf)

    def drawn(self, rng: np.random.Generator, tally: Tally) -> float:
        """A rate of success, or a mean return, as it may be by these episodes."""
        if self.success:
            return float(rng.beta(1 + tally.total, 1 + tally.count - tally.total))
        mean, error = self.known(tally)
        return mean + error * float(rng.standard_t(tally.count - 1)) if tally.count > 1 else math.inf

    def better(self, one: Tally, other: Tally, sure: float = SURE) -> bool:
        """Whether the first policy does better than the second, by so many standard errors."""
        (mean, error), (least, doubt) = self.known(one), self.known(other)
        return mean - least > sure * math.hypot(error, doubt)


class Turns:
    """Counts the training episodes of both policies, and draws whose the next one is.

    Args:
        comparison: how what is known of the two is compared.
        window: training episodes of the trained policy that are remembered, the newest.
        counted_here: training episodes of the best policy are counted here, since other ones decide which policy is the best.

    Attributes:
        acting: the best policy has the next episode.
        rival: training episodes of the best policy, where they are counted here.
    """

    def __init__(self, comparison: Comparison, window: int, counted_here: bool):
        self.acting, self.rival = False, Tally()
        self._comparison, self._counted_here = comparison, counted_here
        self._probes: deque[Tally] = deque(maxlen=window)  # the newest training episodes of the trained policy
        self._number = self._in_a_row = 0  # training episodes so far, and of the best policy since the last of the trained one

    @property
    def trained(self) -> Tally:
        """The newest training episodes of the trained policy."""
        return sum(self._probes, Tally())

    def ahead(self, best: Tally, sure: float) -> bool:
        """Whether the best policy does better in training episodes than the trained one, by so many standard errors; `best` are the
        episodes by which it is the best one."""
        return self._comparison.better(self._of_best(best), self.trained, sure)

    def take(self, by_best: bool, episode: Tally, best: Tally) -> None:
        """Counts a training episode, and draws whose the next one is; `best` are the episodes by which the best policy is the best one."""
        if not by_best:
            self._probes.append(episode)
        elif self._counted_here:
            self.rival += episode
        self._number, self._in_a_row = self._number + 1, self._in_a_row + 1 if by_best else 0
        rng = np.random.default_rng(self._number)
        mean, error = self._comparison.known(self.trained)
        self.acting = self._comparison.drawn(rng, self._of_best(best)) > mean + SURE * error and self._in_a_row < TURNS - 1

    def another(self) -> None:
        """Another policy is the best one: nothing is known yet of its training episodes."""
        self.rival = Tally()

    def _of_best(self, best: Tally) -> Tally:
        return self.rival if self._counted_here else best

    def state(self) -> dict[str, Any]:
        """In JSON's values; `number` goes into the checkpoint's `counts`."""
        return {
            "rival": [dataclasses.astuple(self.rival)], "probes": [dataclasses.astuple(one) for one in self._probes],
            "number": self._number, "acting": self.acting, "in_a_row": self._in_a_row,
        }  # fmt: skip

    def restore(self, values: Mapping[str, Any], number: int, acting: bool) -> None:
        """Goes on from a checkpoint's values, of which versions before `acting` and `in_a_row` had fewer; `acting` is whether the best
        policy acted where they do not say."""
        (self.rival,), probes = ([Tally(*one) for one in values[name]] for name in ("rival", "probes"))
        self._probes.extend(probes)
        self._number, self._in_a_row = number, values.get("in_a_row", 0)
        self.acting = values.get("acting", acting)
