"""What some episodes of a policy showed."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np

from ...data.statistics import wilson


class Summary(NamedTuple):
    """What an evaluation keeps of an episode, in the order of `Evaluation`."""

    success: bool
    final_success: bool
    undiscounted_return: float
    length: int
    task: str


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What N episodes of a policy showed.

    Attributes:
        success: `[N]` bool, success at any step of the episode.
        final_success: `[N]` bool, success at its last step.
        returns: `[N]` float64, undiscounted sums of the environment's own reward.
        lengths: `[N]` int64, steps.
        tasks: `[N]` names of the episodes' tasks; "" where there is a single, nameless one.
    """

    success: np.ndarray
    final_success: np.ndarray
    returns: np.ndarray
    lengths: np.ndarray
    tasks: np.ndarray

    @property
    def success_rate(self) -> float:
        return float(self.success.mean())

    @property
    def final_success_rate(self) -> float:
        return float(self.final_success.mean())

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % Wilson interval of the success rate."""
        return wilson(int(self.success.sum()), len(self.success))

    @property
    def mean_return(self) -> float:
        return float(self.returns.mean())

    @property
    def mean_length(self) -> float:
        return float(self.lengths.mean())

    @property
    def by_task(self) -> dict[str, Evaluation]:
        """The same of each named task, in the order of their first episodes."""
        names = [name for name in dict.fromkeys(self.tasks.tolist()) if name]
        fields = dataclasses.fields(self)
        return {name: Evaluation(*(getattr(self, field.name)[self.tasks == name] for field in fields)) for name in names}

    def scalars(self) -> dict[str, float]:
        """The means as metrics, over all episodes and of each task: `evaluation/success_rate`, `evaluation/success_rate/TASK`, …"""
        low, high = self.interval
        shown = {
            "evaluation/success_rate": self.success_rate,
            "evaluation/success_low": low,
            "evaluation/success_high": high,
            "evaluation/episode_return": self.mean_return,
            "evaluation/return_std": float(self.returns.std()),
            "evaluation/episode_length": self.mean_length,
            "evaluation/episodes": float(len(self.success)),
        }
        for name, part in self.by_task.items():
            shown |= {f"evaluation/success_rate/{name}": part.success_rate, f"evaluation/episode_return/{name}": part.mean_return}
        return shown
