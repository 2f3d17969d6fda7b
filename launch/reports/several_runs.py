"""The page that compares several runs: those that differ by seed alone are one, with a mean and an interval over their seeds."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from ...data.files.run_folder import REPORT
from ...data.pages.sheet import figures, table, tag
from ..telling.run_history import BEGAN, last
from . import run_pictures as pictures
from . import words
from .links import linked
from .one_run import flat, sectioned, side_by_side, whole
from .outcomes import Result, clocks, over_seeds, results
from .story import Story

Groups = Mapping[str, Sequence[Story]]


def page(stories: Sequence[Story], out: Path) -> str:
    """The whole file, which is to be written to `out`."""
    groups = grouped(stories)
    sections: dict[str, list[object] | None] = {
        "Result": _result(groups),
        "Curves": side_by_side(pictures.of_several(groups)),
        "Runs": _runs(groups, out),
        "Settings that differ": _differences(groups),
        "Faults": _faults(stories),
    }
    title = f"{words.counted(len(stories), 'run')} compared"
    said = f"{words.counted(len(groups), 'configuration')}; runs that differ by their seed alone are taken together."
    tasks = ", ".join(dict.fromkeys(story.task for story in stories))
    head = [tag("h1", title), tag("p", said, class_="faint"), figures({"configurations": len(groups), "runs": len(stories), "task": tasks})]
    return whole(title, [*head, *sectioned(sections)])


def grouped(stories: Sequence[Story]) -> dict[str, list[Story]]:
    """Runs that differ by seed alone, under a name for each group."""
    alike: dict[str, list[Story]] = {}
    for story in stories:
        digest = last(story.history, BEGAN, "warmup").get("data", {}).get("digest")
        alike.setdefault(json.dumps([story.config, digest], sort_keys=True, default=str), []).append(story)
    names = _names(stories)
    found: dict[str, list[Story]] = {}
    for group in alike.values():
        own = [names[id(story)] for story in group]
        common = _beginning(own).rstrip("-_. 0123456789/")
        name = own[0] if len(own) == 1 else common if common and common not in found else f"{own[0]} and {len(own) - 1} more"
        found[name] = group
    return found


def _beginning(names: Sequence[str]) -> str:
    """The letters with which all of them begin."""
    alike = itertools.takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
    return "".join(letters[0] for letters in alike)


def _names(stories: Sequence[Story]) -> dict[int, str]:
    """A name for each run: its folder's, with as many of those above as tell it from the others."""
    depth, paths = 1, {id(story): story.path.resolve().parts for story in stories}
    while len({parts[-depth:] for parts in paths.values()}) < len({parts for parts in paths.values()}):
        depth += 1
    return {key: "/".join(parts[-depth:]) for key, parts in paths.items()}


def _result(groups: Groups) -> list[object]:
    rows = [_row(name, group) for name, group in groups.items()]
    heads = ["configuration", "runs", "success, warm-up", "success, end", "return, warm-up", "return, end", "steps", "time"]
    note = (
        "In brackets: 95 % intervals. Of several seeds it is Student's, of their mean, for what other seeds would give; of success it is "
        "no narrower than Wilson's over all their episodes. Of a single run it is that of its own episodes, for what more episodes of the "
        "same policy would give. Times are a run's mean, warm-up and fine-tuning together."
    )
    judged = [result for group in groups.values() for story in group for result in results(story) if result]
    kinds = sorted({result.how for result in judged if result.how})
    mixed = [tag("p", f"The runs were not all judged alike: {'; '.join(kinds)}.", class_="notice")] if len(kinds) > 1 else []
    return [table(heads, rows, "Results"), *mixed, tag("p", note, class_="faint")]


def _row(name: str, group: Sequence[Story]) -> list[object]:
    warm, end = zip(*map(results, group), strict=True)
    seeds = ", ".join("not recorded" if story.seed is None else str(story.seed) for story in group)
    times = [sum(time.total for time in clocks(story).values()) for story in group]
    return [
        name,
        f"{len(group)} (seed{'s' if len(group) > 1 else ''} {seeds})",
        *(_said(_over(judged, name)) for name in ("success", "returns") for judged in (warm, end)),
        f"{sum(story.steps for story in group) / len(group):,.0f}",
        words.span(sum(times) / len(times)),
    ]


def _said(measured: words.Measured) -> str:
    return _number(measured) + (f" ({words.interval(measured)})" if measured and measured[1] else "")


def _number(measured: words.Measured) -> str:
    return "—" if measured is None else words.number(measured[0])


def _over(found: Sequence[Result | None], name: str) -> words.Measured:
    """The mean over the runs that were judged, with an interval over them; a single run's own."""
    judged = [result for result in found if result is not None and getattr(result, name) is not None]
    measured = [getattr(result, name) for result in judged]
    if len(measured) < 2:
        return measured[0] if measured else None
    return over_seeds([mean for mean, _ in measured], [result.episodes for result in judged] if name == "success" else ())


def _runs(groups: Groups, out: Path) -> list[object]:
    heads = ["run", "configuration", "seed", "success", "95 % interval", "return", "judged", "steps", "time", "warmloop"]
    rows = []
    for name, group in groups.items():
        for story in group:
            _, end = results(story)
            own, success = story.path / REPORT, end.success if end else None
            time = sum(one.total for one in clocks(story).values())
            versions = ", ".join(dict.fromkeys(str(line["version"]) for line in story.history)) or "—"
            shown = linked(own, out, story.name) if own.is_file() else story.name
            numbers = [words.rate(success), words.interval(success), _number(end.returns if end else None), end.when if end else "—"]
            rows.append([shown, name, story.seed, *numbers, f"{story.steps:,}", words.span(time), versions])
    return [table(heads, rows, "Runs")]


def _differences(groups: Groups) -> list[object]:
    """Every setting in which two configurations differ, and their data."""
    settings = {name: dict(flat(dict(group[0].config))) for name, group in groups.items()}
    for name, group in groups.items():
        data = last(group[0].history, BEGAN, "warmup").get("data", {})
        settings[name] |= {"digest of the data": str(data["digest"])[:16]} if data.get("digest") else {}
    known = dict.fromkeys(key for one in settings.values() for key in one)
    rows = []
    for key in known:
        values = [words.setting(one.get(key)) for one in settings.values()]
        if len(set(values)) > 1:
            rows.append([key, *values])
    if len(groups) == 1:
        return [tag("p", "None: the runs differ by their seed alone.")]
    return [table(["setting", *groups], rows, "Settings that differ")]


def _faults(stories: Sequence[Story]) -> list[object] | None:
    said: list[object] = []
    for story in stories:
        said += [tag("p", f"{story.name}: {notice}", class_="notice") for notice in story.notices]
        if story.quarantined:
            said.append(tag("p", f"{story.name}: {words.counted(sum(story.quarantined.values()), 'row')} in quarantine."))
    return said or None
