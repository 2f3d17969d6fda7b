"""How curves are drawn: legible for one point and for many, where several coincide, and without colour; as PNG and as inline SVG."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TEXT, GRID, PAPER = "#1d2129", "#9aa0a8", "#fffffe"
INK, TRAINED, BEST, QUIET, HAND = "#1f4e79", "#3f97d3", "#00805c", "#c7772e", "#a33b52"
SERIES = ("#0072b2", "#d55e00", "#009e73", "#b0559a", "#a67c00", "#56b4e9", "#5f6673")  # after Okabe and Ito; told apart without colour too
DASHES, MARKERS = ("-", "--", ":", "-."), "osD^vPX"
# Each colour's CSS variable, and what it is in the dark.
DARK = {
    TEXT: ("text", "#e8eaee"), GRID: ("grid", "#5b6370"), PAPER: ("paper", "#1c2027"), INK: ("ink", "#8ab8f2"),
    TRAINED: ("trained", "#4f9bd0"), BEST: ("best", "#4cc79f"), QUIET: ("quiet", "#e39a55"), HAND: ("hand", "#e8879b"),
    **{light: (f"series-{number}", dark) for number, (light, dark) in enumerate(
        zip(SERIES, ("#5aaee0", "#ff8a3d", "#35c79c", "#e39ad0", "#d9ae3c", "#8fd0f5", "#a9b0bc"), strict=True))},
}  # fmt: skip
ENOUGH_FOR_A_LINE = 4  # evaluations
ALL_MARKED, SOME_MARKED = 25, 10  # up to so many points each has a marker; of more about so many
ALIKE = 0.015  # a share of the height that curves which coincide lie within
DASH = 6.0  # points of a curve that one of several which coincide is drawn over
RIM, MOST_RIM = 2.0, 6.0  # points that a marker is larger for each curve that is drawn over it; and at most
WIDE, COLUMNS = 7.0, (2, 3)  # inches; columns of a legend in a narrower figure, and in one of that width


@contextmanager
def drawing() -> Iterator[None]:
    """Within it, figures have one look, and a name with a $ is text and no formula."""
    import matplotlib

    look: dict[Any, Any] = {
        "text.parse_math": False, "svg.fonttype": "none", "svg.hashsalt": "warmloop",
        "font.size": 10.0, "text.color": TEXT, "axes.labelcolor": TEXT,
        "axes.edgecolor": GRID, "xtick.color": TEXT, "ytick.color": TEXT, "axes.spines.top": False, "axes.spines.right": False,
        "figure.facecolor": PAPER, "axes.facecolor": "none", "savefig.facecolor": PAPER,
    }  # fmt: skip
    with matplotlib.rc_context(look), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing", category=UserWarning)  # of names in other scripts
        yield


def panels(heights: Sequence[float], width: float = 8.0) -> tuple[Figure, list[Axes]]:
    """A figure of panels of these heights in inches, one below the other over one horizontal axis. Legends add to its height."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, 1.0 + sum(heights) + 0.45 * len(heights)), layout="constrained")
    return figure, list(figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=list(heights))[:, 0])


