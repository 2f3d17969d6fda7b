"""What an actor says of its episodes: a line for each, or, where they are shorter than a moment, one for all of that moment."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

LEAST_SECONDS = 2.0  # between two lines


class Ended(NamedTuple):
    """A training episode: its number, outcome, the environment's return, steps, takeovers, steps of these, the version that acted (-1:
    none did alone), and seconds."""

    number: int
    success: bool
    total: float
    steps: int
    takeovers: int
    by_hand: int
    version: int
    seconds: float


class EpisodeLines:
    """Says each episode of `actor` that ends, at most one line every `seconds`; `flush` says what is left."""

    def __init__(self, log: logging.Logger, actor: str, seconds: float = LEAST_SECONDS, clock: Callable[[], float] = time.monotonic):
        self._log, self._actor, self._seconds, self._clock = log, actor, seconds, clock
        self._next, self._waiting = float("-inf"), list[Ended]()

    def ended(self, episode: Ended) -> None:
        """One more has ended."""
        self._waiting.append(episode)
        if self._clock() >= self._next:
            self.flush()

    def evaluated(self, steps: int, scalars: Mapping[str, float], version: int, seconds: float) -> None:
        """Says an evaluation after so many environment steps, by its scalars."""
        self.flush()
        count, rate = int(scalars["evaluation/episodes"]), scalars["evaluation/success_rate"]
        self._log.info(
            "%s evaluation after %d steps: %d of %d succeeded (%.2f to %.2f), mean return %.4g, policy %d, %.1f s",
            self._actor, steps, round(rate * count), count, scalars["evaluation/success_low"], scalars["evaluation/success_high"],
            scalars["evaluation/episode_return"], version, seconds,
        )  # fmt: skip

    def flush(self) -> None:
        """Says what has not been said."""
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            self._log.info("%s %s", self._actor, _one(waiting[0]) if len(waiting) == 1 else _several(waiting))
            self._next = self._clock() + self._seconds


def _one(one: Ended) -> str:
    outcome = "success" if one.success else "no success"
    return f"episode {one.number}: {outcome}, return {one.total:.4g}, {one.steps} steps, {_rest([one])}, {one.seconds:.1f} s"


def _several(all_: list[Ended]) -> str:
    count, won = len(all_), sum(one.success for one in all_)
    numbers = [one.number for one in all_]  # of several environments, in the order in which they ended
    mean, steps = sum(one.total for one in all_) / count, sum(one.steps for one in all_) / count
    return (
        f"episodes {min(numbers)} to {max(numbers)}: {won} of {count} succeeded, mean return {mean:.4g}, "
        f"{steps:.0f} steps on average, {_rest(all_)}, {sum(one.seconds for one in all_):.1f} s"
    )


def _rest(all_: list[Ended]) -> str:
    """Who acted: takeovers, where there were any, and the newest policy."""
    begun, by_hand, steps = (sum(numbers) for numbers in zip(*((one.takeovers, one.by_hand, one.steps) for one in all_), strict=True))
    hand = f"{begun} intervention{'' if begun == 1 else 's'} ({100 * by_hand / max(steps, 1):.0f} % of the steps), " if by_hand else ""
    version = all_[-1].version
    return hand + (f"policy {version}" if version >= 0 else "random actions")
