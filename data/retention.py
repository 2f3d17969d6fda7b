"""Which of the warm-up's data stay for the fine-tuning: the best share, by episode or by transition."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from .episode import Episode
from .errors import WarmloopError
from .quality import QualityConfig, score_episodes
from .transition import take


@dataclasses.dataclass(frozen=True)
class RetentionConfig:
    """What is kept.

    Attributes:
        ratio: share kept, of episodes or of transitions; 0 is WSRL's no retention, 1 is RLPD.
        unit: "episode" or "transition".
        td_weight: how much the rank of |TD error| counts beside the episode's score (which counts 1).
    """

    ratio: float = 0.2
    unit: str = "episode"
    td_weight: float = 0.2

    def __post_init__(self):
        if not 0 <= self.ratio <= 1:
            raise WarmloopError(f"retention.ratio is {self.ratio}; it must lie in [0, 1].")
        if self.unit not in ("episode", "transition"):
            raise WarmloopError(f'retention.unit is "{self.unit}"; it must be "episode" or "transition".')


@dataclasses.dataclass(frozen=True)
class Retained:
    """What was kept of what, for the console."""

    episodes: int
    of_episodes: int
    rows: int
    of_rows: int
    success_rate: float

    def __str__(self) -> str:
        return (
            f"kept {self.episodes} of {self.of_episodes} episodes, {self.rows} of {self.of_rows} steps, "
            f"{100 * self.success_rate:.0f} % of them from successful episodes"
        )


def retain(
    episodes: Sequence[Episode],
    config: RetentionConfig,
    td_error: Sequence[np.ndarray] | None = None,
    quality: QualityConfig | None = None,
) -> tuple[list[Episode], Retained]:
    """The best `config.ratio` of the episodes (rounded up), in their order, and a report; interventions are always kept.

    Args:
        td_error: `[T]` per episode; a surprising row ranks higher.
    """
    scores = score_episodes(episodes, quality or QualityConfig())
    errors = [np.zeros(len(episode)) for episode in episodes] if td_error is None else list(td_error)
    if config.unit == "episode":
        ranked = scores + config.td_weight * _ranks(np.array([error.mean() for error in errors]))
        chosen = _best(ranked, config.ratio)
        kept = [episode for episode, keep in zip(episodes, chosen, strict=True) if keep or episode.steps.intervened.any()]
    else:
        kept = _by_transition(episodes, scores, errors, config)
    rows = sum(map(len, kept))
    successes = sum(len(episode) for episode in kept if episode.succeeded)
    return kept, Retained(len(kept), len(episodes), rows, sum(map(len, episodes)), successes / max(rows, 1))


def _by_transition(episodes: Sequence[Episode], scores: np.ndarray, errors: list[np.ndarray], config: RetentionConfig) -> list[Episode]:
    """Runs of kept steps; a run that does not reach its episode's end is truncated, with the bootstrap kept."""
    lengths = np.array([len(episode) for episode in episodes])
    ranked = np.repeat(scores, lengths) + config.td_weight * _ranks(np.concatenate(errors))
    chosen = np.split(_best(ranked, config.ratio), np.cumsum(lengths)[:-1])
    kept = []
    for episode, mask in zip(episodes, chosen, strict=True):
        index = np.flatnonzero(mask | np.asarray(episode.steps.intervened))
        for run in np.split(index, np.flatnonzero(np.diff(index) != 1) + 1):
            if len(run):
                steps = take(episode.steps, run)
                truncated = steps.truncated.copy()
                truncated[-1] = bool(steps.mask[-1])
                success = None if episode.success is None else episode.success[run]
                kept.append(dataclasses.replace(episode, steps=steps.replace(truncated=truncated), success=success))
    return kept


def _best(scores: np.ndarray, ratio: float) -> np.ndarray:
    """Mask of the `ceil(ratio · n)` highest scores; of equal ones the earlier."""
    count = math.ceil(ratio * len(scores) - 1e-9)
    mask = np.zeros(len(scores), bool)
    mask[np.argsort(-scores, kind="stable")[:count]] = True
    return mask


def _ranks(values: np.ndarray) -> np.ndarray:
    """Percentile of each value, ties sharing the lowest; `[n]` in [0, 1)."""
    return np.searchsorted(np.sort(values), values) / max(len(values), 1)
