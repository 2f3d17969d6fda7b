"""How much a row of recorded data counts: by the kind of its source, and whether its episode succeeded."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from .episode import Episode
from .errors import WarmloopError
from .transition import Source


@dataclasses.dataclass(frozen=True)
class QualityConfig:
    """Weights of rows, and of the parts of an episode's score.

    Attributes:
        demos, suboptimal, random, interventions: weight of a row by its source.
        success_bonus: factor on the rows of a successful episode.
        success_weight, return_weight, length_weight: parts of an episode's score; they are divided by their sum.
    """

    demos: float = 2.0
    suboptimal: float = 1.0
    random: float = 0.5
    interventions: float = 2.0
    success_bonus: float = 1.5
    success_weight: float = 0.5
    return_weight: float = 0.3
    length_weight: float = 0.2

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not (np.isfinite(value) and value >= 0):
                raise WarmloopError(f"quality.{field.name} is {value}; it must be a number of at least 0.")
        if self.success_weight + self.return_weight + self.length_weight == 0:
            raise WarmloopError("quality.success_weight, return_weight and length_weight are all 0; one of them must not be.")


def score_episodes(episodes: Sequence[Episode], config: QualityConfig) -> np.ndarray:
    """Scores `[E]` in [0, 1]: the weighted mean of success (0 or 1), the return's percentile among these episodes (ties share
    one), and length efficiency (shortest success over own length; 0 for failures)."""
    success = np.array([episode.succeeded for episode in episodes], np.float64)
    returns = np.array([episode.undiscounted_return for episode in episodes])
    lengths = np.array([len(episode) for episode in episodes], np.float64)
    below = (returns[None, :] < returns[:, None]).sum(axis=1)
    equal = (returns[None, :] == returns[:, None]).sum(axis=1)
    percentile = (below + 0.5 * equal) / max(len(episodes), 1)
    shortest = lengths[success > 0].min() if success.any() else 1.0
    efficiency = np.where(success > 0, shortest / np.maximum(lengths, 1.0), 0.0)
    weights = np.array([config.success_weight, config.return_weight, config.length_weight])
    return weights @ np.stack([success, percentile, efficiency]) / weights.sum()


def weigh(episodes: Sequence[Episode], config: QualityConfig) -> list[Episode]:
    """The episodes with every row's `quality` set: its source's weight, times the bonus where the episode succeeded."""
    by_source = {
        Source.DEMOS: config.demos,
        Source.SUBOPTIMAL: config.suboptimal,
        Source.RANDOM: config.random,
        Source.ONLINE: config.suboptimal,
        Source.INTERVENTION: config.interventions,
    }
    weighed = []
    for episode in episodes:
        quality = np.where(episode.steps.intervened, config.interventions, by_source[episode.source])
        quality = quality * (config.success_bonus if episode.succeeded else 1.0)
        weighed.append(dataclasses.replace(episode, steps=episode.steps.replace(quality=quality.astype(np.float32))))
    return weighed
