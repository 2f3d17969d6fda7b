"""What a reward classifier's scores mean: its temperature, its threshold, and how often it errs on episodes that it never saw."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ...agents.classifiers.classifier import Classifier
from ...data.statistics import wilson

TEMPERATURES = np.geomspace(1.0, 10.0, 47)  # it only ever makes less certain: a few separable frames are no reason for certainty
LEAST, MOST = 0.5, 1 - 1e-6
RESAMPLES, BINS = 1000, 10


class Scores(NamedTuple):
    """Held-out frames.

    Attributes:
        logits: `[M, N]` float64 of the members.
        success: `[N]` bool, what they show.
        episode: `[N]` which episode each is of.
    """

    logits: np.ndarray
    success: np.ndarray
    episode: np.ndarray

    def of(self, rows: np.ndarray) -> Scores:
        return Scores(self.logits[:, rows], self.success[rows], self.episode[rows])

    @property
    def both(self) -> bool:
        """Whether there are frames of success and of failure."""
        return bool(self.success.any() and not self.success.all())


class Calibration(NamedTuple):
    """Temperature and threshold: a frame shows success where p reaches the threshold."""

    temperature: float
    threshold: float


def calibrate(classifier: Classifier, scores: Scores, max_false_positive_rate: float) -> Calibration:
    """The temperature that makes the scores most likely, both kinds of frames weighing the same, and the threshold for the rate."""
    weight = np.where(scores.success, 0.5 / scores.success.sum(), 0.5 / (~scores.success).sum())

    def surprise(temperature: float) -> float:
        p = probability(classifier, scores.logits, temperature)
        return -float(weight @ np.log(np.clip(np.where(scores.success, p, 1 - p), 1e-12, 1)))

    temperature = float(min(TEMPERATURES, key=surprise))
    return Calibration(temperature, threshold(probability(classifier, scores.logits, temperature), scores.success, max_false_positive_rate))


def threshold(p: np.ndarray, success: np.ndarray, max_false_positive_rate: float) -> float:
    """The threshold at which at most that share of the failures `[N]` reach it: in log odds, half way from the highest failure that must
    not to the lowest success above it, and at least a half."""
    failures = np.sort(p[~success])[::-1]
    highest = failures[min(int(max_false_positive_rate * len(failures)), len(failures) - 1)]
    above = p[success & (p > highest)]
    low, high = (float(np.clip(value, 1e-6, MOST)) for value in (highest, above.min() if len(above) else 1.0))
    odds = np.sqrt(low / (1 - low) * high / (1 - high))
    return float(max(LEAST, odds / (1 + odds)))


def probability(classifier: Classifier, logits: np.ndarray, temperature: float) -> np.ndarray:
    """`[N]` of logits `[M, N]`, in double precision."""
    each = 1 / (1 + np.exp(-np.clip(logits / temperature, -60, 60)))
    return each.mean(axis=0) if classifier.config.combine == "mean" else each.min(axis=0)


def decisions(classifier: Classifier, scores: Scores, max_false_positive_rate: float) -> tuple[np.ndarray, bool]:
    """Whether each frame `[N]` is taken for a success by what the other held-out episodes say of temperature and threshold, and whether
    there were enough of them for that; else by what all say together."""
    taken, fair = np.zeros(len(scores.success), bool), True
    for episode in np.unique(scores.episode):
        own = scores.episode == episode
        others = scores.of(~own)
        fair &= others.both
        found = calibrate(classifier, others if others.both else scores, max_false_positive_rate)
        taken[own] = probability(classifier, scores.logits[:, own], found.temperature) >= found.threshold
    return taken, fair


def measured(classifier: Classifier, scores: Scores, max_false_positive_rate: float) -> dict[str, Any]:
    """What is known of a classifier from held-out frames, as JSON: shares as [share, low, high, of how many], with 95 % intervals.

    Those by frame are Wilson's, which takes frames for independent; those by episode need not.
    """
    taken, fair = decisions(classifier, scores, max_false_positive_rate)
    calibration = calibrate(classifier, scores, max_false_positive_rate)
    p, success = probability(classifier, scores.logits, calibration.temperature), scores.success
    before, missed = [], []
    for episode in np.unique(scores.episode):
        own = scores.episode == episode
        before.append(bool((taken & ~success)[own].any()))
        if success[own].any():
            missed.append(not (taken & success)[own].any())
    return {
        "frames": len(success),
        "accuracy": _share(taken == success),
        "false_positive_rate": _share(taken[~success]),
        "false_negative_rate": _share(~taken[success]),
        "auc": [auc(p, success), *auc_interval(p, scores)],
        "calibration_error": calibration_error(p, success),
        "episodes_with_a_false_success": _share(np.array(before)),
        "successful_episodes_missed": _share(np.array(missed)),
        "fair": fair,
    }


def auc(p: np.ndarray, success: np.ndarray) -> float:
    """The share of pairs of a success and a failure in which the success has the higher score; equal ones count half."""
    failures, successes = np.sort(p[~success]), p[success]
    below = np.searchsorted(failures, successes, "left") + np.searchsorted(failures, successes, "right")
    return float(below.sum() / (2 * len(failures) * len(successes)))


def auc_interval(p: np.ndarray, scores: Scores, seed: int = 0) -> tuple[float, float]:
    """The 95 % percentile bootstrap over whole episodes."""
    rng, found = np.random.default_rng(seed), []
    rows = [np.flatnonzero(scores.episode == episode) for episode in np.unique(scores.episode)]
    for _ in range(RESAMPLES):
        drawn = np.concatenate([rows[i] for i in rng.integers(len(rows), size=len(rows))])
        success = scores.success[drawn]
        if success.any() and not success.all():
            found.append(auc(p[drawn], success))
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)


def reliability(p: np.ndarray, success: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """By bin of p that has frames: the mean p, the share that shows success, and the bin's weight; both kinds weigh the same in all."""
    weight = np.where(success, 0.5 / success.sum(), 0.5 / (~success).sum())
    bins = np.minimum((p * BINS).astype(int), BINS - 1)
    total = np.bincount(bins, weight, BINS)
    kept = total > 0
    predicted, found = (np.bincount(bins, weight * values, BINS)[kept] / total[kept] for values in (p, success))
    return predicted, found, total[kept]


def calibration_error(p: np.ndarray, success: np.ndarray) -> float:
    """The expected calibration error (Guo et al. 2017) over `BINS` bins, both kinds of frames weighing the same."""
    predicted, found, weight = reliability(p, success)
    return float(weight @ np.abs(predicted - found))


def _share(flags: np.ndarray) -> list[float]:
    return [float(flags.mean()), *wilson(int(flags.sum()), len(flags)), len(flags)]
