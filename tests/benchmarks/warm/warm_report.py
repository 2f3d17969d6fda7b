"""The bench's report: tables as Markdown, and curves by task."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.lines import Line2D
from warm_data import succeeding
from warm_measures import AT, EARLY, GOOD, LEVEL, THIRD, Measured, Overall, measured, overall, score
from warm_recipes import RECIPES
from warm_tasks import NAMED, TASKS, Task

COLOURS = ("#888888", "#c7772e", "#2e8b57", "#8e5ea2", "#1f4e79", "#c0392b", "#17a2b8", "#6b8e23")
WEAK = " (weak)"  # after the name of a task that is not able
# The scores of the comparison, and what they are called there.
POINTS = {
    "warm": "after the warm-up",
    "lowest": f"lowest within {EARLY:,} steps",
    **{str(steps): f"{steps:,} steps" for steps in AT},
    "end": "at the end",
    "end_sampled": "sampled actions",
    "kept": "best kept",
}
TASK_COLUMNS = (
    *("task", "recipe", "seeds", "warm-up", "sampled", "fall", "regained at"),
    *(f"{steps:,}" for steps in AT),
    *("end", "sampled", "best kept", "under"),
)
Runs = dict[str, dict[int, dict[str, Any]]]  # by task and seed


def runs_of(out: Path, recipe: str, half: str) -> Runs:
    """The runs of a recipe that are done, by task in the table's order, and by seed."""
    found: Runs = {}
    for path in sorted((out / recipe).glob("*.json")):
        run = json.loads(path.read_text())
        if run["half"] == half and run["task"] in NAMED:
            found.setdefault(run["task"], {})[run["seed"]] = run
    return {task.name: found[task.name] for task in TASKS if task.name in found}


def write(out: Path, half: str, recipes: Sequence[str]) -> str:
    """Writes OUT/report-HALF.md and OUT/curves-HALF.png; the report's text. Recipes without a run are left out."""
    runs = {recipe: found for recipe in recipes if (found := runs_of(out, recipe, half))}
    if not runs:
        return f"There are no runs of the {half} half in {out}."
    every = {
        recipe: {task: {seed: measured(NAMED[task], run) for seed, run in of.items()} for task, of in found.items()}
        for recipe, found in runs.items()
    }
    able = [task for task in NAMED if any(is_able(NAMED[task], run) for found in runs.values() for run in found.get(task, {}).values())]
    text = "\n".join([*heading(out, half, runs), *compared(every, able), *by_task(every, able)]) + "\n"
    (out / f"report-{half}.md").write_text(text)
    draw(runs, half, out / f"curves-{half}.png")
    return text


def is_able(task: Task, run: Mapping[str, Any]) -> bool:
    """Whether a task is measured by success, and its demonstrations succeed in a third or more."""
    return task.returns is None and succeeding(run["data"]) >= THIRD


def heading(out: Path, half: str, runs: Mapping[str, Runs]) -> list[str]:
    """What the recipes are, and how often the judging half was run."""
    judged = json.loads((out / "judged.json").read_text()) if (out / "judged.json").exists() else []
    times = {recipe: sum(each["recipe"] == recipe for each in judged) for recipe in runs}
    lines = [f"# The {half} half", ""]
    for recipe in runs:
        ran = f" The judging half was run {times[recipe]} time{'s' * (times[recipe] != 1)} with it." if half == "judging" else ""
        commits = dict.fromkeys(run["versions"]["commit"] for of in runs[recipe].values() for run in of.values())
        lines.append(f"- `{recipe}`: {RECIPES[recipe].about}. Commit {', '.join(commits)}.{ran}")
    return [*lines, ""]


def compared(every: Mapping[str, Mapping[str, Mapping[int, Measured]]], able: Sequence[str]) -> list[str]:
    """The recipes on the tasks that all of them were run on."""
    shared = [task for task in NAMED if all(task in of for of in every.values())]
    if not shared:
        return ["No task was run with every recipe.", ""]
    found = {recipe: overall({task: of[task] for task in shared}, able) for recipe, of in every.items()}
    good = f"tasks at {GOOD} or more"
    lines = [
        f"Score, interquartile mean over {len(shared)} tasks × seeds with its 95 % interval.",
        "",
        f"| recipe | runs | {' | '.join(POINTS.values())} | under the warm-up | {good} | minutes a run |",
        "|---" * (len(POINTS) + 5) + "|",
    ]
    for recipe, one in found.items():
        cells = [with_interval(one.scores[point]) for point in POINTS]
        lines.append(f"| {recipe} | {one.runs} | {' | '.join(cells)} | {share(one.under)} | {of_able(one)} | {one.minutes:.1f} |")
    note = (
        f"Under the warm-up: the last evaluation is lower than the first by a one-sided test at {LEVEL:.0%}, Fisher's of successes, "
        "Welch's of returns. Tasks at the mark: of those that are measured by success, and whose demonstrations succeed in a third or "
        "more. Scores of tasks that are measured by their return, or whose success is luck, are shares of what a good policy has "
        "(warm_measures.py)."
    )
    return [*lines, "", note, ""]


