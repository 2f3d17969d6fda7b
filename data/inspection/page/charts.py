"""Pictures of a report as inline SVG: no script, no network, and each with its figures in words."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from ..findings import EpisodeLine, Severity

WIDTH, HEIGHT, FOOT = 400, 130, 22
BINS = 20
CELLS = 200  # episodes that a strip shows one by one; above, it shows means of neighbours


def histogram(title: str, groups: dict[str, np.ndarray]) -> str:
    """Stacked bars of how often values occur; each group's name is its CSS class."""
    values = np.concatenate(list(groups.values()))
    values = values[np.isfinite(values)]
    if not len(values):
        return ""
    low, high = float(values.min()), float(values.max())
    edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
    counts = {name: np.histogram(part[np.isfinite(part)], edges)[0] for name, part in groups.items()}
    top = np.sum(list(counts.values()), axis=0).max()
    said = f"{title}: {low:.4g} to {high:.4g}, median {np.median(values):.4g}"
    floor = np.zeros(BINS)
    bars: list[str] = []
    for name, heights in counts.items():
        for place, height in enumerate(heights):
            tip = f"{edges[place]:.4g} to {edges[place + 1]:.4g}: {height} {name}"
            bars.append(_bar(place, floor[place], height, top, name, tip))
        floor += heights
    axis = f'<text x="0" y="{HEIGHT - 6}">{low:.4g}</text><text x="{WIDTH}" y="{HEIGHT - 6}" text-anchor="end">{high:.4g}</text>'
    return _picture(said, "".join(bars) + axis, HEIGHT)


def action_histogram(name: str, counts: Sequence[int]) -> str:
    """One action's values over [-1, 1]."""
    top = max(max(counts), 1)
    width = WIDTH / len(counts)
    bars = "".join(
        f'<rect class="action" x="{place * width:.1f}" y="{80 - 76 * count / top:.1f}" width="{width - 2:.1f}" '
        f'height="{76 * count / top:.1f}"><title>{-1 + 2 * place / len(counts):.1f}: {count}</title></rect>'
        for place, count in enumerate(counts)
    )
    middle = f'<line x1="{WIDTH / 2}" x2="{WIDTH / 2}" y1="0" y2="80"/>'
    return _picture(name, bars + middle, 82)


def quality_strip(lines: Sequence[EpisodeLine]) -> str:
    """A bar for each episode: as high as its quality, coloured by its gravest finding."""
    parts = [part for part in np.array_split(np.arange(len(lines)), min(len(lines), CELLS)) if len(part)]
    width = WIDTH * 2 / len(parts)
    bars: list[str] = []
    for place, part in enumerate(parts):
        chosen = [lines[index] for index in part]
        quality = float(np.mean([line.quality for line in chosen]))
        worst = max((line.worst for line in chosen if line.worst is not None), default=None)
        height = max(96 * quality, 3)
        named = f"episode {chosen[0].number}" + (f" to {chosen[-1].number}" if len(chosen) > 1 else "")
        bars.append(
            f'<rect class="{_class(worst)}" x="{place * width:.2f}" y="{100 - height:.1f}" width="{max(width - 1, width * 0.7):.2f}" '
            f'height="{height:.1f}"><title>{named}: quality {quality:.2f}{_said(worst)}</title></rect>'
        )
    return _picture("Quality of each episode, from 0 to 1, in the order of the files", "".join(bars), 102, WIDTH * 2)


def success_strip(lines: Sequence[EpisodeLine]) -> str:
    """A cell for each episode, dark where it succeeded."""
    parts = [part for part in np.array_split(np.arange(len(lines)), min(len(lines), CELLS)) if len(part)]
    width = WIDTH * 2 / len(parts)
    cells: list[str] = []
    for place, part in enumerate(parts):
        share = float(np.mean([lines[index].success for index in part]))
        tip = f"episode {lines[part[0]].number}: {'success' if share == 1 else 'no success' if share == 0 else f'{share:.0%} success'}"
        cells.append(
            f'<rect class="success" fill-opacity="{0.12 + 0.88 * share:.2f}" x="{place * width:.2f}" y="0" '
            f'width="{max(width - 1, width * 0.7):.2f}" height="24"><title>{tip}</title></rect>'
        )
    return _picture("Success of each episode (dark: succeeded)", "".join(cells), 26, WIDTH * 2)


def _bar(place: int, floor: float, count: float, top: float, name: str, tip: str) -> str:
    scale, width = (HEIGHT - FOOT) / max(top, 1), WIDTH / BINS
    y = HEIGHT - FOOT - (floor + count) * scale
    return (
        f'<rect class="{escape(name)}" x="{place * width:.1f}" y="{y:.1f}" width="{width - 2:.1f}" height="{count * scale:.1f}">'
        f"<title>{escape(tip)}</title></rect>"
        if count
        else ""
    )


def _picture(said: str, inner: str, height: float, width: float = WIDTH) -> str:
    label = escape(said)
    svg = f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{label}">{inner}</svg>'
    return f"<figure><figcaption>{label}</figcaption>{svg}</figure>"


def _class(worst: Severity | None) -> str:
    return "sound" if worst is None else worst.name.lower()


def _said(worst: Severity | None) -> str:
    return "" if worst is None else {0: ", a note", 1: ", harmful findings", 2: ", breaks training"}[int(worst)]