def line(axis: Axes, points: Sequence[tuple[float, float]], label: str, colour: str, marker: str = "o", **style: Any) -> None:
    """A curve through points in their order, of which enough have a marker that a single one is seen. None where there are no points."""
    if not points:
        return
    number, step = len(axis.lines), math.ceil(len(points) / SOME_MARKED)
    every = 1 if len(points) <= ALL_MARKED else (number * max(step // 4, 1) % step, step)
    known: dict[str, Any] = {"markersize": 4.5, "linewidth": 1.6} | style
    axis.plot(*zip(*points, strict=True), color=colour, label=named(label), marker=marker, markevery=every, **known)


def named(label: str) -> str:
    """A label as a legend takes it: matplotlib leaves out what begins with an underscore."""
    return f"\u200b{label}" if label.startswith("_") else label


def series(number: int) -> dict[str, Any]:
    """Colour, dashes and marker of one of several curves; no two of 28 are alike, and none of four without colour."""
    return {"colour": SERIES[number % len(SERIES)], "linestyle": DASHES[number % len(DASHES)], "marker": MARKERS[number % len(MARKERS)]}


def finish(axis: Axes) -> None:
    """Draws curves that coincide by turns, and the legend above the panel, where it covers nothing."""
    _by_turns(axis)
    axis.grid(color=GRID, alpha=0.3)
    (handles, labels), figure = axis.get_legend_handles_labels(), axis.get_figure(root=True)
    if handles and figure is not None:
        width, height = figure.get_size_inches()
        columns = COLUMNS[int(width >= WIDE)]
        axis.legend(
            handles, labels, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=columns, frameon=False, fontsize="small", borderaxespad=0.2,
            handlelength=3.2,
        )  # fmt: skip
        figure.set_size_inches(width, height + 0.2 * (math.ceil(len(handles) / columns) - 1))


def from_the_beginning(axes: Sequence[Axes]) -> None:
    """Where panels of one horizontal axis show one place alone, has that axis reach from 0 to it."""
    places = {float(place) for axis in axes for line in axis.lines for place in np.asarray(line.get_xdata(), float)}
    if len(places) == 1 and (last := max(places)) > 0:
        axes[-1].set_xlim(-0.05 * last, 1.05 * last)


def png(figure: Figure, path: Path) -> Path:
    """Writes the picture; returns its path."""
    figure.savefig(path, dpi=130)
    return path


def svg(figure: Figure, name: str, said: str) -> str:
    """The figure as inline SVG whose colours are CSS variables (see `colours`).

    Args:
        name: of letters; begins every id in it, so that several may be in one page.
        said: what a screen reader says of it.
    """
    from xml.sax.saxutils import quoteattr

    file = StringIO()
    with drawing():
        figure.savefig(file, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    text = file.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", text[text.index("<svg") :], flags=re.DOTALL)
    view = re.search(r'viewBox="[^"]*"', text)
    text = f'<svg {view[0] if view else ""} role="img" aria-label={quoteattr(said)}>{text[text.index(">") + 1 :]}'

    def ours(found: re.Match[str]) -> str:
        element = re.sub(r'(\bid="|url\(#|xlink:href="#)', rf"\1{name}-", found[0])
        for colour, (variable, _) in DARK.items():
            element = element.replace(colour, f"var(--curve-{variable})")
        return element

    head, rest = text[: text.index(">") + 1], text[text.index(">") + 1 :]
    return head + re.sub(r"<[^>]*>", ours, rest)  # within elements alone: text is what a name says


def colours() -> str:
    """CSS that gives the variables of `svg` their colours, in light and in dark."""
    light = " ".join(f"--curve-{variable}: {colour};" for colour, (variable, _) in DARK.items())
    dark = " ".join(f"--curve-{variable}: {colour};" for variable, colour in DARK.values())
    return f":root {{ {light} }}\n@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n"


def _by_turns(axis: Axes) -> None:
    """Dashes each curve that would hide another, so that each of n is seen for a part in n of the way, and all stay at their values.

    The gaps of each are a little longer than those of the one below, since curves that begin at different places would else meet with
    their dashes. The lowest one is whole, and its markers are the largest.
    """
    drawn = sorted(axis.lines, key=lambda one: one.get_zorder())
    under, over = [0] * len(drawn), [0] * len(drawn)  # curves below and above each, one on the other
    for place, one in enumerate(drawn):
        under[place] = max((under[other] + 1 for other in range(place) if _coincide(one, drawn[other], axis)), default=0)
    for place in reversed(range(len(drawn))):
        above = (over[other] + 1 for other in range(place + 1, len(drawn)) if _coincide(drawn[other], drawn[place], axis))
        over[place] = max(above, default=0)
    for one, below, above in zip(drawn, under, over, strict=True):
        if below or above:
            on, off = DASH / one.get_linewidth(), DASH * (below + above) * (1 + 0.1 * below) / one.get_linewidth()
            one.set_linestyle((on + off - below * on, (on, off)) if below else "-")
            one.set_markersize(one.get_markersize() + min(RIM, MOST_RIM / (below + above)) * above)


def _coincide(one: Any, other: Any, axis: Axes) -> bool:
    """Whether at half of their common places, or more, two curves are as good as one."""
    (x, y), (u, v) = ((np.asarray(line.get_xdata(), float), np.asarray(line.get_ydata(), float)) for line in (one, other))
    places = np.union1d(x, u)
    places = places[(places >= max(x.min(), u.min())) & (places <= min(x.max(), u.max()))]
    low, high = axis.get_ylim()
    if not len(places):
        return False
    apart = np.abs(np.interp(places, *_rising(x, y)) - np.interp(places, *_rising(u, v)))
    return float(np.mean(apart <= ALIKE * abs(high - low))) >= 0.5


def _rising(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(x, kind="stable")
    return x[order], y[order]
