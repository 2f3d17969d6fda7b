"""How much a row of recorded data counts: by the kind of its source, and by how well its episode went."""

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
        demos, suboptimal, random, interventions: weight of a row by its source; rows from live environments weigh 1.
        success_bonus: factor on the rows of a successful episode.
        score_share: how much of a row's weight hangs on its episode's score, in [0, 1]: the factor `1 - share + share · score`.
        success_weight, return_weight, length_weight: parts of an episode's score; they are divided by their sum.
    """

    demos: float = 2.0
    suboptimal: float = 1.0
    random: float = 0.5
    interventions: float = 2.0
    success_bonus: float = 1.5
    score_share: float = 0.0
    success_weight: float = 0.5
    return_weight: float = 0.3
    length_weight: float = 0.2

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not (np.isfinite(value) and value >= 0):
                raise WarmloopError(f"quality.{field.name} is {value}; it must be a number of at least 0.")
        if self.score_share > 1:
            raise WarmloopError(f"quality.score_share is {self.score_share}; it must lie in [0, 1].")
        if self.success_weight + self.return_weight + self.length_weight == 0:
            raise WarmloopError("quality.success_weight, return_weight and length_weight are all 0; one of them must not be.")


def score_episodes(episodes: Sequence[Episode], config: QualityConfig) -> np.ndarray:
    """Scores `[E]` in [0, 1]: the weighted mean of success (0 or 1), the return's percentile among these episodes, and length
    efficiency (the shortest way to a success over this one's; 0 for failures)."""
    success = np.array([episode.succeeded for episode in episodes], bool)
    returns = np.array([episode.undiscounted_return for episode in episodes])
    return score(success, returns, np.array([steps_to_success(episode) for episode in episodes]), config)


def score(success: np.ndarray, returns: np.ndarray, steps: np.ndarray, config: QualityConfig) -> np.ndarray:
    """As `score_episodes`, from each episode's success, return and steps to its success, `[E]` each."""
    steps = np.asarray(steps, np.float64)
    shortest = steps[success].min(initial=np.inf)
    efficiency = np.divide(shortest, steps, out=np.zeros(len(steps)), where=success)
    weights = np.array([config.success_weight, config.return_weight, config.length_weight])
    return weights @ np.stack([success, percentiles(returns), efficiency]) / weights.sum()


def weigh(episodes: Sequence[Episode], config: QualityConfig) -> list[Episode]:
    """The episodes with every row's `quality`, which is 1 unless the data say otherwise, multiplied by its source's weight, times the
    bonus where the episode succeeded, times the score's factor. A row on which a human intervened weighs as an intervention, whatever
    its source."""
    scores = score_episodes(episodes, config)
    return [_weighed(episode, score, config) for episode, score in zip(episodes, scores, strict=True)]


def percentiles(values: np.ndarray) -> np.ndarray:
    """`[n]` in [0, 1]: the share of the other values below each, equal ones counting half; 0.5 for one alone."""
    ordered = np.sort(values)
    below, upto = np.searchsorted(ordered, values, "left"), np.searchsorted(ordered, values, "right")
    others = len(values) - 1
    return (below + upto - 1) / (2 * others) if others > 0 else np.full(len(values), 0.5)


def steps_to_success(episode: Episode) -> int:
    """Steps up to and including the whole episode's first success; the whole length where none is recorded."""
    success = episode.outcome.success
    return int(np.argmax(success)) + 1 if success is not None and success.any() else len(episode.outcome)


def _weighed(episode: Episode, score: float, config: QualityConfig) -> Episode:
    by_source = np.ones(len(Source))
    by_source[Source.DEMOS] = config.demos
    by_source[Source.SUBOPTIMAL] = config.suboptimal
    by_source[Source.RANDOM] = config.random
    by_source[Source.INTERVENTION] = config.interventions
    steps = episode.steps
    weight = np.where(steps.intervened, config.interventions, by_source[np.asarray(steps.source)])
    factor = (config.success_bonus if episode.succeeded else 1.0) * (1.0 - config.score_share + config.score_share * score)
    return dataclasses.replace(episode, steps=steps.replace(quality=(steps.quality * weight * factor).astype(np.float32)))
