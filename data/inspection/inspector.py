"""One pass over the data, every check, one report."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from ..episode import Episode
from ..errors import WarmloopError
from ..files.whole_files import absent
from ..formats import format_of, parse_source_argument, place_of
from ..formats.recordings.options import BadEpisode, ReadOptions
from ..quality import QualityConfig, score
from .checks import DATA_CHECKS, EPISODE_CHECKS
from .checks.environment_checks import coverage
from .episode_facts import EpisodeFacts, Fault, View
from .findings import EpisodeLine, Finding, Severity, Summary
from .reading import Recorded, given, read
from .reference import Reference
from .report import Report
from .survey import Survey, outcome

HARM_FACTOR = 0.5  # of an episode's quality, for each harmful finding in it


def inspect(
    data: str | Path | Sequence[str | Path | Episode],
    reference: Reference | None = None,
    environment: str = "",
    on_episode: Callable[[], object] = lambda: None,
    success: str = "",
    dones: str = "",
    skip_bad_episodes: bool = False,
) -> Report:
    """What is in the data, and what is wrong with it; `print` it, or look at its `findings`. Works through it once, an episode at a time.

    Args:
        data: a file, or several, each `PATH` or `kind=PATH`; or episodes in memory.
        reference: the environment to compare with; without one, what needs its spaces or rewards is not checked.
        environment: what to say of the reference in the report, such as why there is none.
        on_episode: called after each episode.
        success: which steps succeeded, for files without a flag (`data/outcome.py`); "" decides by rewards of 0 and 1 alone.
        dones: what `dones` mean in a file that marks ends by them alone, as `ReadOptions` has it.
        skip_bad_episodes: episodes that training would refuse are left out, as it leaves them out with that setting, and noted.

    Raises:
        WarmloopError: there is nothing to inspect, or a file does not exist, or a folder holds no data set. A file, or an episode, that
            cannot be read is a finding.
    """
    sources = [data] if isinstance(data, str | Path) else list(data)
    if not sources:
        raise WarmloopError("There is nothing to inspect: name a file.")
    episodes = [source for source in sources if isinstance(source, Episode)]
    files = [str(source) for source in sources if not isinstance(source, Episode)]
    survey = Survey(reference, kinds_are_known=any(parse_source_argument(file)[0] is not None for file in files))
    findings: list[Finding] = []
    for recorded in itertools.chain(given(episodes), *(_readable(file, findings, success, dones, skip_bad_episodes) for file in files)):
        findings += _look(recorded, survey)
        on_episode()
    if survey.facts:
        findings += [
            _finding(name, fault, survey.facts[0], fault.at is None) for name, check in DATA_CHECKS.items() for fault in check(survey)
        ]
    findings.sort(key=lambda finding: -finding.severity)
    names = tuple(dict.fromkeys([*files, *(episode.origin for episode in episodes)]))
    return _report(survey, findings, names, environment or (reference.name if reference else "none"))


def _readable(file: str, findings: list[Finding], success: str, dones: str, skip: bool) -> Iterator[Recorded]:
    """The file's episodes; a file and an episode that cannot be read become findings."""
    source, path = parse_source_argument(file)
    if not path.startswith("minari:") and not place_of(path).exists():
        raise WarmloopError(absent(place_of(path)))
    if Path(path).expanduser().is_dir():
        format_of(path)
    bad: list[BadEpisode] = []
    options = ReadOptions(dones, lambda _: None).collecting(bad)
    try:
        yield from read(path, source, success, options, trainable=skip)
    except WarmloopError as error:
        remedy = "Do what is said above, or record or copy the file again."
        findings.append(Finding("unreadable file", Severity.BREAKS, path, None, None, str(error), remedy))
    severity = Severity.NOTE if skip else Severity.BREAKS
    advice = "It is left out by --skip_bad_episodes." if skip else "Record it again, or leave it out by --skip_bad_episodes."
    findings += [Finding("unreadable episode", severity, one.file, one.number, None, one.reason, advice) for one in bad]


def _look(recorded: Recorded, survey: Survey) -> list[Finding]:
    """Takes an episode into the survey, and returns what its own checks find."""
    episode = recorded.episode
    if not len(episode):
        what, advice = "The episode has no steps.", "Leave it out."
        return [Finding("episode lengths", Severity.BREAKS, episode.origin, episode.number, None, what, advice)]
    if difference := survey.difference(episode):
        advice = "Load together only data of one robot and task."
        return [Finding("shapes", Severity.BREAKS, episode.origin, episode.number, None, f"{difference}.", advice)]
    view = View(recorded)
    facts = survey.add(view)
    return [_finding(name, fault, facts) for name, check in EPISODE_CHECKS.items() for fault in check(view)]


def _finding(check: str, fault: Fault, looked_at: EpisodeFacts, whole: bool = False) -> Finding:
    """A fault under its check's name; one of the whole data set names an example."""
    at = fault.at or looked_at
    return Finding(check, fault.severity, at.file, at.number, fault.step, fault.what, fault.advice, whole or fault.whole)


def _report(survey: Survey, findings: list[Finding], files: tuple[str, ...], environment: str) -> Report:
    if not survey.facts:
        return Report(Summary(files, 0, 0, "none", 0, 0, 0, environment, {}), (), (), tuple(findings))
    told = outcome(survey)
    summary = Summary(
        files=files,
        episodes=len(survey.facts),
        steps=int(survey.lengths.sum()),
        success_definition=told.definition,
        successes=told.successes,
        successes_at_the_end=told.at_the_end,
        steps_after_success=told.steps_after,
        environment=environment,
        coverage=coverage(survey),
        unread={file: names for file, names in survey.unread.items() if names},
    )
    columns = [*survey.actions.columns(), *survey.rewards.columns(), *survey.observations.columns()]
    cameras = tuple(camera.camera() for camera in survey.cameras.values())
    shown = {name: camera.pictures for name, camera in survey.cameras.items()}
    return Report(summary, tuple(columns), tuple(_lines(survey.facts, findings)), tuple(findings), cameras, shown)


def _lines(facts: Iterable[EpisodeFacts], findings: Iterable[Finding]) -> Iterator[EpisodeLine]:
    facts = list(facts)
    own: dict[tuple[str, int | None], list[Severity]] = {}
    for finding in findings:
        if not finding.whole:
            own.setdefault((finding.file, finding.episode), []).append(finding.severity)
    success = np.array([one.success for one in facts])
    returns = np.nan_to_num(np.array([one.undiscounted_return for one in facts]))
    qualities = score(success, returns, np.array([one.steps_to_success for one in facts]), QualityConfig())
    for one, quality in zip(facts, qualities, strict=True):
        faults = own.get((one.file, one.number), [])
        sound = 0.0 if Severity.BREAKS in faults else HARM_FACTOR ** faults.count(Severity.HARMS)
        yield EpisodeLine(
            file=one.file,
            number=one.number,
            length=one.length,
            undiscounted_return=one.undiscounted_return,
            success=one.success,
            ending="terminated" if one.terminated else "truncated",
            jerk=one.jerk,
            saturation=one.saturation,
            quality=float(quality) * sound,
            worst=max(faults, default=None),
        )
