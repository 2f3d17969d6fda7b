"""Which of a warm-up's checkpoints to go on from, decided without the robot.

The rule, in this order:

 1. Out are checkpoints whose FQE estimate is not a number or lies, by more than a tenth of the range, outside what the data's
    rewards allow for a return, and those whose critics overestimate held-out returns by more than the whole spread of the
    recorded returns: both have diverged.
 2. Of the others, the one of the highest FQE estimate (the members' mean) is the best, and every one that is not clearly worse is as
    good: the members' paired differences from the best have a mean within their 95 % interval around 0, by Student's t; over
    bootstraps their standard deviation is the standard error. With four members that is 3.2 of them. One standard error, as Breiman
    et al. (1984) have it, took what was noise for a difference (docs/selection.md).
 3. Of those that are as good, the newest is chosen: it has learnt most, and held-out likelihood is a poor guide to success
    (Mandlekar et al. 2021), so it is shown and not ranked by.

Where all are out, the newest is chosen, and said so. FQE judges by states alone: without its estimates, as of policies that see
images, 1 goes by the critics and of the others the newest is chosen. With episodes in the environment (`warmloop-evaluate --offline
--bandit_episodes=N`) those decide instead. selection.json, beside the checkpoints, has the ranking, the measures and the choice.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import stdtrit

from ..checkpoints import selection_file
from ..checkpoints.selection_file import read as read

CONFIDENCE = 0.95  # that a checkpoint is worse
SLACK = 0.1  # of the possible range, for a regression's error


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One checkpoint.

    Attributes:
        updates: its number.
        fqe: `[M]` the members' estimates of its discounted return, unscaled; `[0]` where FQE cannot judge.
        measures: held-out measures by name; empty where nothing was held out.
    """

    updates: int
    fqe: np.ndarray
    measures: Mapping[str, float] = dataclasses.field(default_factory=dict)

    @property
    def estimate(self) -> float:
        """The members' mean; NaN where FQE cannot judge."""
        return float(self.fqe.mean()) if self.fqe.size else float("nan")

    @property
    def error(self) -> float:
        """The estimate's standard error; NaN where FQE cannot judge."""
        return float(self.fqe.std(ddof=1)) if self.fqe.size else float("nan")


@dataclasses.dataclass(frozen=True)
class Bounds:
    """What is possible, from the data.

    Attributes:
        low, high: least and greatest discounted return that the rewards allow, unscaled; infinite without discounting.
        spread: greatest less least recorded return to go, as the learner sees rewards.
    """

    low: float
    high: float
    spread: float

    @classmethod
    def of(cls, rewards: np.ndarray, mc_returns: np.ndarray, discount: float, allowed: tuple[float, float] = (-np.inf, np.inf)) -> Bounds:
        """From unscaled rewards `[N]`, returns to go `[N]` as the learner sees them, and what is known beforehand to be allowed."""
        known = mc_returns[np.isfinite(mc_returns)]
        spread = float(np.ptp(known)) if len(known) else np.inf
        if discount == 1:
            return cls(*allowed, spread)
        worst, best = float(rewards.min()), float(rewards.max())
        low, high = min(worst, worst / (1 - discount)), max(best, best / (1 - discount))
        return cls(max(low, allowed[0]), min(high, allowed[1]), spread)


@dataclasses.dataclass(frozen=True)
class Ranked:
    """A candidate's place.

    Attributes:
        candidate: what is ranked.
        reason: why it is out; "" where it is not.
        as_good: whether it is the best, or not clearly worse.
    """

    candidate: Candidate
    reason: str
    as_good: bool


def rank(candidates: Sequence[Candidate], bounds: Bounds) -> list[Ranked]:
    """The candidates by the module's rule, the chosen one first: those as good as the best from the newest on, the others by their
    estimates, and at the end those that are out. There must be at least one."""
    reasons = [_reason(candidate, bounds) for candidate in candidates]
    eligible = [candidate for candidate, reason in zip(candidates, reasons, strict=True) if not reason]
    best = max(eligible, key=lambda candidate: candidate.estimate, default=None)

    def place(ranked: Ranked) -> tuple:
        order = ranked.candidate.updates if ranked.as_good or ranked.reason else ranked.candidate.estimate
        return bool(ranked.reason), not ranked.as_good, -order

    found = [
        Ranked(candidate, reason, not reason and best is not None and _as_good(candidate, best))
        for candidate, reason in zip(candidates, reasons, strict=True)
    ]
    return sorted(found, key=place)


def write(directory: str | Path, ranking: Sequence[Ranked], chosen: int, by: str, more: Mapping[str, Any] | None = None) -> Path:
    """Marks the checkpoint of `chosen` updates in `directory/selection.json`, whole or not at all. `by` says what decided."""
    shown = {"chosen": chosen, "by": by, "candidates": [describe(ranked) for ranked in ranking], **(more or {})}
    return selection_file.write(directory, finite(shown))


def describe(ranked: Ranked) -> dict[str, Any]:
    """A candidate as plain values; `fqe_error` is the standard error."""
    candidate = ranked.candidate
    shown = {"updates": candidate.updates, "fqe": candidate.estimate, "fqe_error": candidate.error}
    return shown | {"as_good": ranked.as_good, "out": ranked.reason} | dict(candidate.measures)


def _reason(candidate: Candidate, bounds: Bounds) -> str:
    estimate, slack = candidate.estimate, SLACK * (bounds.high - bounds.low)
    if candidate.fqe.size and (not np.isfinite(estimate) or estimate < bounds.low - slack or estimate > bounds.high + slack):
        return "FQE diverged"
    if candidate.measures.get("heldout/q_overestimation", -np.inf) > bounds.spread > 0:
        return "critics diverged"
    return ""


def _as_good(candidate: Candidate, best: Candidate) -> bool:
    worse = best.fqe - candidate.fqe
    return not worse.size or bool(worse.mean() <= stdtrit(len(worse) - 1, 0.5 + CONFIDENCE / 2) * worse.std(ddof=1))


def finite(value: Any) -> Any:
    """The same without numbers that JSON does not know."""
    if isinstance(value, Mapping):
        return {name: finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
