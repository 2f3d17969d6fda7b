"""The plots at a run's end: success, and returns where they are what is learnt for, against environment steps; what a warm-up measured."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..checkpoints.selection_file import SELECTION
from .metrics import read

INK, QUIET, HAND = "#1f4e79", "#c7772e", "#a33b52"
ENOUGH_FOR_A_LINE = 4  # evaluations
PACE = "learner/updates_per_step"
EVALUATED, TRAINED = "evaluation/success_rate/", "actor/success_rate/"


def plot_run(directory: str | Path, title: str | None = None, evaluations: Sequence[Mapping[str, float]] = ()) -> Path:
    """Draws `directory/metrics.jsonl`, and `evaluations` made outside the run (records as in that file), as `curves.png` there;
    returns the picture's path. Where the run's config.json says that the reward is the environment's own, returns are drawn too."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    directory = Path(directory)
    records = [record for record in read(directory) if "environment_steps" in record]
    panels = {"success": 3.0} | ({"returns": 3.0} if _learns_for_returns(directory) else {})
    panels |= {"pace": 1.2} if any(PACE in record for record in records) else {}
    size, heights = (8, 1.5 + sum(panels.values())), list(panels.values())
    figure, axes = plt.subplots(len(panels), 1, figsize=size, height_ratios=heights, layout="constrained", squeeze=False, sharex=True)
    axis = axes[0][0]
    _evaluations(axis, [record for record in [*evaluations, *records] if "evaluation/success_rate" in record])
    _tasks(axis, records)
    _line(axis, records, "actor/success_rate", "training episodes (mean of 20)", INK, alpha=0.35)
    _line(axis, records, "best/success_rate", "best policy so far", INK, linestyle=":")
    handed = any(record.get("actor/intervention_rate") for record in records)
    if handed:
        _line(axis, records, "actor/intervention_rate", "steps by a hand (mean of 20 episodes)", HAND)
    axis.set(ylabel="success rate", ylim=(-0.02, 1.02), title=title or directory.name)
    axes[-1][0].set(xlabel="environment steps")
    share = axis.twinx()
    _line(share, records, "learner/effective_offline_ratio", "offline share", QUIET, linestyle="--")
    share.set(ylabel="offline share of a batch", ylim=(-0.02, 1.02))
    handles = [handle for ax in (axis, share) for handle in ax.get_legend_handles_labels()[0]]
    if handles:
        loc, anchor = ("upper right", (1.0, 0.95)) if handed else ("lower right", (1.0, 0.0))
        axis.legend(handles=handles, loc=loc, bbox_to_anchor=anchor, frameon=False, fontsize="small", ncols=1 + len(handles) // 8)
    axis.grid(alpha=0.25)
    if "returns" in panels:
        _returns(axes[1][0], records)
    if "pace" in panels:
        _pace(axes[-1][0], records)
    path = directory / "curves.png"
    figure.savefig(path, dpi=130)
    plt.close(figure)
    return path


WARM_UP = {
    "held-out action error": "heldout/action_error",
    "held-out log likelihood": "heldout/log_prob",
    "held-out TD error": "heldout/td_error",
    "held-out Q − return": "heldout/q_overestimation",
}


def plot_warm_up(directory: str | Path, checkpoints: str | Path) -> Path:
    """Draws what the warm-up of a run measured, and how its checkpoints compare, as `directory/warmup.png`; returns its path."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    directory, mark = Path(directory), Path(checkpoints) / SELECTION
    records = read(directory / "warmup_metrics")
    shown = {title: name for title, name in WARM_UP.items() if any(name in record for record in records)} or {"mean Q": "critic/q_mean"}
    count = len(shown) + mark.is_file()
    figure, axes = plt.subplots(1, count, figsize=(3.6 * count, 3.2), layout="constrained", squeeze=False)
    for axis, (title, name) in zip(axes[0], shown.items(), strict=False):
        points = [(record["updates"], record[name]) for record in records if name in record]
        axis.plot(*zip(*points, strict=True), color=INK, marker=_marker(points))
        axis.set(title=title, xlabel="updates")
    if mark.is_file():
        _selection(axes[0][-1], json.loads(mark.read_text(encoding="utf-8")))
    for axis in axes[0]:
        axis.grid(alpha=0.25)
    path = directory / "warmup.png"
    figure.savefig(path, dpi=130)
    plt.close(figure)
    return path


def _selection(axis, selection) -> None:
    """Every checkpoint's FQE estimate with one standard error, the chosen one filled."""
    for one in selection["candidates"]:
        if one["fqe"] is not None:
            fill = INK if one["updates"] == selection["chosen"] else "white"
            axis.errorbar(one["updates"], one["fqe"], yerr=one["fqe_error"], fmt="o", color=INK, markerfacecolor=fill, capsize=3)
    axis.set(title="FQE (the chosen one is filled)", xlabel="updates")


def _marker(points: Sequence[object]) -> str:
    """A line of a single point is not to be seen without one."""
    return "o" if len(points) == 1 else ""


def _learns_for_returns(directory: Path) -> bool:
    saved = directory / "config.json"
    return saved.is_file() and json.loads(saved.read_text(encoding="utf-8"))["reward"]["signal"] == "environment"


def _returns(axis, records) -> None:
    """The environment's own returns, in training and in evaluations."""
    _line(axis, records, "actor/episode_return", "training episodes (mean of 20)", INK, alpha=0.35)
    _line(axis, records, "best/episode_return", "best policy so far", INK, linestyle=":")
    evaluated = [(_steps(record), record["evaluation/episode_return"]) for record in records if "evaluation/episode_return" in record]
    if evaluated:
        style = "o-" if len(evaluated) >= ENOUGH_FOR_A_LINE else "o"
        axis.plot(*zip(*sorted(evaluated), strict=True), style, color=INK, label="evaluation")
    axis.set(ylabel="return")
    axis.grid(alpha=0.25)
    if axis.lines:
        axis.legend(loc="lower right", frameon=False, fontsize="small")


def _pace(axis, records) -> None:
    """Updates per environment step, beside what was asked for."""
    _line(axis, records, PACE, "reached", INK)
    _line(axis, records, f"{PACE}_asked", "asked", QUIET, linestyle="--")
    axis.set(ylabel="updates per step", ylim=(0, None))
    axis.legend(loc="lower right", frameon=False, fontsize="small", ncols=2)
    axis.grid(alpha=0.25)


def _line(axis, records, name, label, colour, **style) -> None:
    points = [(record["environment_steps"], record[name]) for record in records if name in record]
    if points:
        axis.plot(*zip(*points, strict=True), color=colour, label=label, marker=_marker(points), **style)


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
