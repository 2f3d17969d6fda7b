"""What the page draws, as columns of numbers: x, and of each line its y or nothing."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from .run_files import COUNTED, EVALUATION, WINDOWS, RunFiles, rate_of

MOST_POINTS = 500  # of a line
LEAST = 5  # episodes before a rate is drawn
LOSSES = ("critic/loss", "value/loss", "model/loss")

Columns = dict[str, list[float | None]]


def curves(files: RunFiles) -> dict[str, Any]:
    """Each plot's columns, by its name; against environment steps, or updates while only a warm-up has run."""
    with files.lock:
        return _curves(files)


def _curves(files: RunFiles) -> dict[str, Any]:
    fine = bool(files.online or files.episodes)
    records = files.online if fine else files.warm
    axis = "environment_steps" if fine else "updates"
    plots = {
        "success": _success(files) if fine else {},
        "return": _of(records, axis, {"return": "actor/episode_return"}),
        "interventions": _of(records, axis, {"per episode": "actor/interventions", "share of steps": "actor/intervention_rate"}),
        "losses": _of(records, axis, {name: name for name in LOSSES}),
        "policy": _of(records, axis, {"actor/loss": "actor/loss"}),
        "values": _of(records, axis, {"Q": "critic/q_mean", "target": "critic/target_mean"}),
        "pace": _of(records, axis, {"reached": "learner/updates_per_step", "asked": "learner/updates_per_step_asked"}),
        "offline": _of(records, axis, {"asked": "learner/offline_ratio", "reached": "learner/effective_offline_ratio"}),
        "heldout": {} if fine else _of(records, axis, {"action error": "heldout/action_error", "TD error": "heldout/td_error"}),
    }
    return {"axis": "environment steps" if fine else "updates", "plots": {name: plot for name, plot in plots.items() if plot}}


def _of(records: Sequence[Mapping[str, float]], axis: str, lines: Mapping[str, str]) -> Columns:
    """Lines of metrics, by how the page calls them."""
    lines = {shown: name for shown, name in lines.items() if any(name in record for record in records)}
    found = [record for record in records if axis in record and any(name in record for name in lines.values())]
    found = thinned(found)
    if not lines or not found:
        return {}
    return {"x": [record[axis] for record in found]} | {shown: [record.get(name) for record in found] for shown, name in lines.items()}


def _success(files: RunFiles) -> Columns:
    """Success of the last 20 and 100 episodes with the interval of the second, and evaluations."""
    rows = list[dict[str, float]]()
    windows = {window: deque[bool](maxlen=window) for window in WINDOWS}
    for episode in files.episodes:
        if episode.get("outcome") not in COUNTED:
            continue
        row = {"x": float(episode.get("environment_steps", 0))}
        for window, newest in windows.items():
            newest.append(episode["outcome"] == "success")
            row[f"last {window}"] = sum(newest) / len(newest)
        whole = windows[WINDOWS[-1]]
        if len(whole) < LEAST:
            continue
        rate = rate_of(sum(whole), len(whole))
        rows.append(row | {"low": rate["low"], "high": rate["high"]})
    if not rows:  # of an older run, whose episodes have no lines
        means = [record for record in files.online if "actor/success_rate" in record and "environment_steps" in record]
        rows = [{"x": record["environment_steps"], "last 20": record["actor/success_rate"]} for record in means]
    rows = thinned(rows)
    for record in files.evaluations:
        x = record.get("evaluation/environment_steps", record.get("environment_steps", 0.0))
        rows.append({"x": x, "evaluation": record[EVALUATION]})
    rows.sort(key=lambda row: row["x"])
    names = [name for name in ("last 20", "last 100", "low", "high", "evaluation") if any(name in row for row in rows)]
    return {name: [row.get(name) for row in rows] for name in ("x", *names)} if rows else {}


def thinned(rows: Sequence[Any]) -> list[Any]:
    """At most `MOST_POINTS` of them, the last among them."""
    every = -(-len(rows) // MOST_POINTS) or 1
    kept = list(rows[::every])
    return kept if not rows or kept[-1] is rows[-1] else [*kept, rows[-1]]
