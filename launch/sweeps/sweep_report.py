"""What a sweep shows: a table and a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from ...learner.diagnosis import curves
from ...learner.judging.scores import interquartile_mean, interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NONE: Mapping[str, int] = MappingProxyType({})
Shown = Mapping[str, Sequence[Mapping[str, Any]]]  # of each run, by its name, those of its seeds


def table(results: Shown, stopped: Mapping[str, int] = NONE) -> str:
    """A Markdown table: interquartile mean over seeds of the last checkpoint, its interval, success and time; and where checkpoints were
    compared, the return of the one that FQE chose. Seeds that diverged are counted, and are in no mean but the time's. A run that was
    `stopped` early has no seeds in `results` and no score; its row has the updates that it had."""
    compared = any("selected" in one for runs in results.values() for one in runs)
    columns = ["run", "seeds", "return", "95 % interval", *["return, chosen by FQE"] * compared, "normalised", "success", "seconds a seed"]
    lines = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    for name, runs in results.items():
        if name in stopped:
            lines.append(f"| {name} | stopped at {stopped[name]} updates |{'  |' * (len(columns) - 2)}")
            continue
        returns, success = _known(runs, "mean_return"), _known(runs, "success_rate")
        chosen = _known([one["selected"] for one in runs if "selected" in one], "mean_return")
        diverged = sum(one["diverged"] for one in runs)
        cells = (
            f"{len(runs)}, {diverged} diverged" if diverged else str(len(runs)),
            _middle(returns),
            " to ".join(map(_number, interval(returns[:, None]))) if len(returns) else "",
            *[_middle(chosen)] * compared,
            _middle(_known(runs, "normalised")),
            f"{success.mean():.2f}" if len(success) else "",
            f"{np.mean([one['seconds'] for one in runs]):.0f}",
        )
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def chart(results: Shown, out: Path, stopped: Mapping[str, int] = NONE) -> Path:
    """`scores.png`: each run's interquartile mean with its interval, and its seeds as dots, but for those that diverged. A run that was
    `stopped` early has its name alone."""
    from matplotlib.figure import Figure

    scaled = all(one["normalised"] is not None for runs in results.values() for one in runs if not one["diverged"])
    key = "normalised" if scaled else "mean_return"
    results = {f"{name}, stopped at {stopped[name]}" if name in stopped else name: runs for name, runs in results.items()}
    with curves.drawing():
        figure = Figure(figsize=(8, 1.2 + 0.45 * len(results)), layout="constrained")
        _bars(figure.subplots(), results, key)
        return curves.png(figure, out / "scores.png")


def _bars(axis: Axes, results: Shown, key: str) -> None:
    for place, runs in enumerate(reversed(list(results.values()))):
        scores = _known(runs, key)
        if not len(scores):
            continue
        axis.plot(interval(scores[:, None]), [place, place], color=curves.INK, linewidth=8, alpha=0.3, solid_capstyle="butt")
        axis.plot(scores, np.full(len(scores), place), "o", color=curves.QUIET, markersize=4, alpha=0.8)
        axis.plot(interquartile_mean(scores), place, "|", color=curves.INK, markersize=16, markeredgewidth=3)
    axis.set_yticks(range(len(results)), list(results)[::-1])
    axis.set_ylim(-0.6, len(results) - 0.4)
    label = "normalised score" if key == "normalised" else "mean return"
    axis.set(xlabel=label, title="interquartile mean over seeds, 95 % interval; dots: seeds")
    axis.grid(axis="x", color=curves.GRID, alpha=0.3)


def _known(runs: Sequence[Mapping[str, Any]], name: str) -> np.ndarray:
    """The seeds' values `[n]`, of those that have one."""
    return np.array([one[name] for one in runs if one[name] is not None], np.float64)


def _middle(scores: np.ndarray) -> str:
    return _number(interquartile_mean(scores)) if len(scores) else ""


def _number(score: float) -> str:
    """With two digits after the point below 10, where a return is often one of successes."""
    return f"{score:.2f}" if abs(score) < 10 else f"{score:.1f}"
