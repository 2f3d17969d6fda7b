"""Small statistics of evaluations: intervals for a mean and a share, and how well one ranking predicts another."""

from __future__ import annotations

import math

import numpy as np


def bootstrap_interval(values: np.ndarray, level: float = 0.95, resamples: int = 10_000, seed: int = 0) -> tuple[float, float]:
    """The percentile bootstrap's interval of the mean of `values` `[N]` (Efron 1979); a point where all are equal."""
    values = np.asarray(values, np.float64)
    drawn = np.random.default_rng(seed).integers(len(values), size=(resamples, len(values)))
    low, high = np.quantile(values[drawn].mean(axis=1), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def wilson(successes: int, trials: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's score interval of a proportion (Wilson 1927); `z` 1.96 gives 95 %."""
    share, shrink = successes / trials, 1.0 + z * z / trials
    centre = (share + z * z / (2 * trials)) / shrink
    reach = z / shrink * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return max(0.0, centre - reach), min(1.0, centre + reach)


def spearman(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's rank correlation of `[N]` and `[N]`, equal values sharing their mean rank. A pair with a NaN is left out; the
    correlation is NaN where either is constant in those that are left, or fewer than two are."""
    pairs = np.stack([first, second]).astype(np.float64)
    pairs = pairs[:, ~np.isnan(pairs).any(axis=0)]
    if pairs.shape[1] < 2:
        return float("nan")
    ranks = np.stack([_ranks(values) for values in pairs])
    centred = ranks - ranks.mean(axis=1, keepdims=True)
    spread = np.sqrt(np.square(centred).sum(axis=1).prod())
    return float(centred[0] @ centred[1] / spread) if spread > 0 else float("nan")


def _ranks(values: np.ndarray) -> np.ndarray:
    ordered = np.sort(values)
    return (np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right") - 1) / 2
