"""A scripted teacher: takes over from a policy that does not get on, as a person would, and hands back.

The rule is decided by the episode alone: whoever acts by the same weights from the same seed is taught the same.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable

import numpy as np

from ...data.errors import WarmloopError
from ...data.transition import PyTree
from ..policies.policy import Policy
from .intervention import Command


@dataclasses.dataclass(frozen=True)
class TakeoverRule:
    """When a teacher takes over and for how long.

    Attributes:
        patience: steps over which it is judged whether the episode is stuck.
        hold: steps for which the teacher acts at least; 0 for the rest of the episode.
        gain: by how much a measure of progress must exceed its best to count.
        threshold: where nothing measures progress, the root-mean-square difference of two actions, in [-1, 1], that is too much.
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

    The episode is stuck where its measure of progress has not gained for `patience` steps or, without a measure, where the policy's
    actions have differed from the expert's by more than `threshold` in the mean of `patience` steps. Then the expert acts, for `hold`
    steps and for as long as the episode is stuck. The policy has the same patience after it.

    Args:
        expert: acts while the teacher does.
        rule: when to take over.
        progress: the measure, `observation -> float`, more is better; the expert's own method `progress` where it has one. With it the
            expert is asked only while it acts, and begins anew at every takeover, so it must see by the observation what is to be done.
    """

    def __init__(self, expert: Policy, rule: TakeoverRule | None = None, progress: Callable[[PyTree], float] | None = None):
        self._expert, self._rule = expert, rule or TakeoverRule()
        self._progress = progress or getattr(expert, "progress", None)
        self._differences: deque[float] = deque(maxlen=self._rule.patience)

    def begin(self, seed: int) -> None:
        self._seed, self._best, self._held = seed, -np.inf, 0
        self._be_patient()
        self._expert.begin(seed)

    def __call__(self, observation: PyTree, action: np.ndarray, step: int) -> Command:
        hold = self._rule.hold
        wanted = None if self._progress else self._expert(observation, step)
        stuck = self._stalls(observation) if wanted is None else self._differs(action, wanted)
        if not (stuck or (self._held and (self._held < hold or hold == 0))):
            if self._held:
                self._held = 0
                self._be_patient()
            return Command()
        if wanted is None and not self._held:
            self._expert.begin(self._seed)
        self._held += 1
        return Command(self._expert(observation, step) if wanted is None else wanted)

    def close(self) -> None:
        """Nothing is held."""

    def _be_patient(self) -> None:
        self._without_gain = 0
        self._differences.clear()

    def _stalls(self, observation: PyTree) -> bool:
        assert self._progress is not None
        value = float(self._progress(observation))
        gains = value > self._best + self._rule.gain
        self._best = value if gains else self._best
        self._without_gain = 0 if gains else self._without_gain + 1
        return self._without_gain >= self._rule.patience

    def _differs(self, action: np.ndarray, wanted: np.ndarray) -> bool:
        self._differences.append(float(np.sqrt(np.mean(np.square(np.asarray(action) - wanted)))))
        return len(self._differences) == self._rule.patience and float(np.mean(self._differences)) > self._rule.threshold
