"""Small statistics of evaluations, mostly SciPy's: intervals for a mean and a share, and how well one ranking predicts another.

`scipy.stats` takes up to a second to import, so it is imported by what needs it.
"""

from __future__ import annotations

import math
import warnings
from statistics import NormalDist

import numpy as np


def bootstrap_interval(values: np.ndarray, level: float = 0.95, resamples: int = 10_000, seed: int = 0) -> tuple[float, float]:
    """The percentile bootstrap's interval of the mean of `values` `[N]` (Efron 1979); a point where all are equal."""
    from scipy import stats

    values = np.asarray(values, np.float64)
    if np.ptp(values) == 0:
        return float(values[0]), float(values[0])
    found = stats.bootstrap(
        (values,), np.mean, confidence_level=level, n_resamples=resamples, method="percentile", rng=np.random.default_rng(seed)
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def wilson(successes: int, trials: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a proportion (Wilson 1927), without continuity correction.

    Written out, since it is asked after every training episode: `scipy.stats.binomtest` works out an exact test on the way to it, which
    takes a hundred times as long.
    """
    z = NormalDist().inv_cdf(0.5 + level / 2)
    share, shrink = successes / trials, 1.0 + z * z / trials
    centre = (share + z * z / (2 * trials)) / shrink
    reach = z / shrink * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return max(0.0, centre - reach), min(1.0, centre + reach)


def spearman(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's rank correlation of `[N]` and `[N]`, equal values sharing their mean rank. A pair with a NaN is left out; the
    correlation is NaN where either is constant in those that are left, or fewer than two are."""
    from scipy import stats

    pairs = np.stack([first, second]).astype(np.float64)
    pairs = pairs[:, ~np.isnan(pairs).any(axis=0)]
    if pairs.shape[1] < 2:
        return float("nan")
    with warnings.catch_warnings(category=stats.ConstantInputWarning, action="ignore"):
        return float(stats.spearmanr(*pairs)[0])  # pyright: ignore[reportArgumentType]
