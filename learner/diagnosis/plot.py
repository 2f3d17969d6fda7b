"""The plots at a run's end: success, and returns where they are what is learnt for, against environment steps; what a warm-up measured."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ...data.files.run_folder import RunFolder
from ..checkpoints.selection_file import SELECTION
from . import curves
from .curves import BEST, ENOUGH_FOR_A_LINE, HAND, INK, QUIET, TRAINED
from .metrics import read

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Records = Sequence[Mapping[str, float]]
PACE, HANDS, SHARE = "learner/updates_per_step", "actor/intervention_rate", "learner/effective_offline_ratio"
EVALUATED, TRAINED_TASK = "evaluation/success_rate/", "actor/success_rate/"


class Clock(NamedTuple):
    """What a plot's horizontal axis says, and where a record and the evaluation in it lie on it."""

    label: str
    of: Callable[[Mapping[str, float]], float]
    evaluated: Callable[[Mapping[str, float]], float]


STEPS = Clock(
    "environment steps",
    lambda record: record["environment_steps"],
    lambda record: record.get("evaluation/environment_steps", record["environment_steps"]),
)


def plot_run(directory: str | Path, title: str | None = None, evaluations: Records = ()) -> Path:
    """Draws `directory/metrics.jsonl`, and `evaluations` made outside the run (records as in that file), as `curves.png` there;
    returns the picture's path. Where the run's config.json says that the reward is the environment's own, returns are drawn too."""
    folder = RunFolder(Path(directory))
    with curves.drawing():
        figure = run_figure([*evaluations, *read(folder.path)], _learns_for_returns(folder))
        figure.suptitle(title or folder.path.name)
        return curves.png(figure, folder.curves)


def run_figure(records: Records, returns: bool, clock: Clock = STEPS, width: float = 8.0) -> Figure:
    """Success of a run, and where it learns for them its `returns`; below them shares (offline rows, interventions) and the pace."""
    records = [record for record in records if "environment_steps" in record]
    high = 3.0 * max(width / 8.0, 0.8)
    wanted = {"success": high, "returns": high * returns}
    wanted["shares"] = 1.2 * any(SHARE in record or record.get(HANDS) for record in records)
    wanted["pace"] = 1.2 * any(PACE in record for record in records)
    wanted = {name: height for name, height in wanted.items() if height}
    figure, axes = curves.panels(list(wanted.values()), width)
    for name, axis in zip(wanted, axes, strict=True):
        {"success": _success, "returns": _returns, "shares": _shares, "pace": _pace}[name](axis, records, clock)
        curves.finish(axis)
    axes[-1].set(xlabel=clock.label)
    curves.from_the_beginning(axes)
    return figure


MEAN_Q = "critic/q_mean"
WARM_UP = {
    "held-out action error": "heldout/action_error",
    "held-out log likelihood": "heldout/log_prob",
    "held-out TD error": "heldout/td_error",
    "held-out Q − return": "heldout/q_overestimation",
}


def plot_warm_up(directory: str | Path, checkpoints: str | Path) -> Path:
    """Draws what the warm-up of a run measured, and how its checkpoints compare, as `directory/warmup.png`; returns its path."""
    folder, mark = RunFolder(Path(directory)), Path(checkpoints) / SELECTION
    selection = json.loads(mark.read_text(encoding="utf-8")) if mark.is_file() else None
    with curves.drawing():
        figure = warm_up_figure(read(folder.warmup_metrics), selection, columns=len(WARM_UP) + 1)
        return curves.png(figure, folder.warmup_curves)


def warm_up_figure(records: Records, selection: Mapping | None, columns: int) -> Figure:
    """What a warm-up measured, and where its checkpoints were compared, how; up to so many panels in a row."""
    from matplotlib.figure import Figure

    shown = _measured(records)
    count = len(shown) + (selection is not None)
    columns = min(count, columns)
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(3.0 * columns, 2.7 * rows), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis, (title, name) in zip(axes, shown.items(), strict=False):
        curves.line(axis, [(record["updates"], record[name]) for record in records if name in record], title, INK)
        axis.set(title=title, xlabel="updates")
    if selection is not None:
        _selection(axes[len(shown)], selection)
    for axis in axes[:count]:
        axis.grid(color=curves.GRID, alpha=0.3)
        axis.title.set_size("medium")
        curves.from_the_beginning([axis])
    for axis in axes[count:]:
        axis.set_axis_off()
    return figure


def _measured(records: Records) -> dict[str, str]:
    """What to show of a warm-up, by its titles: measures of held-out episodes, else mean Q, else the losses."""
    recorded = {name for record in records for name in record}
    held_out = {title: name for title, name in WARM_UP.items() if name in recorded}
    losses = {name: name for name in sorted(recorded) if name.endswith("loss")}
    return held_out or ({"mean Q": MEAN_Q} if MEAN_Q in recorded or not losses else losses)


