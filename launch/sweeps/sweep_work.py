"""What is left to do of a sweep, and how this process does it by itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ...data.errors import WarmloopError
from .halving import Halving
from .sweep_runs import Judging, Learning, Ready, Trial, train_and_judge
from .sweeping import Run


class Outcome(NamedTuple):
    """What became of seeds of a run: the result of one, or None where the run was stopped early."""

    name: str
    result: dict[str, Any] | None


@dataclasses.dataclass(frozen=True)
class Work:
    """What is left to do.

    Attributes:
        missing: seeds that are still to be trained, by the run's name. Where runs are halved, a run has all of its seeds or none.
        out: where checkpoints are kept.
        memory: bytes for the seeds that learn side by side.
        halving: decides which runs go on; None where all do.
    """

    runs: Mapping[str, Run]
    missing: Mapping[str, Sequence[int]]
    judging: Judging
    out: Path
    memory: int
    halving: Halving | None = None

    def trial(self, name: str, seeds: Sequence[int]) -> Trial:
        """These seeds of a run."""
        return Trial(name, self.runs[name].config, tuple(seeds), self.judging)

    def rungs(self, name: str) -> list[int]:
        """Where a run is still to be judged on its way."""
        return self.halving.rungs(name) if self.halving else []


def in_this_process(work: Work) -> Iterator[Outcome]:
    """Does all of it, one run after the other."""
    for name, seeds in work.missing.items():
        if not seeds:
            continue
        trial, recorded = work.trial(name, seeds), work.runs[name].recorded
        if work.halving is None:
            yield from (Outcome(name, result) for result in train_and_judge(trial, recorded, work.out, work.memory))
        else:
            yield from _halved(trial, begun(trial, Ready(trial.config, recorded), work.memory), work, work.halving)


def begun(trial: Trial, ready: Ready, memory: int) -> Learning:
    """A trial whose seeds all learn side by side. Raises WarmloopError where `memory` bytes do not hold them."""
    if len(trial.seeds) > max(1, memory // ready.room):
        raise WarmloopError(
            f"{trial.name}: {len(trial.seeds)} seeds side by side need {len(trial.seeds) * ready.room / 2**20:.0f} MiB, and "
            f"--seed_mebibytes={memory >> 20} allows less; raise it, or train fewer side by side (--asha: --seeds, else --trial_seeds)."
        )
    return Learning(trial, ready)


def _halved(trial: Trial, learning: Learning, work: Work, halving: Halving) -> Iterator[Outcome]:
    for updates in work.rungs(trial.name):
        learning.train(updates)
        if not halving.goes_on(trial.name, updates, learning.scores()):
            yield Outcome(trial.name, None)
            return
    yield from (Outcome(trial.name, result) for result in learning.finish(work.out))
