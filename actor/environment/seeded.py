"""Whether a seed decides how a simulator's episode begins: told by episodes whose seed comes again, as those of evaluations do."""

from __future__ import annotations

import numpy as np

from ...data.running.said import say_once
from ...data.transition import PyTree

MOST_SEEDS = 256
MOST_NUMBERS = 4096  # of an observation that is remembered
ALIKE = 1e-3  # of an observation's largest number: what parallel sums may differ by


class Seeded:
    """The first observations `name`'s episodes began with, by their seeds."""

    def __init__(self, name: str):
        self._name, self._first = name, dict[int, np.ndarray]()

    def began(self, seed: int, observation: PyTree) -> None:
        """Takes in how an episode began, and says once where another one of that seed began elsewhere; pictures do not count."""
        parts = observation.values() if isinstance(observation, dict) else [observation]
        numbers = [np.ravel(part) for part in parts if part.dtype.kind == "f"]
        if not numbers or sum(map(len, numbers)) > MOST_NUMBERS:
            return
        now = np.concatenate(numbers)
        before = self._first.get(seed)
        if before is None:
            if len(self._first) < MOST_SEEDS:
                self._first[seed] = now
        elif not np.allclose(before, now, rtol=0.0, atol=ALIKE * max(float(np.abs(before).max()), 1e-6)):
            say_once(
                f'Environment "{self._name}": two episodes of one seed began differently, so a seed does not decide them, runs do not '
                "repeat, and evaluations differ by their starts. See that every reset passes it on, as super().reset(seed=seed) and "
                "self.env.reset(seed=seed, options=options) do."
            )
