"""The curves of one run and of several, as inline SVG."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ...data.pages.sheet import Html, tag
from ...learner.diagnosis import curves
from ...learner.diagnosis.plot import STEPS, Clock, run_figure, warm_up_figure
from .outcomes import EVALUATION, RunningTime, clocks, evaluations
from .story import Record, Story

WIDTH, HEIGHT = 5.6, 3.0  # inches
HOURS = 2.0  # from which on a run's time is shown in hours
GRID_POINTS = 60  # at which curves of several seeds are averaged


def of_run(story: Story) -> list[Html]:
    """Against environment steps, against time, and what the warm-up measured."""
    shown = []
    if any("environment_steps" in record for record in story.online):
        extra = _judged(story)
        time = clocks(story)["online"]
        for clock in (STEPS, running(time, time.total)):
            with curves.drawing():
                figure = run_figure([*extra, *story.online], story.returns, clock, WIDTH)
            shown.append(picture(figure, f"The run against {clock.label}"))
    if story.warm:
        with curves.drawing():
            figure = warm_up_figure(story.warm, story.selection, columns=2)
        shown.append(picture(figure, "Measures of the warm-up, on held-out episodes where there are some"))
    return shown


def running(time: RunningTime, longest: float) -> Clock:
    """The clock of a plot against running time, of which the longest run shown has so many seconds."""
    unit, seconds = ("hours", 3600) if longest >= 3600 * HOURS else ("minutes", 60)

    def of(record: Mapping[str, float]) -> float:
        return time(record.get("time", time.first)) / seconds

    return Clock(f"{unit} of fine-tuning", of, of)


def of_several(groups: Mapping[str, Sequence[Story]]) -> list[Html]:
    """Success of groups of runs, and returns where one learns for them, against steps and time: each group's mean, each run's line."""
    shown = []
    times = [time for group in groups.values() for story in group if (time := clocks(story).get("online"))]
    longest = max((time.total for time in times), default=0.0)
    label = running(times[0], longest).label if times else ""
    wanted = {"success rate": (EVALUATION, "actor/success_rate", (-0.03, 1.06))}
    if any(story.returns for group in groups.values() for story in group):
        wanted = {"return": ("evaluation/episode_return", "actor/episode_return", None)} | wanted
    for what, (evaluated, trained, limits) in wanted.items():
        kind = evaluated if all(len(evaluations(story)) > 1 for group in groups.values() for story in group) else trained
        for by_time in (False, True):
            lines = {name: [line for story in group if (line := _line(story, kind, longest * by_time))] for name, group in groups.items()}
            with curves.drawing():
                figure, (axis,) = curves.panels([HEIGHT], WIDTH)
                axis.set(ylabel=what, xlabel=label if by_time else STEPS.label)
                if limits:
                    axis.set(ylim=limits)
                drawn = [_group(axis, number, name, of) for number, (name, of) in enumerate(lines.items())]
                curves.finish(axis)
                curves.from_the_beginning([axis])
            said = "evaluations" if kind == evaluated else "training episodes (mean of 20)"
            against = "time" if by_time else "environment steps"
            if any(drawn):
                shown.append(picture(figure, f"{what.capitalize()} of {said} against {against}"))
    return shown


def picture(figure: object, said: str) -> Html:
    """A figure with its caption; it scrolls by itself where it is too wide."""
    name = re.sub(r"[^a-z]+", "-", said.lower())  # no two pictures of a page have one caption
    drawing = Html(curves.svg(figure, name, said))  # pyright: ignore[reportArgumentType] (a figure of `drawing`)
    return tag("figure", tag("figcaption", said), tag("div", drawing, class_="plot", tabindex=0, role="region", aria_label=said))


def _group(axis: object, number: int, name: str, lines: Sequence[Sequence[tuple[float, float]]]) -> bool:
    """Draws a group by the lines of its runs; whether there was anything to draw."""
    look = curves.series(number)
    if len(lines) == 1:
        curves.line(axis, lines[0], name, **look)  # pyright: ignore[reportArgumentType]
    if len(lines) < 2:
        return bool(lines)
    for line in lines:
        axis.plot(*zip(*line, strict=True), color=look["colour"], linewidth=0.7, alpha=0.45)  # pyright: ignore[reportAttributeAccessIssue]
    low, high = (pick(ends) for pick, ends in ((max, [line[0][0] for line in lines]), (min, [line[-1][0] for line in lines])))
    places = np.linspace(low, high, GRID_POINTS) if high > low else np.array([low])
    means = np.mean([np.interp(places, [x for x, _ in line], [y for _, y in line]) for line in lines], axis=0)
    label = f"{name} (mean of {len(lines)} seeds)"
    curves.line(axis, list(zip(places, means, strict=True)), label, **look, linewidth=2.4)  # pyright: ignore[reportArgumentType]
    return True


def _line(story: Story, kind: str, longest: float) -> list[tuple[float, float]]:
    """A run's points, by rising place: against time where the `longest` run's is given, else against steps."""
    time = clocks(story).get("online")
    clock = running(time, longest) if longest and time is not None else STEPS
    place: Callable[[Record], float] = clock.evaluated if kind.startswith("evaluation/") else clock.of
    return sorted((place(record), record[kind]) for record in story.online if kind in record and "environment_steps" in record)


def _judged(story: Story) -> list[Record]:
    """Evaluations that were made beside the run, as records."""
    from ..telling.run_history import JUDGED, last

    found = []
    for phase, place in (("warmup", 0), ("online", story.steps)):
        line = last(story.history, JUDGED, phase)
        names = ("success_rate", "success_low", "success_high")
        if set(names) <= line.keys():
            numbers = {f"evaluation/{name}": float(line[name]) for name in names}
            found.append(numbers | {"environment_steps": float(place), "time": story.online[0 if not place else -1]["time"]})
    return found
