"""The page of one run: what it is, how it ended, and all that a person would look for in its folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from ...data.pages.sheet import Html, document, figures, folded, joined, table, tag
from ...learner.diagnosis.curves import colours
from ..telling.run_history import BEGAN, ENDED, RETAINED, asked, last
from . import run_pictures as pictures
from . import words
from .links import linked, media
from .outcomes import Result, clocks, evaluations, of_evaluation, results
from .story import Kept, Story, best_policy

STYLE = """
.curves { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(30rem, 100%), 1fr)); gap: .7rem; align-items: start; }
.curves figure { margin: 0; min-width: 0; }
.plot { overflow-x: auto; } .plot svg { display: block; width: 100%; min-width: 29rem; height: auto; }
@media (max-width: 40rem) { .plot svg { min-width: 0; } .curves figure { padding: .5rem .3rem; } }
.plot text { font-family: system-ui, sans-serif !important; }
nav a { display: inline-block; padding: .3rem .5rem .3rem 0; }
.skip { position: absolute; left: -100rem; } .skip:focus { position: static; }
td.long { white-space: normal; min-width: 16rem; } dl { margin: 0; }
dt { color: var(--faint); font-size: .875rem; } dd { margin: 0 0 .5rem; }
.clips { display: grid; grid-template-columns: repeat(auto-fill, minmax(16rem, 1fr)); gap: .3rem 1rem; padding: 0; list-style: none; }
code { font-size: .875em; } .notice { border-left: .4rem solid var(--harms); padding: .4rem .8rem; background: var(--card); }
"""
EVALUATIONS_LISTED = 200


def page(story: Story, out: Path) -> str:
    """The whole file, which is to be written to `out`; links in it are relative to that."""
    sections: dict[str, list[object] | None] = {
        "Result": _result(story),
        "Curves": side_by_side(pictures.of_run(story)),
        "Evaluations": _evaluations(story),
        "Tasks": _tasks(story),
        "Interventions": _interventions(story),
        "Data": _data(story),
        "Settings": _settings(story),
        "Checkpoints": _checkpoints(story, out),
        "Faults": _faults(story, out),
        "Videos and pictures": media(story, out),
    }
    return whole(story.name, [*_head(story), *boxes(story), *sectioned(sections)])


def whole(title: str, parts: list[object]) -> str:
    """A report's file."""
    return document(title, STYLE + colours(), [tag("a", "Skip to the result", href="#result", class_="skip"), *parts])


def sectioned(sections: dict[str, list[object] | None]) -> list[object]:
    """Links to the sections that there are, and these."""
    found = {name: parts for name, parts in sections.items() if parts is not None}
    ids = {name: name.lower().replace(" ", "-") for name in found}
    shown: list[object] = [tag("nav", *(tag("a", name, href=f"#{ids[name]}") for name in found), aria_label="Sections")]
    for name, parts in found.items():
        shown.append(tag("section", tag("h2", name, id=ids[name]), *parts))
    return shown


def side_by_side(shown: Sequence[Html]) -> list[object] | None:
    """Pictures beside each other where there is room."""
    return [tag("div", *shown, class_="curves")] if shown else None


def _head(story: Story) -> list[object]:
    named, _ = asked(story.history)
    versions = list(dict.fromkeys(str(line["version"]) for line in story.history)) or ["not recorded"]
    facts = {
        "Task": story.task,
        "Agent": story.agents,
        "Configuration": tag("code", named) if named else "not recorded",
        "Seed": "not recorded" if story.seed is None else story.seed,
        "warmloop": ", then ".join(versions),
    }
    terms = joined(tag("div", tag("dt", name), tag("dd", value)) for name, value in facts.items())
    return [tag("h1", story.name), tag("p", "A run of warmloop: ", _state(story), class_="faint"), tag("dl", terms, class_="figures")]


