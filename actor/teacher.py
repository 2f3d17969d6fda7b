"""A scripted teacher: takes over from a policy that does not get on, as a person would, and hands back.

The rule is decided by the episode alone: whoever acts by the same weights from the same seed is taught the same.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from ..data.errors import WarmloopError
from ..data.transition import PyTree
from .intervention import Command
from .policy import Policy


@dataclasses.dataclass(frozen=True)
class TakeoverRule:
    """When a teacher takes over and for how long.

    Attributes:
        patience: steps in a row without progress (or, where nothing measures it, of disagreement) until it takes over.
        hold: steps for which it acts at least; 0 for the rest of the episode.
        gain: by how much the measure of progress must exceed its best for the policy to have got on, and for the teacher to hand back.
        threshold: root-mean-square difference of two actions from which they disagree; actions are in [-1, 1].
    """

    patience: int = 10
    hold: int = 15
    gain: float = 0.01
    threshold: float = 0.5

    def __post_init__(self):
        if self.patience < 1:
            raise WarmloopError(f"A teacher's patience is {self.patience} steps; it must be at least 1.")
        if self.hold < 0:
            raise WarmloopError(f"A teacher's hold is {self.hold} steps; it must be 0 (the rest of the episode) or more.")
        for name in ("gain", "threshold"):
            if not (np.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise WarmloopError(f"A teacher's {name} is {getattr(self, name)}; it must be a finite number of at least 0.")


class Teacher:
    """An intervener that acts by a policy of its own, the expert.

    The learning policy gets on where the measure of progress exceeds its best or, without one, where the expert would have done much
    the same. After `patience` steps in a row on which it does not, the expert acts: for `hold` steps at least, and until one of them has
    got on.

    Args:
        expert: acts while the teacher does.
        rule: when to take over.
        progress: the measure, `observation -> float`, more is better; the expert's own method `progress` where it has one. With it the
            expert is asked only while it acts, and begins anew at every takeover, so it must see by the observation what is to be done.
    """

    def __init__(self, expert: Policy, rule: TakeoverRule | None = None, progress: Callable[[PyTree], float] | None = None):
        self._expert, self._rule = expert, rule or TakeoverRule()
        self._progress = progress or getattr(expert, "progress", None)
        self._seed = 0

    def begin(self, seed: int) -> None:
        self._seed, self._best, self._stuck, self._held, self._got_on = seed, -np.inf, 0, 0, False
        self._expert.begin(seed)

    def __call__(self, observation: PyTree, action: np.ndarray, step: int) -> Command:
        rule = self._rule
        wanted = None if self._progress else self._expert(observation, step)
        gets_on = self._gains(observation) if wanted is None else self._agree(action, wanted)
        if self._held:
            self._got_on |= gets_on
            if rule.hold and self._held >= rule.hold and self._got_on:
                self._stuck = self._held = 0
                return Command()
        else:
            self._stuck = 0 if gets_on else self._stuck + 1
            if self._stuck < rule.patience:
                return Command()
            self._got_on = False
            if wanted is None:
                self._expert.begin(self._seed)
        self._held += 1
        return Command(self._expert(observation, step) if wanted is None else wanted)

    def close(self) -> None:
        """Nothing is held."""

    def _gains(self, observation: PyTree) -> bool:
        """Whether the episode is further than it was at its best, which then is here."""
        assert self._progress is not None
        value = float(self._progress(observation))
        if not value > self._best + self._rule.gain:
            return False
        self._best = value
        return True

    def _agree(self, action: np.ndarray, wanted: np.ndarray) -> bool:
        return float(np.sqrt(np.mean(np.square(np.asarray(action) - wanted)))) <= self._rule.threshold