def _selection(axis, selection) -> None:
    """Every checkpoint's FQE estimate with one standard error, the chosen one filled."""
    for one in selection["candidates"]:
        if one["fqe"] is not None:
            fill = INK if one["updates"] == selection["chosen"] else curves.PAPER
            axis.errorbar(one["updates"], one["fqe"], yerr=one["fqe_error"], fmt="o", color=INK, markerfacecolor=fill, capsize=3)
    axis.set(title="FQE (the chosen one is filled)", xlabel="updates")


def _learns_for_returns(folder: RunFolder) -> bool:
    return folder.config.is_file() and json.loads(folder.config.read_text(encoding="utf-8"))["reward"]["signal"] == "environment"


def _success(axis, records: Records, clock: Clock) -> None:
    axis.set(ylabel="success rate", ylim=(-0.03, 1.06))
    _evaluations(axis, records, clock, "evaluation/success_rate", "evaluation/success_low", "evaluation/success_high")
    _tasks(axis, records, clock)
    curves.line(axis, _points(records, "actor/success_rate", clock), "training episodes (mean of 20)", TRAINED, "s", markersize=3.5)
    curves.line(axis, _points(records, "best/success_rate", clock), "best policy so far", BEST, "D", linestyle=":", markersize=3.5)


def _returns(axis, records: Records, clock: Clock) -> None:
    """The environment's own returns, in training and in evaluations."""
    axis.set(ylabel="return")
    _evaluations(axis, records, clock, "evaluation/episode_return")
    curves.line(axis, _points(records, "actor/episode_return", clock), "training episodes (mean of 20)", TRAINED, "s", markersize=3.5)
    curves.line(axis, _points(records, "best/episode_return", clock), "best policy so far", BEST, "D", linestyle=":", markersize=3.5)


def _shares(axis, records: Records, clock: Clock) -> None:
    """The share of offline rows in a batch, and of interventions in the steps."""
    axis.set(ylabel="share", ylim=(-0.05, 1.1))
    curves.line(axis, _points(records, SHARE, clock), "offline rows of a batch", QUIET, "^", linestyle="--", markersize=3.5)
    if any(record.get(HANDS) for record in records):
        curves.line(axis, _points(records, HANDS, clock), "intervention steps (mean of 20 episodes)", HAND, "v", markersize=3.5)


def _pace(axis, records: Records, clock: Clock) -> None:
    """Updates per environment step, beside what was asked for."""
    curves.line(axis, _points(records, PACE, clock), "updates reached", INK, "o", markersize=3.5)
    curves.line(axis, _points(records, f"{PACE}_asked", clock), "updates asked", QUIET, "x", linestyle="--", markersize=3.5)
    axis.set(ylabel="updates\nper step", ylim=(0, axis.get_ylim()[1] * 1.1))


def _points(records: Records, name: str, clock: Clock) -> list[tuple[float, float]]:
    return [(clock.of(record), record[name]) for record in records if name in record]


def _tasks(axis, records: Records, clock: Clock) -> None:
    """A thin line for each task: its evaluations where there are enough, else its training episodes."""
    for start in (EVALUATED, TRAINED_TASK):
        found = [record for record in records if any(name.startswith(start) for name in record)]
        if len(found) >= ENOUGH_FOR_A_LINE:
            break
    names = sorted({name for record in found for name in record if name.startswith(start)})
    for number, name in enumerate(names):
        curves.line(axis, _points(found, name, clock), name.removeprefix(start), **curves.series(number), linewidth=0.9, markersize=3)


def _evaluations(axis, records: Records, clock: Clock, name: str, low: str = "", high: str = "") -> None:
    """Evaluations, a line where there are enough; with their intervals where these are recorded."""
    found = sorted((record for record in records if name in record), key=clock.evaluated)
    if not found:
        return
    places, values = [clock.evaluated(record) for record in found], [record[name] for record in found]
    ends = [[record.get(side, record[name]) for record in found] for side in (low, high)]
    label = "evaluation (95 % interval)" if low else "evaluation"
    if len(found) < ENOUGH_FOR_A_LINE:  # a line between the two ends would be read as what happened between them
        errors = [[abs(value - end) for value, end in zip(values, side, strict=True)] for side in ends]
        axis.errorbar(places, values, yerr=errors if low else None, fmt="o", capsize=4, color=INK, label=label, zorder=3)
        return
    if low:
        axis.fill_between(places, *ends, color=INK, alpha=0.12, linewidth=0)
    curves.line(axis, list(zip(places, values, strict=True)), label, INK, zorder=3, linewidth=2.0, markersize=5)