def _state(story: Story) -> str:
    phase = {"warmup": "the offline warm-up", "online": "the online fine-tuning"}[story.phase]
    ended, began = last(story.history, ENDED, story.phase), last(story.history, BEGAN, story.phase)
    if not began:
        return f"{phase} ran last."
    if ended and ended["time"] >= began["time"]:
        return f"{phase} {'is complete' if ended.get('finished') else 'was stopped and can be resumed'} ({words.day(ended['time'])})."
    return f"{phase} began {words.day(began['time'])} and still runs, or ended without a goodbye."


def boxes(story: Story) -> list[object]:
    """The numbers that are looked for first."""
    warm, end = results(story)
    what = "return" if story.returns else "success"
    shown: dict[str, object] = {}
    for result in (warm, end):
        if result is not None and (found := result.measured(story.returns)):
            shown[f"{what} {result.when}"] = words.number(found[0])
    shown |= {"environment steps": f"{story.steps:,}"} if story.online else {}
    shown["updates"] = f"{story.updates:,}"
    names = {"warmup": "of warm-up", "online": "of fine-tuning"}
    shown |= {names[phase]: words.span(time.total) for phase, time in clocks(story).items()}
    return [figures(shown)]


def _result(story: Story) -> list[object]:
    found = [result for result in results(story) if result is not None]
    if not found:
        return [tag("p", "Nobody has judged this policy yet: ", tag("code", "warmloop evaluate --checkpoint=DIR"), " does.")]
    heads = ["policy", "success", "95 % interval", "return", "95 % interval", "episodes", "length", "actions"]
    sentence = _sentence(found, story.returns)
    note = "Intervals of success are Wilson's, of returns Student's: where the true mean may lie. Length: mean steps of an episode."
    fallen = any(record.get("best/fallen") for record in story.online[-1:])
    return [
        tag("p", sentence, class_="verdict harms" if fallen else "verdict"),
        table(heads, map(_cells, found), "Results"),
        tag("p", note, class_="faint"),
    ]


def _sentence(found: list[Result], returns: bool) -> str:
    """The end in words, beside the warm-up's."""
    end, what = found[-1], "The return" if returns else "Success"
    measured = end.measured(returns)
    said = f"{what} is {words.number(measured[0]) if measured else 'not known'} {end.when}"
    if measured and measured[1]:
        said += f" (95 % interval {words.interval(measured)}; {words.counted(end.episodes, 'episode')})"
    if len(found) == 2 and (before := found[0].measured(returns)):
        said += f"; after the warm-up it was {words.number(before[0])}" + (f" ({words.interval(before)})" if before[1] else "")
    return f"{said}."


def _cells(result: Result) -> list[object]:
    returned = words.number(result.returns[0]) if result.returns else "—"
    length = "—" if result.length is None else words.number(result.length, 0)
    success, episodes = result.success, f"{result.episodes:,}" if result.episodes else "not recorded"
    numbers = [words.rate(success), words.interval(success), returned, words.interval(result.returns), episodes, length]
    return [result.when, *numbers, result.how]


def _evaluations(story: Story) -> list[object] | None:
    found = evaluations(story)
    if not found:
        return None
    heads = ["environment steps", "update", "success", "95 % interval", "return", "episodes", "length", "running time"]
    time, rows = clocks(story)["online"], []
    for record in found[-EVALUATIONS_LISTED:]:
        one = of_evaluation(record, "")
        update = record.get("evaluation/policy_version", record["updates"])
        place = record.get("evaluation/environment_steps", record.get("environment_steps", 0))
        rows.append([f"{place:,.0f}", f"{update:,.0f}", *_cells(one)[1:4], *_cells(one)[5:7], words.span(time(record["time"]))])
    left = f"The last {len(rows)} of {len(found)}. " if len(rows) < len(found) else ""
    return [table(heads, rows, "Evaluations"), tag("p", f"{left}Intervals are Wilson's.", class_="faint")]


