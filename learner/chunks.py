"""How much a compiled call does: about a second's work, so that signals, progress and deadlines wait no longer than that."""

from __future__ import annotations

import time

SECONDS = 1.0
GROWTH = 4  # at most, from one call to the next


class Chunks:
    """How many iterations of a loop each compiled call does: as many as take about a second, by the time that the calls before it took.

    The loop's program takes its number of iterations as an argument, so the results are the same to the bit whatever the calls' lengths.

    Attributes:
        rate: iterations a second of the last call; 0 before the second one, since the first one compiles.
    """

    def __init__(self, most: int = 0):
        self._most, self._next, self._calls, self.rate = most, 1, 0, 0.0
        self._began = time.perf_counter()

    def begin(self, left: int) -> int:
        """How many of the `left` iterations the call does that begins now; at least 1."""
        self._began = time.perf_counter()
        return max(1, min(self._next, left, self._most or left))

    def end(self, count: int) -> None:
        """The call is over, and its results are there."""
        self._calls += 1
        if self._calls == 1:
            return
        self.rate = count / max(time.perf_counter() - self._began, 1e-9)
        self._next = min(max(1, int(SECONDS * self.rate)), GROWTH * self._next)
