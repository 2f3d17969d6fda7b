"""What a sweep shows: a table and a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..learner.scores import interquartile_mean, interval


def table(results: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """A Markdown table: interquartile mean over seeds of the last checkpoint, its interval, success and time; and where checkpoints were
    compared, the return of the one that FQE chose."""
    compared = any("selected" in one for runs in results.values() for one in runs)
    columns = ["run", "seeds", "return", "95 % interval", *["return, chosen by FQE"] * compared, "normalised", "success", "seconds a seed"]
    lines = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    for name, runs in results.items():
        returns = np.array([[one["mean_return"]] for one in runs])
        low, high = interval(returns)
        scores = [one["normalised"] for one in runs if one["normalised"] is not None]
        scaled = f"{interquartile_mean(np.array(scores)):.1f}" if scores else ""
        means = (np.mean([one[key] for one in runs]) for key in ("success_rate", "seconds"))
        success, seconds = means
        chosen = [one["selected"]["mean_return"] for one in runs if "selected" in one]
        chosen = [f"{interquartile_mean(np.array(chosen)):.1f}" if chosen else ""] * compared
        cells = (f"{interquartile_mean(returns):.1f}", f"{low:.1f} to {high:.1f}", *chosen, scaled, f"{success:.2f}", f"{seconds:.0f}")
        lines.append(f"| {name} | {len(runs)} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def chart(results: Mapping[str, Sequence[Mapping[str, Any]]], out: Path) -> Path:
    """`scores.png`: each run's interquartile mean with its interval, and its seeds as dots."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    scaled = all(one["normalised"] is not None for runs in results.values() for one in runs)
    key = "normalised" if scaled else "mean_return"
    figure, axis = plt.subplots(figsize=(8, 1.2 + 0.45 * len(results)), layout="constrained")
    for place, runs in enumerate(reversed(list(results.values()))):
        scores = np.array([[one[key]] for one in runs])
        low, high = interval(scores)
        axis.plot([low, high], [place, place], color="#1f4e79", linewidth=8, alpha=0.3, solid_capstyle="butt")
        axis.plot(scores[:, 0], np.full(len(scores), place), "o", color="#c7772e", markersize=4, alpha=0.8)
        axis.plot(interquartile_mean(scores), place, "|", color="#1f4e79", markersize=16, markeredgewidth=3)
    axis.set_yticks(range(len(results)), list(results)[::-1])
    axis.set_ylim(-0.6, len(results) - 0.4)
    axis.set(xlabel="normalised score" if scaled else "mean return", title="interquartile mean over seeds, 95 % interval; dots: seeds")
    axis.grid(axis="x", alpha=0.25)
    path = out / "scores.png"
    figure.savefig(path, dpi=130)
    plt.close(figure)
    return path