def _tasks(story: Story) -> list[object] | None:
    """Each task's newest success and return."""
    newest: dict[str, dict[str, float]] = {}
    for kind in ("actor", "evaluation"):
        for record in story.online:
            for name, value in record.items():
                start, _, task = name.partition("_rate/")
                if start == f"{kind}/success":
                    newest.setdefault(task, {})[kind] = value
    if not newest:
        return None
    rows = [[task, *(f"{shown[kind]:.2f}" if kind in shown else "—" for kind in ("evaluation", "actor"))] for task, shown in newest.items()]
    return [table(["task", "success, last evaluation", "success, last training episodes"], sorted(rows), "Tasks")]


def _interventions(story: Story) -> list[object] | None:
    shares = [record["actor/intervention_rate"] for record in story.online if "actor/intervention_rate" in record]
    if not any(shares):
        return None
    quarter = max(len(shares) // 4, 1)
    first, end = (sum(part) / len(part) for part in (shares[:quarter], shares[-quarter:]))
    newest = next(record for record in reversed(story.online) if "actor/intervention_rate" in record)
    often, long = newest.get("actor/interventions", 0.0), newest.get("actor/intervention_length", 0.0)
    return [
        tag("p", f"Somebody else than the policy took {first:.0%} of the steps in the first quarter of the run and {end:.0%} in the last."),
        tag("p", f"In the last episodes: {often:.1f} takeovers an episode, of {long:.0f} steps on average.", class_="faint"),
    ]


def _data(story: Story) -> list[object]:
    warm, kept, online = last(story.history, BEGAN, "warmup"), last(story.history, RETAINED, "warmup"), last(story.history, BEGAN, "online")
    data, parts = warm.get("data", {}), []
    sources = story.section("data").get("sources") or []
    rows = [[str(one.get("path", "")), str(one.get("kind", "")), str(one.get("weight", ""))] for one in sources if isinstance(one, dict)]
    if rows:
        parts.append(table(["source", "kind", "weight"], rows, "Sources"))
    if data:
        held = f"; {words.counted(data['held_out'], 'episode')} of them held out for measurement" if data.get("held_out") else ""
        parts.append(tag("p", "Warmed up on ", "; ".join(map(str, data.get("said", []))), held, "."))
        parts.append(tag("p", "Digest of the episodes, whatever files they are in: ", tag("code", data.get("digest", "")), class_="faint"))
    if kept:
        parts.append(tag("p", f"Retention: {kept.get('said', '')}."))
        parts += [tag("p", kept["warning"], class_="notice")] if kept.get("warning") else []
    if online.get("demonstrations"):
        parts.append(tag("p", "Mixed into the fine-tuning: ", *(tag("code", name, " ") for name in online["demonstrations"])))
    for name, found in (("warm-up", story.warm_checkpoints), ("fine-tuning", story.checkpoints)):
        if found and isinstance(found[-1].meta.get("offline"), dict):
            said = f"Offline rows of the {name}: {found[-1].meta.get('offline_rows', 0):,} places, sha256 "
            parts.append(tag("p", said, tag("code", str(found[-1].meta["offline"].get("sha256", ""))), class_="faint"))
    return parts or [tag("p", "No recorded data: the run began from nothing, or an earlier version did not record them.")]


def _settings(story: Story) -> list[object]:
    (named, changed), parts = asked(story.history), list[object]()
    if changed:
        rows = [[name, words.setting(ours), words.setting(theirs)] for name, (theirs, ours) in sorted(changed.items())]
        parts += [tag("p", "Changed of ", tag("code", named), ":"), table(["setting", "here", "there"], rows, "Changes")]
    elif changed is not None:
        parts.append(tag("p", "All settings are those of ", tag("code", named), "."))
    else:
        parts.append(tag("p", "What the configuration changed of its preset was not recorded."))
    for name in sorted(story.config):
        leaves = [[key, words.setting(value)] for key, value in flat(story.section(name))]
        if leaves:
            parts.append(folded(name, table(["setting", "value"], leaves, f"Settings of {name}")))
    return parts


def flat(values: object, prefix: str = "") -> list[tuple[str, object]]:
    """Every setting by its path."""
    if not isinstance(values, dict) or not values:
        return [(prefix, values)] if prefix else []
    return [leaf for name, value in values.items() for leaf in flat(value, f"{prefix}.{name}" if prefix else str(name))]


def _checkpoints(story: Story, out: Path) -> list[object] | None:
    parts, best, ahead = list[object](), best_policy(story), story.stands_by_best
    for name, found in (("Of the fine-tuning", story.checkpoints), ("Of the warm-up", story.warm_checkpoints)):
        if not found:
            continue
        scores = {one["updates"]: one for one in (story.selection or {}).get("candidates", [])} if name.endswith("warm-up") else {}
        heads = ["update", "saved", "MiB", *(["FQE", "± error"] if scores else []), "mark"]
        rows = [_checkpoint(one, out, scores.get(one.updates, {}), bool(scores)) for one in found]
        parts += [tag("h3", name), table(heads, rows, f"Checkpoints: {name}")]
    if best is not None:
        step = tag("code", "--step=best")
        taken = " evaluates and exports it." + (" The run stands by it: commands take it where no --step is given." if ahead else "")
        parts.append(tag("p", f"The best policy so far is that of update {best:,}: ", step, taken))
    return parts or None


def _checkpoint(one: Kept, out: Path, score: dict, scored: bool) -> list[object]:
    def figure(name: str) -> str:
        return "—" if score.get(name) is None else words.number(score[name], 3)

    fqe = [figure("fqe"), figure("fqe_error")] if scored else []
    return [linked(one.path, out, f"{one.updates:,}"), words.day(one.saved), f"{one.mebibytes:,.1f}", *fqe, one.mark]


COUNTS: dict[str, tuple[str, Callable[[float], bool]]] = {
    "intake/quarantined": ("rows that were put into quarantine since the learner last started", bool),
    "intake/lost": ("rows that were lost with a damaged journal or spool", bool),
    "intake/gaps": ("gaps in the actors' rows, which were filled by sending again", bool),
    "intake/reports_dropped": ("reports of actors that were dropped", bool),
    "journal/failing": ("1: the journal's disk failed at the last record", bool),
    "best/fallen": ("1: success has fallen below that of the best policy, and has not come back", bool),
}


def _faults(story: Story, out: Path) -> list[object]:
    newest: dict[str, float] = {}
    for record in story.online:
        newest |= record
    parts: list[object] = [tag("p", notice, class_="notice") for notice in story.notices]
    rows = [[said, f"{newest[name]:,.0f}"] for name, (said, matters) in COUNTS.items() if matters(newest.get(name, 0.0))]
    broken = max((record.get("actor/faults", 0.0) for record in story.online), default=0.0)
    rows += [["most of 20 episodes that a fault of the environment broke off", f"{broken:.0%}"]] if broken else []
    starts = [line for line in story.history if line["event"] == BEGAN]
    ended = [line for line in story.history if line["event"] == ENDED]
    rows += [["starts of a command without an orderly end", str(len(starts) - len(ended))]] if len(starts) > len(ended) else []
    parts += [table(["what", "how many"], rows, "Faults")] if rows else []
    if story.quarantined:
        reasons = [[reason, f"{count:,}"] for reason, count in story.quarantined.most_common()]
        folder = linked(story.path / "quarantine", out, "quarantine")
        parts += [tag("h3", "Quarantine"), table(["reason", "rows"], reasons, "Quarantine")]
        parts.append(tag("p", "In ", folder, "; ", tag("code", "inspect_data"), " on that folder shows each row.", class_="faint"))
    return parts or [tag("p", "None: nothing was lost, refused or damaged.")]
