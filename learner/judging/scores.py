"""Scores of several runs as one figure with an interval, and returns on the scale that published results use."""

from __future__ import annotations

import re

import numpy as np

# Returns of a random and of an expert policy by environment, as D4RL scales them (Fu et al. 2020).
REFERENCES = {
    "hopper": (-20.272305, 3234.3),
    "walker2d": (1.629008, 4592.3),
    "halfcheetah": (-280.178953, 12135.0),
    "pen": (96.262799, 3076.8331),
    "door": (-56.512833, 2880.5693),
    "hammer": (-274.856578, 12794.1348),
    "relocate": (-6.425911, 4233.8778),
}


def normalised(environment_id: str, mean_return: float) -> float | None:
    """The return on D4RL's scale, 0 for a random and 100 for an expert policy; None for an environment that it does not have."""
    name = re.sub(r"^AdroitHand|-v\d+$", "", environment_id).lower()
    if name not in REFERENCES:
        return None
    low, high = REFERENCES[name]
    return 100 * (mean_return - low) / (high - low)


def interquartile_mean(scores: np.ndarray) -> float:
    """Mean of the middle half of `[runs, tasks]` scores (Agarwal et al. 2021); of fewer than four the mean of all."""
    ordered = np.sort(np.ravel(scores))
    cut = len(ordered) // 4
    return float(ordered[cut : len(ordered) - cut].mean())


def interval(scores: np.ndarray, samples: int = 5_000, seed: int = 0) -> tuple[float, float]:
    """95 % interval of the interquartile mean of `[runs, tasks]` scores, by a bootstrap over runs within each task."""
    scores = np.asarray(scores, np.float64)
    runs, tasks = scores.shape
    drawn = np.random.default_rng(seed).integers(0, runs, (samples, runs, tasks))
    means = [interquartile_mean(scores[chosen, np.arange(tasks)]) for chosen in drawn]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)
