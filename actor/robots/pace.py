"""A steady rate of control."""

from __future__ import annotations

import time
from collections.abc import Callable


class Pace:
    """A beat of `hz`. A step that comes too late for its beat shifts those after it, so that no step is shorter than the period."""

    def __init__(self, hz: float, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep):
        self.period, self._clock, self._sleep = 1.0 / hz, clock, sleep
        self._next = self._clock()

    def restart(self) -> None:
        """The next beat is a period from now."""
        self._next = self._clock() + self.period

    def wait(self) -> bool:
        """Sleeps until the next beat. True where it was over already."""
        left = self._next - self._clock()
        if left > 0:
            self._sleep(left)
        self._next = max(self._next, self._clock()) + self.period if left < 0 else self._next + self.period
        return left < 0