def by_task(every: Mapping[str, Mapping[str, Mapping[int, Measured]]], able: Sequence[str]) -> list[str]:
    """Each task with each recipe: means over its seeds."""
    lines = ["Means over the seeds. Weak: the demonstrations succeed in less than a third, or the measure is the return.", ""]
    lines += [f"| {' | '.join(TASK_COLUMNS)} |", "|---" * len(TASK_COLUMNS) + "|"]
    for task in NAMED:
        for recipe, found in every.items():
            if task in found:
                lines.append(f"| {task}{'' if task in able else WEAK} | {recipe} | {' | '.join(cells(list(found[task].values())))} |")
    return [*lines, ""]


def cells(of: list[Measured]) -> list[str]:
    """A task's row: of the steps at which a score is regained the latest seed's, since a mean of "never" is none."""
    names = ("warm", "warm_sampled", "fall", "end", "end_sampled", "kept")
    means = {name: number(float(np.mean([getattr(one, name) for one in of]))) for name in names}
    at = [number(float(np.mean([one.at[steps] for one in of]))) for steps in AT]
    latest = max((one.regained for one in of), key=lambda value: -1.0 if math.isnan(value) else value)
    back = "" if math.isnan(latest) else "no fall" if latest == 0 else "never" if math.isinf(latest) else f"{latest:,.0f}"
    under = [one.under for one in of if one.under is not None]
    head, tail = ([means[name] for name in part] for part in (names[:3], names[3:]))
    return [str(len(of)), *head, back, *at, *tail, f"{sum(under)} of {len(under)}" if under else ""]


def number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.2f}"


def with_interval(value: tuple[float, float, float]) -> str:
    middle, low, high = value
    return "" if math.isnan(middle) else f"{middle:.2f} ({low:.2f} to {high:.2f})"


def share(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.0%}"


def of_able(one: Overall) -> str:
    return "" if math.isnan(one.good) else f"{one.good:.0%} of {one.able}"


def draw(runs: Mapping[str, Runs], half: str, path: Path) -> None:
    """A panel for each task: the score by the mean action, every seed thin, their mean thick; the warm-up's as a dotted line."""
    tasks = [task for task in TASKS if any(task.name in found for found in runs.values())]
    columns = min(5, len(tasks))
    rows = -(-len(tasks) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(2.9 * columns, 0.8 + 2.1 * rows), layout="constrained", squeeze=False, sharey=True)
    for axis, task in zip(axes.flat, tasks, strict=False):
        panel(axis, task, {recipe: found[task.name] for recipe, found in runs.items() if task.name in found}, list(runs))
    for axis in list(axes.flat)[len(tasks) :]:
        axis.remove()
    handles = [Line2D([], [], color=COLOURS[place % len(COLOURS)], linewidth=2, label=recipe) for place, recipe in enumerate(runs)]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    figure.suptitle(f"Score against thousands of environment steps: the {half} half", fontsize=11)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def panel(axis: Any, task: Task, found: Mapping[str, Mapping[int, dict[str, Any]]], order: list[str]) -> None:
    for recipe, seeds in found.items():
        colour = COLOURS[order.index(recipe) % len(COLOURS)]
        curves = [[(each["steps"] / 1_000, score(task, each["mean"])) for each in run["curve"]] for run in seeds.values()]
        for curve in curves:
            axis.plot(*zip(*curve, strict=True), color=colour, linewidth=0.6, alpha=0.5)
        common = sorted(set.intersection(*({steps for steps, _ in curve} for curve in curves)))
        means = [float(np.mean([dict(curve)[steps] for curve in curves])) for steps in common]
        axis.plot(common, means, "o-", color=colour, linewidth=2, markersize=3)
        if common and common[0] == 0:
            axis.axhline(means[0], color=colour, linewidth=0.8, linestyle=":")
    axis.set_title(task.name, fontsize=9)
    axis.set_ylim(-0.03, 1.05)
    axis.grid(alpha=0.25)
    axis.tick_params(labelsize=7)
