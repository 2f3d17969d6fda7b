"""The report as one HTML file that needs nothing else: no network, no script; readable on a phone, in light and in dark."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np

from ...pages.sheet import Html, document, table
from ...pages.sheet import figures as figure_boxes
from ..findings import Column, EpisodeLine, Finding, Severity
from ..report import Report
from ..text import MEANING, grouped, verdict
from .charts import action_histogram, histogram, quality_strip, success_strip
from .thumbnails import cameras

EPISODES_LISTED = 500
PLACES_LISTED = 100

STYLE = """
.finding { margin: 0 0 .7rem; border-left: .4rem solid var(--note); }
.finding.harms { border-left-color: var(--harms); } .finding.breaks { border-left-color: var(--breaks); }
.pictures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(18rem, 100%), 1fr)); gap: .7rem; }
.actions { grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); } .pictures figure { margin: 0; }
svg { display: block; width: 100%; height: auto; } svg text { fill: var(--faint); font-size: 14px; } svg line { stroke: var(--line); }
rect.action, rect.failed { fill: var(--action); } rect.sound, rect.success { fill: var(--sound); } rect.note { fill: var(--note); }
rect.harms { fill: var(--harms); } rect.breaks { fill: var(--breaks); }
.key span { display: inline-block; white-space: nowrap; margin-right: .8rem; }
.key i { display: inline-block; width: .8rem; height: .8rem; border-radius: .2rem; margin-right: .3rem; }
"""


def page(report: Report) -> str:
    """The whole file."""
    names = ", ".join(Path(name).name for name in report.summary.files)
    worst = report.findings[0].severity.name.lower() if report.findings else ""
    parts = [
        f"<h1>{escape(names)}</h1>",
        f'<p class="faint">Inspected by warmloop, compared with {escape(report.summary.environment)}</p>',
        f'<p class="verdict {worst}">{escape(verdict(report))}</p>',
    ]
    if report.episodes:
        parts += [_figures(report), "<h2>Findings</h2>", *_findings(report.findings), *cameras(report), *_pictures(report)]
        parts += _tables(report)
    else:
        parts += ["<h2>Findings</h2>", *_findings(report.findings)]
    return document(names, STYLE, map(Html, parts))


def _figures(report: Report) -> str:
    summary, lines = report.summary, report.episodes
    returns = np.array([line.undiscounted_return for line in lines])
    figures = {
        "episodes": f"{summary.episodes:,}",
        "steps": f"{summary.steps:,}",
        "success at any step": f"{summary.successes / summary.episodes:.0%}",
        "steps after a success": f"{summary.steps_after_success}",
        "success at the last step": f"{summary.successes_at_the_end / summary.episodes:.0%}",
        "mean return": f"{returns.mean():.4g}",
        "mean quality": f"{np.mean([line.quality for line in lines]):.2f}",
    }
    unread = f" Not read: {escape(summary.not_read)}." if summary.not_read else ""
    return f'{figure_boxes(figures)}<p class="faint">Success means: {escape(summary.success_definition)}.{unread}</p>'


def _findings(findings: Sequence[Finding]) -> list[str]:
    if not findings:
        return ["<p>None.</p>"]
    return [_finding(group) for group in grouped(findings)]


def _finding(group: list[Finding]) -> str:
    first = group[0]
    where = f"All of {Path(first.file).name}, such as {first.place}" if first.whole else f"{Path(first.file).name}, {first.place}"
    said = [
        f"<h3>{escape(first.check[:1].upper() + first.check[1:])}</h3>",
        f'<p class="faint">{MEANING[first.severity]} · {escape(where.rstrip(", "))}</p>',
        f"<p>{escape(first.what)}</p><p><b>To do:</b> {escape(first.advice)}</p>",
    ]
    if len(group) > 1:
        places = "".join(f"<li>{escape(one.place)}: {escape(one.what)}</li>" for one in group[1 : 1 + PLACES_LISTED])
        said.append(f"<details><summary>and {len(group) - 1} more</summary><ul>{places}</ul></details>")
    return f'<div class="finding {first.severity.name.lower()}">{"".join(said)}</div>'


def _pictures(report: Report) -> list[str]:
    lines = report.episodes
    won = np.array([line.success for line in lines])
    lengths = np.array([line.length for line in lines], np.float64)
    returns = np.array([line.undiscounted_return for line in lines])
    groups = [{"success": values[won], "failed": values[~won]} for values in (lengths, returns)]
    shown = [column for column in report.columns if column.histogram]
    return [
        "<h2>Episodes</h2>",
        quality_strip(lines),
        f'<p class="key faint">{"".join(_key(name, said) for name, said in KEYS)}</p>',
        success_strip(lines),
        f'<div class="pictures">{histogram("Length", groups[0])}{histogram("Return", groups[1])}</div>',
        f'<p class="key faint">{_key("sound", "succeeded")}{_key("action", "did not")}</p>',
        "<h2>Actions, from -1 to 1</h2>",
        f'<div class="pictures actions">{"".join(action_histogram(column.name, column.histogram) for column in shown)}</div>',
    ]


KEYS = (("sound", "nothing found"), ("note", "a note"), ("harms", "harmful"), ("breaks", "breaks training"))


def _key(name: str, said: str) -> str:
    return f'<span><i style="background:var(--{name})"></i>{said}</span> '


def _tables(report: Report) -> list[str]:
    columns = table(
        ["column", "mean", "std", "least", "greatest", "unchanged", "not finite"], [_column_cells(column) for column in report.columns]
    )
    shown = report.episodes[:EPISODES_LISTED]
    heads = ["episode", "steps", "return", "success", "ending", "jerk", "at a limit", "quality", "worst finding"]
    episodes = table(heads, [_episode_cells(line) for line in shown])
    note = f"<p class='faint'>The first {EPISODES_LISTED} of {len(report.episodes)}.</p>" if len(report.episodes) > len(shown) else ""
    coverage = report.summary.coverage
    covered = table(["range", "visited"], [[name, f"{share:.0%}"] for name, share in coverage.items()]) if coverage else ""
    parts = {"Columns": columns, "Episodes": note + episodes, "Coverage of the environment's ranges": covered}
    return [
        "<h2>Tables</h2>",
        *(f"<details><summary>{name}</summary>{table}</details>" for name, table in parts.items() if table),
    ]


def _column_cells(column: Column) -> list[str]:
    figures = [f"{value:.4g}" for value in (column.mean, column.std, column.low, column.high)]
    return [column.name, *figures, f"{column.repeated:.0%}", str(column.not_finite)]


def _episode_cells(line: EpisodeLine) -> list[str]:
    worst = "" if line.worst is None else Severity(line.worst).name.lower()
    return [
        f"{Path(line.file).name} {line.number}",
        str(line.length),
        f"{line.undiscounted_return:.4g}",
        "yes" if line.success else "no",
        line.ending,
        f"{line.jerk:.3g}",
        f"{line.saturation:.0%}",
        f"{line.quality:.2f}",
        worst,
    ]
