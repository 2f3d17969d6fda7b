"""Numbers that change from episode to episode, as a flag says them: one number, a line, or several in turn."""

from __future__ import annotations

import dataclasses
import math

from ...data.errors import WarmloopError


@dataclasses.dataclass(frozen=True)
class Schedule:
    """One number per episode.

    Attributes:
        text: as it was written.
        values: the number, the two ends of the line, or those that take turns.
    """

    text: str
    values: tuple[float, ...]

    @classmethod
    def parse(cls, name: str, text: str, least: float = 0.0, below: float = math.inf) -> Schedule:
        """The schedule that `text` writes: `0.3`, `0.5:0.1` (evenly from the first episode to the last) or `0,0.3,0.6` (in turn).

        Raises:
            WarmloopError: it is none of these, or a number is not in [least, below); `name` is how the sentence calls it.
        """
        parts = text.split(":") if text.count(":") == 1 and "," not in text else text.split(",")
        try:
            values = tuple(float(part) for part in parts)
        except ValueError:
            raise WarmloopError(
                f'{name} is "{text}"; write one number, two as 0.5:0.1 (from the first episode to the last), '
                "or several as 0,0.3,0.6 (in turn)."
            ) from None
        if not all(least <= value < below for value in values):
            limits = f"at least {least:g}" + (f" and below {below:g}" if below < math.inf else " and finite")
            raise WarmloopError(f'{name} is "{text}"; every number must be {limits}.')
        return cls(text, values)

    def at(self, number: int, episodes: int) -> float:
        """The value of episode `number` of a set of `episodes`; further ones begin the schedule again."""
        if ":" not in self.text:
            return self.values[number % len(self.values)]
        first, last = self.values
        return first + (last - first) * (number % episodes) / max(1, episodes - 1)
