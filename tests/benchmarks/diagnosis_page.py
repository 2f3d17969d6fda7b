"""The looks of a run as one page of small pictures, and a comparison of runs, for `warm_diagnosis.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

Look = Mapping[str, Any]
Panel = Callable[[Axes, Sequence[Look]], None]
ACTIONS = ("mean", "sampled", "recorded", "warm", "uniform")
ALIKE = dict(zip(ACTIONS, ("C0", "C9", "C2", "C1", "C7"), strict=True))


def page(report: Mapping[str, Any], path: Path) -> None:
    """Draws one run."""
    figure, axes = plt.subplots(4, 4, figsize=(19, 14), layout="constrained")
    for axis, (title, draw) in zip(axes.flat, PANELS.items(), strict=True):
        draw(axis, report["looks"])
        axis.set_title(title, fontsize="medium")
        axis.grid(alpha=0.25)
        if axis.get_legend_handles_labels()[0]:
            axis.legend(frameon=False, fontsize="x-small")
    for axis in axes[-1]:
        axis.set_xlabel("environment steps")
    figure.suptitle(_title(report))
    figure.savefig(path, dpi=90)
    plt.close(figure)


def compare(reports: Mapping[str, Mapping[str, Any]], stem: Path) -> None:
    """Writes stem.md, a table of what each run came to, and stem.png, the success of each beside that of the first."""
    steps = [look["steps"] for look in next(iter(reports.values()))["looks"]]
    measured = ("sampled at the end", "Q − return, own rows", "moved, deviations", "width", "value / cloning")
    head = ["run", *map(str, steps), *measured]
    rows = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for name, report in reports.items():
        last, rates = report["looks"][-1], {look["steps"]: look["success"]["mean"] for look in report["looks"]}
        success = [f"{rates[step]:.2f}" if step in rates else "" for step in steps]
        norm, moved = last["gradient"]["norm"], last["movement"]["own"]
        ratio = f"{norm['value'] / norm['cloning']:.2f}" if norm.get("cloning") else "none"
        numbers = (last["success"]["sampled"], last["critic"]["own"]["bias"], moved["moved_in_deviations"], moved["width"])
        rows.append("| " + " | ".join([name, *success, *(f"{number:.2f}" for number in numbers), ratio]) + " |")
    stem.with_suffix(".md").write_text("\n".join(rows) + "\n")
    first, columns = next(iter(reports.values())), 5
    lines = -(-len(reports) // columns)
    figure, axes = plt.subplots(lines, columns, figsize=(17, 2.6 * lines), layout="constrained", squeeze=False, sharex=True, sharey=True)
    for axis, (name, report) in zip(axes.flat, reports.items(), strict=False):
        _line(axis, first["looks"], "success", "mean", label="as it is", color="C7", linestyle="--")
        for which, color in (("mean", "C0"), ("sampled", "C9"), ("training", "C1")):
            _line(axis, report["looks"], "success", which, label=which, color=color)
        axis.set(title=name.replace("_", " "), ylim=(-0.02, 1.02))
        axis.grid(alpha=0.25)
    for axis in axes.flat[len(reports) :]:
        axis.set_axis_off()
    axes[0][0].legend(frameon=False, fontsize="x-small")
    figure.savefig(stem.with_suffix(".png"), dpi=90)
    plt.close(figure)


def _title(report: Mapping[str, Any]) -> str:
    what = f"without {', '.join(report['off'])}" if report["off"] else "as it is"
    recipe = f", {' '.join(report['recipe'])}" if report["recipe"] else ""
    return f"{report['task']}, seed {report['seed']}, {what}{recipe}"


def _at(look: Look, *names: str) -> float:
    """A figure by its path; NaN where there is none."""
    found: Any = look
    for name in names:
        found = found.get(name) if isinstance(found, Mapping) else None
    return np.nan if found is None else float(found)


def _line(axis: Axes, looks: Sequence[Look], *names: str, **style: Any) -> None:
    axis.plot([look["steps"] for look in looks], [_at(look, *names) for look in looks], **({"marker": "o", "markersize": 3} | style))


def _lines(axis: Axes, looks: Sequence[Look], paths: Mapping[str, tuple[str, ...]], **style: Any) -> None:
    for label, path in paths.items():
        _line(axis, looks, *path, label=label, **style)


def lines(paths: Mapping[str, tuple[str, ...]], log: bool = False, limits: tuple[float, float] | None = None, zero: bool = False) -> Panel:
    """A panel of figures along the run."""

    def draw(axis: Axes, looks: Sequence[Look]) -> None:
        _lines(axis, looks, paths)
        if log:
            axis.set_yscale("log")
        if limits:
            axis.set_ylim(*limits)
        if zero:
            axis.axhline(0, color="grey", linewidth=0.8)

    return draw


def of_actions(where: str, what: str) -> Panel:
    """A panel of one figure of each candidate action."""

    def draw(axis: Axes, looks: Sequence[Look]) -> None:
        for name in ACTIONS:
            _line(axis, looks, "actions", where, what, name, label=name, color=ALIKE[name])

    return draw


def of_kinds(which: str) -> Panel:
    """A panel of stacked shares of the kinds of rows."""

    def draw(axis: Axes, looks: Sequence[Look]) -> None:
        names = list(looks[0]["drawn"][which])
        shares = np.array([[_at(look, "drawn", which, name) for look in looks] for name in names])
        axis.stackplot([look["steps"] for look in looks], shares, labels=names, alpha=0.6)
        axis.set_ylim(0, 1)

    return draw


def _success(axis: Axes, looks: Sequence[Look]) -> None:
    _lines(axis, looks, {name: ("success", name) for name in ("mean", "sampled", "training")})
    low, high = ([_at(look, "success", name) for look in looks] for name in ("mean_low", "mean_high"))
    axis.fill_between([look["steps"] for look in looks], low, high, alpha=0.15)
    axis.set_ylim(-0.02, 1.02)


def _gradient(axis: Axes, looks: Sequence[Look]) -> None:
    for number, name in enumerate(looks[0]["gradient"]["norm"]):
        _line(axis, looks, "gradient", "norm", name, label=name, color=f"C{number}")
        _line(axis, looks, "gradient", "signal", name, color=f"C{number}", linestyle=":")
    axis.set_yscale("log")


def _widening(axis: Axes, looks: Sequence[Look]) -> None:
    for number, name in enumerate(looks[0]["step"]["own"]):
        for where, style in (("own", "-"), ("data", ":")):
            label = name if where == "own" else None
            _line(axis, looks, "step", where, name, "widened", label=label, color=f"C{number}", linestyle=style)
    axis.axhline(0, color="grey", linewidth=0.8)


def _entropy(axis: Axes, looks: Sequence[Look]) -> None:
    _lines(axis, looks, {"entropy": ("entropy", "entropy"), "asked of it": ("entropy", "target")})
    beside = axis.twinx()
    _line(beside, looks, "entropy", "temperature", color="C3", linestyle=":")
    beside.set_ylabel("temperature (dotted)", fontsize="small")


PANELS: dict[str, Panel] = {
    "success (95 % interval of the mean's)": _success,
    "Q of taken actions, and returns": lines(
        {
            "Q, own rows": ("critic", "own", "q"),
            "return, own rows": ("critic", "own", "returns"),
            "Q, data": ("critic", "data", "q"),
            "return, data": ("critic", "data", "returns"),
            "Q, starts": ("critic", "starts", "q"),
            "return, starts": ("critic", "starts", "returns"),
        }
    ),
    "rank correlation of Q and return": lines(
        {name: ("critic", part, "rank") for name, part in (("own rows", "own"), ("by the mean", "own_by_mean"), ("data", "data"))},
        limits=(-1, 1),
        zero=True,
    ),
    "Q where a success follows, and none": lines(
        {
            "own, success": ("critic", "own", "q_where_success_follows"),
            "own, none": ("critic", "own", "q_where_none_follows"),
            "data, success": ("critic", "data", "q_where_success_follows"),
            "data, none": ("critic", "data", "q_where_none_follows"),
            "ends of own failures": ("critic", "ends_of_own_failures", "q"),
        }
    ),
    "Q of actions, data's states": of_actions("data", "q"),
    "Q of actions, own states": of_actions("own", "q"),
    "greatest Q, share of data's states": of_actions("data", "greatest"),
    "greatest Q, share of own states": of_actions("own", "greatest"),
    "norm of the actor's gradient, and its signal (dotted)": _gradient,
    "by one step: log deviation, own and data's (dotted) states": _widening,
    "moved from the warm policy, in its deviations": lines(
        {"data's states": ("movement", "data", "moved_in_deviations"), "own states": ("movement", "own", "moved_in_deviations")}
    ),
    "deviation of actions, and distance moved": lines(
        {
            "width, own states": ("movement", "own", "width"),
            "width, data's states": ("movement", "data", "width"),
            "moved, own states": ("movement", "own", "moved"),
            "of the trained policy, from the acting": ("movement", "own", "trained_from_acting"),
        }
    ),
    "entropy and temperature": _entropy,
    "rows drawn": of_kinds("share"),
    "targets: how often bounds bind; evenness of weights": lines(
        {
            "recorded return raises": ("targets", "returns_bind"),
            "clip binds": ("targets", "clip_binds"),
            "weights, offline": ("drawn", "weight_evenness", "offline"),
            "weights, online": ("drawn", "weight_evenness", "online"),
            "priorities, offline": ("drawn", "priority_evenness", "offline"),
            "priorities, online": ("drawn", "priority_evenness", "online"),
        },
        limits=(-0.02, 1.02),
    ),
    "parts of targets; share of bent observations": lines(
        {
            "target": ("targets", "target"),
            "bootstrap": ("targets", "bootstrap"),
            "raised by returns": ("targets", "raised_by"),
            "cut by the clip": ("targets", "cut_by"),
            "bent, own observations": ("observations", "own", "clipped_share"),
        }
    ),
}
