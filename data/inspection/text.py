"""The report as lines for a terminal of 80 to 100 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from .findings import Camera, Column, Finding, Inspected, Severity

WIDTH = 92
PLACES = 5
COLUMNS_SHOWN = 8
MARKS = {Severity.BREAKS: "BREAKS", Severity.HARMS: "HARMS", Severity.NOTE: "note"}
MEANING = {
    Severity.BREAKS: "would break training",
    Severity.HARMS: "would make a policy learn less, or something else",
    Severity.NOTE: "worth knowing",
}


def render(report: Inspected, *, every_place: bool = False) -> str:
    """The whole report in words; `every_place` lists all episodes of a finding, and all columns."""
    lines = [
        *_summary(report),
        "",
        *_columns(report.columns, every_place),
        *_cameras(report.cameras),
        "",
        *_quality(report),
        "",
        *_findings(report, every_place),
    ]
    return "\n".join(lines)


def grouped(findings: Iterable[Finding]) -> list[list[Finding]]:
    """Findings of one check and severity together, the gravest first."""
    groups: dict[tuple[str, Severity], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.check, finding.severity), []).append(finding)
    return sorted(groups.values(), key=lambda group: -group[0].severity)


def verdict(report: Inspected) -> str:
    """One sentence: whether to train on it."""
    counts = {severity: sum(finding.severity == severity for finding in report.findings) for severity in MARKS}
    if counts[Severity.BREAKS]:
        return f"Do not train on this yet: {_count(counts[Severity.BREAKS], 'finding')} would break training."
    if counts[Severity.HARMS]:
        return f"Training on this is possible, but {_count(counts[Severity.HARMS], 'finding')} would harm what is learnt."
    notes = f" ({_count(counts[Severity.NOTE], 'note')})" if counts[Severity.NOTE] else ""
    return f"The checks found nothing wrong{notes}."


def _summary(report: Inspected) -> Iterator[str]:
    summary = report.summary
    lengths = np.array([line.length for line in report.episodes])
    returns = np.array([line.undiscounted_return for line in report.episodes])
    rows = {"files": ", ".join(Path(name).name for name in summary.files), "episodes": f"{summary.episodes}"}
    if summary.episodes:
        rows |= {
            "steps": f"{summary.steps} ({lengths.min()} to {lengths.max()} an episode, median {np.median(lengths):.0f})",
            "returns": f"{returns.min():.4g} to {returns.max():.4g}, mean {returns.mean():.4g}",
            "success": f"{summary.successes} of {summary.episodes} ({summary.successes / summary.episodes:.0%}), at the last step "
            f"{summary.successes_at_the_end}; {summary.steps_after_success} steps come after one; "
            f"success means: {summary.success_definition}",
        }
    if summary.not_read:
        rows |= {"not read": summary.not_read}
    rows |= {"compared with": summary.environment}
    for name, value in rows.items():
        yield from _wrapped(f"{name:<15}", value)


def _columns(columns: Sequence[Column], every: bool) -> Iterator[str]:
    if not columns:
        return
    yield f"{'column':<24}{'mean':>10}{'std':>10}{'least':>10}{'greatest':>10}{'unchanged':>11}"
    for kind in ("action", "reward", "observation"):
        chosen = [column for column in columns if column.kind == kind]
        for column in chosen if every else chosen[:COLUMNS_SHOWN]:
            figures = "".join(f"{value:>10.3g}" for value in (column.mean, column.std, column.low, column.high))
            yield f"{column.name[:23]:<24}{figures}{column.repeated:>11.0%}"
        if len(chosen) > COLUMNS_SHOWN and not every:
            yield f"  and {len(chosen) - COLUMNS_SHOWN} more {kind} columns (--all shows them)"


def _cameras(cameras: Sequence[Camera]) -> Iterator[str]:
    if cameras:
        yield ""
        yield f"{'camera':<24}{'size':>18}{'least':>10}{'greatest':>10}{'mean':>10}{'black':>10}"
    for camera in cameras:
        size = " x ".join(map(str, camera.shape))
        figures = "".join(f"{value:>10.3g}" for value in (camera.low, camera.high, camera.mean))
        yield f"{camera.name[:23]:<24}{size:>18}{figures}{camera.black / camera.pictures:>10.0%}"


def _quality(report: Inspected) -> Iterator[str]:
    if not report.episodes:
        return
    bars = "▁▂▃▄▅▆▇█"
    strip = "".join(bars[min(int(line.quality * len(bars)), len(bars) - 1)] for line in report.episodes)
    yield f"quality of each episode, 0 to 1; mean {np.mean([line.quality for line in report.episodes]):.2f}"
    yield from textwrap.wrap(strip, WIDTH - 4, initial_indent="  ", subsequent_indent="  ")[:6]
    worst = sorted(report.episodes, key=lambda line: line.quality)[:PLACES]
    yield "  least: " + ", ".join(f"episode {line.number} ({line.quality:.2f})" for line in worst)


def _findings(report: Inspected, every_place: bool) -> Iterator[str]:
    yield verdict(report)
    for group in grouped(report.findings):
        first = group[0]
        yield ""
        yield f"{MARKS[first.severity]}: {first.check} ({MEANING[first.severity]})"
        yield from _wrapped("  ", f"{_where(first)}: {first.what}" if first.place else first.what)
        yield from _wrapped("  To do: ", first.advice)
        others = group[1:] if every_place else group[1 : 1 + PLACES]
        if others:
            more = f", and {len(group) - 1 - len(others)} more (--all lists them)" if len(group) - 1 > len(others) else ""
            yield from _wrapped("  Also: ", "; ".join(dict.fromkeys(map(_where, others))) + more)


def _where(finding: Finding) -> str:
    name = Path(finding.file).name
    return f"{name}, all of it, such as {finding.place}" if finding.whole else f"{name}, {finding.place}"


def _wrapped(start: str, text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=start, subsequent_indent=" " * len(start), break_long_words=False)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
