"""The plot at a run's end: success against environment steps, and the offline share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from .metrics import read

INK, QUIET = "#1f4e79", "#c7772e"
ENOUGH_FOR_A_LINE = 4  # evaluations
EVALUATED, TRAINED = "evaluation/success_rate/", "actor/success_rate/"


def plot_run(directory: str | Path, title: str | None = None, evaluations: Sequence[Mapping[str, float]] = ()) -> Path:
    """Draws `directory/metrics.jsonl`, and `evaluations` made outside the run (records as in that file), as `curves.png` there;
    returns the picture's path."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    directory = Path(directory)
    records = [record for record in read(directory) if "environment_steps" in record]
    figure, axis = plt.subplots(figsize=(8, 4.5), layout="constrained")
    _evaluations(axis, [record for record in [*evaluations, *records] if "evaluation/success_rate" in record])
    _tasks(axis, records)
    _line(axis, records, "actor/success_rate", "training episodes (mean of 20)", INK, alpha=0.35)
    axis.set(xlabel="environment steps", ylabel="success rate", ylim=(-0.02, 1.02), title=title or directory.name)
    share = axis.twinx()
    _line(share, records, "learner/effective_offline_ratio", "offline share", QUIET, linestyle="--")
    share.set(ylabel="offline share of a batch", ylim=(-0.02, 1.02))
    handles = [handle for ax in (axis, share) for handle in ax.get_legend_handles_labels()[0]]
    if handles:
        axis.legend(handles=handles, loc="lower right", frameon=False, fontsize="small", ncols=1 + len(handles) // 8)
    axis.grid(alpha=0.25)
    path = directory / "curves.png"
    figure.savefig(path, dpi=130)
    plt.close(figure)
    return path


def _line(axis, records, name, label, colour, **style) -> None:
    points = [(record["environment_steps"], record[name]) for record in records if name in record]
    if points:
        axis.plot(*zip(*points, strict=True), color=colour, label=label, **style)


def _tasks(axis, records) -> None:
    """A thin line for each task: its evaluations where there are enough, else its training episodes."""
    for start in (EVALUATED, TRAINED):
        found = [record for record in records if any(name.startswith(start) for name in record)]
        if len(found) >= ENOUGH_FOR_A_LINE:
            break
    names = sorted({name for record in found for name in record if name.startswith(start)})
    for number, name in enumerate(names):  # ten colours, and then the same ones dashed and dotted
        style = {"linewidth": 0.9, "alpha": 0.8, "linestyle": ("-", "--", ":", "-.")[number // 10 % 4]}
        _line(axis, found, name, name.removeprefix(start), f"C{number % 10}", **style)


def _evaluations(axis, records) -> None:
    if not records:
        return
    records = sorted(records, key=_steps)
    steps = [_steps(record) for record in records]
    low, high = (
        [record.get(f"evaluation/success_{side}", record["evaluation/success_rate"]) for record in records] for side in ("low", "high")
    )
    rate, label = [record["evaluation/success_rate"] for record in records], "evaluation (95 % interval)"
    if len(records) < ENOUGH_FOR_A_LINE:  # a line between the two ends would be read as what happened between them
        errors = [[abs(r - x) for r, x in zip(rate, side, strict=True)] for side in (low, high)]
        axis.errorbar(steps, rate, yerr=errors, fmt="o", capsize=4, color=INK, label=label, zorder=3)
        return
    axis.fill_between(steps, low, high, color=INK, alpha=0.12, linewidth=0)
    axis.plot(steps, rate, "o-", color=INK, label=label)


def _steps(record) -> float:
    """Environment steps at which an evaluation was made."""
    return record.get("evaluation/environment_steps", record["environment_steps"])
