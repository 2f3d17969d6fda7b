"""Poor runs of a sweep are stopped early, by ASHA (Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning").

At a rung, after `first`, `first * factor`, … updates, a run's policies are judged. It goes on where it is among the best of one in `factor`
of the runs that have come to this rung so far. The rule is Optuna's `SuccessiveHalvingPruner`; OUT/rungs.jsonl remembers what it said.
"""

from __future__ import annotations

import dataclasses
import importlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...configs.schema import RunConfig
from ...data.errors import WarmloopError
from ..flags.common import log
from .sweep_results import SealedLines
from .sweep_runs import measure_of

RUNGS = "rungs.jsonl"
ENTRIES = ("run", "key", "rule", "updates", "measure", "score", "place", "of", "goes_on")


@dataclasses.dataclass(frozen=True)
class HalvingRule:
    """When runs are compared.

    Attributes:
        first: updates at the first rung.
        factor: of the runs at a rung, about one in so many goes on; the next rung is after so many times the updates.
        seeds: of each run, by whose mean it is compared.
    """

    first: int
    factor: int
    seeds: int

    def rungs(self, updates: int) -> list[int]:
        """The rungs of a run of so many updates."""
        found, rung = [], self.first
        while rung < updates:
            found.append(rung)
            rung *= self.factor
        return found


class Halving:
    """Which runs of a sweep go on, of those that `check_comparable` has found to be so.

    Args:
        out: folder that is there.
        configs: of the runs by name.
        keys: of the runs by name: a rung of another key is another run's.

    Attributes:
        stopped: runs that do not go on, and after how many updates.
    """

    def __init__(self, out: Path, configs: Mapping[str, RunConfig], keys: Mapping[str, str], rule: HalvingRule):
        self._configs, self._keys, self._rule = configs, keys, rule
        optuna = optuna_package()
        pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=rule.first, reduction_factor=rule.factor)
        study = optuna.create_study(direction="maximize", pruner=pruner)
        self._trials = {name: study.ask() for name in configs}
        self._scores: dict[str, dict[int, float]] = {name: {} for name in configs}
        self.stopped: dict[str, int] = {}
        self._lines = SealedLines(out / RUNGS, ENTRIES, "the run is judged again at this rung")
        for line in self._lines.read:
            self._remember(line)

    def rungs(self, name: str) -> list[int]:
        """Where the run is still to be judged: updates, in order."""
        return [updates for updates in self._rule.rungs(self._configs[name].learner.warmup_steps) if updates not in self._scores[name]]

    def goes_on(self, name: str, updates: int, scores: Sequence[Mapping[str, Any]]) -> bool:
        """Whether a run goes on whose seeds have these scores at a rung. One of which a seed has diverged does not."""
        measure = measure_of(self._configs[name])
        known = [score[measure] for score in scores if not score["diverged"]]
        score = float(np.mean(known)) if len(known) == len(scores) else math.nan
        going = self._promoted(name, updates, score)
        ahead = [other[updates] for other in self._scores.values() if updates in other]
        place, count = 1 + sum(other > score for other in ahead) if len(known) == len(scores) else len(ahead), len(ahead)
        told = {"measure": measure, "score": None if math.isnan(score) else score, "place": place, "of": count, "goes_on": going}
        self._lines.add({"run": name, "key": self._keys[name], "rule": dataclasses.astuple(self._rule), "updates": updates, **told})
        if not going:
            self.stopped[name] = updates
            why = "a seed diverged" if math.isnan(score) else f"{measure} {score:.4g}, place {place} of {count} so far"
            log.info("%s stopped at %d updates: %s", name, updates, why)
        return going

    def _remember(self, line: Mapping[str, Any]) -> None:
        """Takes a decision of before for made, where it was about a run of this sweep by the same rule."""
        name, updates = line["run"], line["updates"]
        if self._keys.get(name) != line["key"] or tuple(line["rule"]) != dataclasses.astuple(self._rule) or updates in self._scores[name]:
            return
        self._promoted(name, updates, math.nan if line["score"] is None else line["score"])
        if not line["goes_on"]:
            self.stopped[name] = updates

    def _promoted(self, name: str, updates: int, score: float) -> bool:
        trial = self._trials[name]
        self._scores[name][updates] = score
        trial.report(score, updates)
        return not trial.should_prune()


def check_comparable(configs: Mapping[str, RunConfig], rule: HalvingRule) -> None:
    """Raises WarmloopError where there are no runs to compare, none comes to a rung, or their scores mean different things."""
    if len(configs) < 2:
        raise WarmloopError("--asha stops the poorer of several runs, and there is one; name more by --algorithms or --set.")
    most = max(config.learner.warmup_steps for config in configs.values())
    if not rule.rungs(most):
        raise WarmloopError(f"--asha_first={rule.first}: no run has more than {most} updates, so none would be stopped; choose fewer.")
    (first, one), *others = configs.items()
    for name, other in others:
        for section in ("reward", "tasks"):
            if getattr(one, section) != getattr(other, section):
                raise WarmloopError(_not_comparable(first, name, section))
        if (one.environment.id, one.environment.kwargs) != (other.environment.id, other.environment.kwargs):
            raise WarmloopError(_not_comparable(first, name, "environment"))


def _not_comparable(first: str, other: str, section: str) -> str:
    return f"--asha compares the scores of all runs, and {first} and {other} differ in the section {section}; leave --asha out."


def optuna_package() -> Any:
    """Optuna, imported now. Raises WarmloopError where it is not installed."""
    try:
        optuna = importlib.import_module("optuna")
    except ImportError as error:
        raise WarmloopError(f"--asha needs Optuna ({error}); run `pip install 'warmloop[asha]'`.") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
