"""Outcomes of episodes, counted: how many there were, their mean, and an interval of it."""

from __future__ import annotations

import dataclasses
import math

from scipy.special import stdtrit

from ...data.statistics import wilson

LEAST_SPREAD = 0.01  # of a mean return: below that no difference counts, however alike the episodes of a deterministic task are


@dataclasses.dataclass(frozen=True)
class Tally:
    """Successes (1 or 0) or returns of so many episodes, their sum and the sum of their squares."""

    count: int = 0
    total: float = 0.0
    squares: float = 0.0

    @classmethod
    def of(cls, mean: float, count: int = 1, deviation: float = 0.0) -> Tally:
        """Of `count` episodes with this mean and standard deviation."""
        return cls(count, count * mean, count * (mean**2 + deviation**2))

    @classmethod
    def successes(cls, count: int, rate: float) -> Tally:
        """Of `count` episodes of which this share succeeded."""
        total = float(round(rate * count))
        return cls(count, total, total)

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.count + other.count, self.total + other.total, self.squares + other.squares)

    @property
    def mean(self) -> float:
        return self.total / self.count if self.count else math.nan

    @property
    def variance(self) -> float:
        """Of one episode's outcome, without bias; 0 of a single one."""
        return max(self.squares - self.count * self.mean**2, 0.0) / (self.count - 1) if self.count > 1 else 0.0

    def interval(self, level: float, success: bool, variance: float = 0.0) -> tuple[float, float]:
        """The two-sided interval of the mean: Wilson's of a success rate, Student's of returns, whose variance is at least `variance`.
        Infinite where too few were counted."""
        if self.count < (1 if success else 2):
            return -math.inf, math.inf
        if success:
            return wilson(int(self.total), self.count, level)
        spread = max(math.sqrt(max(self.variance, variance)), LEAST_SPREAD * abs(self.mean))
        reach = float(stdtrit(self.count - 1, 0.5 + level / 2)) * spread / math.sqrt(self.count)
        return self.mean - reach, self.mean + reach
