"""What the bench measures of a run, and of all runs of a recipe.

A run's score at an evaluation is the share of successful episodes, divided by the highest share that any policy of the task has (1, but for
luck); of a task that is measured by its return it is `(return - low) / (high - low)`, 0 for a random and 1 for a good policy, by the two
returns of the table: D4RL's for HalfCheetah and Hopper, and for Pendulum a random policy's and that of one that swings up and stays up.

A run ends **under its warm-up** where its last evaluation is lower than its first by more than the scatter of their episodes: by
Fisher's exact test on the two counts of successes, one-sided, at the level LEVEL; of returns by Welch's t-test, likewise. So of 100 runs
that stay as they are about one is counted at most. A run without a warm-up is neither under nor over one.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats
from warm_tasks import Task

from warmloop.learner.judging.scores import interquartile_mean, interval

LEVEL = 0.01
EARLY = 2_000  # environment steps within which a fall is looked for
AT = (5_000, 10_000, 20_000)
GOOD = 0.95
THIRD = 1 / 3


def score(task: Task, episodes: Mapping[str, Any]) -> float:
    """What the episodes of an evaluation are worth; see above."""
    if task.returns is None:
        return float(np.mean(episodes["success"])) / task.best
    low, high = task.returns
    return (float(np.mean(episodes["returns"])) - low) / (high - low)


def is_under(task: Task, first: Mapping[str, Any], last: Mapping[str, Any]) -> bool:
    """Whether the last evaluation is lower than the first by more than the scatter."""
    if task.returns is not None:
        before, after = first["returns"], last["returns"]
        if np.ptp(before) == 0 and np.ptp(after) == 0:  # no scatter at all
            return after[0] < before[0]
        return bool(stats.ttest_ind(after, before, equal_var=False, alternative="less").pvalue < LEVEL)
    table = [[sum(each["success"]), len(each["success"]) - sum(each["success"])] for each in (last, first)]
    return bool(stats.fisher_exact(table, alternative="less").pvalue < LEVEL)


@dataclasses.dataclass(frozen=True)
class Measured:
    """What one run shows; NaN where it does not say.

    Attributes:
        warm: score after the warm-up.
        fall: how far the lowest score within EARLY steps is below that; 0 where none is.
        regained: environment steps at which the score is first as high again; 0 where it never fell, infinite where it never was.
        at: score at each of AT.
        end: score at the last evaluation.
        warm_sampled, end_sampled: the same by sampled actions.
        kept: score of the best policy that the run kept; that at the end where it is the last one, or none is kept.
        under: whether it ends under its warm-up; None without one.
        minutes: of the warm-up and the fine-tuning, without evaluations.
    """

    warm: float
    fall: float
    regained: float
    at: Mapping[int, float]
    end: float
    warm_sampled: float
    end_sampled: float
    kept: float
    under: bool | None
    minutes: float


def measured(task: Task, run: Mapping[str, Any]) -> Measured:
    """The measures of one run."""
    curve = {each["steps"]: score(task, each["mean"]) for each in run["curve"]}
    first, last = run["curve"][0], run["curve"][-1]
    warm, later = curve.get(0, math.nan), {steps: value for steps, value in curve.items() if steps}
    early = [value for steps, value in later.items() if steps <= EARLY]
    fall = max(0.0, warm - min(early)) if early and not math.isnan(warm) else math.nan
    return Measured(
        warm=warm,
        fall=fall,
        regained=regained(warm, later),
        at={steps: curve.get(steps, math.nan) for steps in AT},
        end=curve[last["steps"]],
        warm_sampled=score(task, first["sampled"]) if 0 in curve else math.nan,
        end_sampled=score(task, last["sampled"]),
        kept=score(task, (run["kept"] or last)["mean"]),
        under=is_under(task, first["mean"], last["mean"]) if 0 in curve else None,
        minutes=(run["seconds"]["warmup"] + sum(run["seconds"]["online"])) / 60,
    )


def regained(warm: float, later: Mapping[int, float]) -> float:
    """The environment steps of the first score that is no lower than `warm`, after the first one within EARLY that is."""
    if math.isnan(warm):
        return math.nan
    fallen = min((steps for steps, value in later.items() if steps <= EARLY and value < warm), default=None)
    if fallen is None:
        return 0.0
    return min((float(steps) for steps, value in later.items() if steps > fallen and value >= warm), default=math.inf)


@dataclasses.dataclass(frozen=True)
class Overall:
    """What a recipe's runs show together: interquartile means over tasks × seeds with their 95 % intervals, of the seeds that all tasks
    have (Agarwal et al. 2021: a bootstrap over the seeds within each task).

    Attributes:
        scores: by name: "warm", "lowest" within EARLY steps, "5000", "10000", "20000", "end", "end_sampled", "kept".
        runs: how many there are, of all seeds.
        under: share of them that end under their warm-up; NaN without one.
        good: share of the tasks whose demonstrations succeed in a third or more, and whose mean score at the end is GOOD or more.
        able: how many such tasks there are.
        minutes: mean of a run.
    """

    scores: Mapping[str, tuple[float, float, float]]
    runs: int
    under: float
    good: float
    able: int
    minutes: float


def overall(runs: Mapping[str, Mapping[int, Measured]], able: Sequence[str]) -> Overall:
    """The measures of a recipe's runs, by task and seed; `able` are the tasks whose demonstrations succeed in a third or more."""
    seeds = sorted(set.intersection(*(set(of) for of in runs.values())))
    every = [each for of in runs.values() for each in of.values()]
    under = [each.under for each in every if each.under is not None]
    ends = [np.mean([each.end for each in of.values()]) for task, of in runs.items() if task in able]

    def together(value: Any) -> tuple[float, float, float]:
        table = np.array([[value(of[seed]) for of in runs.values()] for seed in seeds])  # [seeds, tasks]
        if not table.size or np.isnan(table).any():
            return math.nan, math.nan, math.nan
        low, high = interval(table)
        return interquartile_mean(table), low, high

    scores = {
        "warm": together(lambda one: one.warm),
        "lowest": together(lambda one: one.warm - one.fall),
        **{str(steps): together(lambda one, steps=steps: one.at[steps]) for steps in AT},
        "end": together(lambda one: one.end),
        "end_sampled": together(lambda one: one.end_sampled),
        "kept": together(lambda one: one.kept),
    }
    return Overall(
        scores=scores,
        runs=len(every),
        under=float(np.mean(under)) if under else math.nan,
        good=float(np.mean([end >= GOOD for end in ends])) if ends else math.nan,
        able=len(ends),
        minutes=float(np.mean([each.minutes for each in every])),
    )
