"""Checks of how episodes end, and how long they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from ...sources import ends
from ...sources.ends import ADVICE, too_long
from ..episode_facts import EpisodeFacts, Fault, View
from ..findings import Severity
from ..survey import Survey

LENGTH_RATIO = 5.0
FEWEST_EPISODES = 5


def terminal_inside(view: View) -> Iterator[Fault]:
    rows = np.flatnonzero(view.terminated[:-1])
    flags = view.episode.success
    if len(rows) and (view.terminated[rows[0] :].all() or (flags is not None and flags[rows].all())):
        what = f"The terminal flag is set from step {rows[0]} on, and the recording goes on for {len(view) - 1 - rows[0]} more."
        advice = "Nothing needs doing: with reward.terminate_on_success the episode ends at its first success, and each target is cut."
        yield Fault(Severity.NOTE, what, advice, int(rows[0]))
    elif len(rows):
        what = f"A step is marked as terminal, and the episode goes on for {len(view) - 1 - rows[0]} more; marked so: {len(rows)} in all."
        advice = "End the episode there, or clear the flag: nothing is expected after a terminal step, so its target is cut."
        yield Fault(Severity.BREAKS, what, advice, int(rows[0]))


def timeout_inside(view: View) -> Iterator[Fault]:
    rows = np.flatnonzero(view.timeouts[:-1]) if view.timeouts is not None else []
    if len(rows):
        what = f"A step is marked as cut by a time limit, and the episode goes on; marked so: {len(rows)} in all."
        yield Fault(Severity.HARMS, what, "Make the file's episode boundaries and its timeouts agree.", int(rows[0]))


def terminal_and_timeout(view: View) -> Iterator[Fault]:
    if view.timeouts is not None and view.timeouts[-1] and view.terminated[-1]:
        what = "The last step is marked both as terminal and as cut by a time limit."
        advice = "Keep the timeout only, unless the task was over: terminal steps expect nothing after them. --fix does that."
        yield Fault(Severity.HARMS, what, advice, len(view) - 1)


def terminal_at_the_limit(survey: Survey) -> Iterator[Fault]:
    """Terminal, not successful, and exactly as long as a time limit."""
    limits = time_limits(survey)
    for facts in survey.facts:
        if is_false_terminal(facts, limits):
            last = facts.length - 1
            what = f"The episode is marked as terminal at step {last}, where a time limit cuts episodes, and not as a success."
            advice = (
                "Mark it as truncated (--fix does), or train with --config.environment.time_limit_is_truncation=True: a value of 0 there "
                "teaches that time running out is a failure of the state."
            )
            yield Fault(Severity.HARMS, what, advice, last, facts)


def is_false_terminal(facts: EpisodeFacts, limits: set[int]) -> bool:
    """Whether an episode's terminal flag stands for a time limit."""
    won = facts.flagged and facts.success_at_the_end
    return facts.terminated and facts.length in limits and not won and facts.cut_by_time is not True


def time_limits(survey: Survey) -> set[int]:
    """The reference's time limit, and the greatest length where many episodes have it."""
    return ends.time_limits(survey.lengths, None if survey.reference is None else survey.reference.horizon)


def no_ends(survey: Survey) -> Iterator[Fault]:
    """Episodes that run together, since nothing marks where they end."""
    limit = None if survey.reference is None else survey.reference.horizon
    files = Counter(facts.file for facts in survey.facts)
    for facts in survey.facts:
        unmarked = files[facts.file] == 1 and not facts.terminated and facts.cut_by_time is not True
        if what := too_long(facts.length, limit, unmarked):
            yield Fault(Severity.HARMS, f"{what[0].upper()}{what[1:]}.", f"{ADVICE[0].upper()}{ADVICE[1:]}.", None, facts)


def lengths(survey: Survey) -> Iterator[Fault]:
    usual = float(np.median(survey.lengths))
    single = [facts for facts in survey.facts if facts.length == 1]
    if len(single) > 0.5 * len(survey.facts):
        what = f"{len(single)} of {len(survey.facts)} episodes have a single step: the file's episodes fall apart."
        advice = "Check its terminals and next observations: an episode ends at each terminal, and where observations do not lead on."
        yield Fault(Severity.BREAKS, what, advice, 0, single[0])
        return
    for facts in single:
        yield Fault(Severity.HARMS, "The episode has a single step.", "Leave it out; it is a remnant of a reset.", 0, facts)
    if len(survey.facts) < FEWEST_EPISODES:
        return
    for facts in survey.facts:
        if 1 < facts.length < usual / LENGTH_RATIO and not facts.success:
            what = f"The episode has {facts.length} steps, the median one {usual:.0f}, and it does not succeed."
            yield Fault(Severity.HARMS, what, "See whether the recording was interrupted; leave it out if so.", None, facts)
        elif facts.length > LENGTH_RATIO * usual:
            what = f"The episode has {facts.length} steps, the median one {usual:.0f}."
            yield Fault(Severity.HARMS, what, "See whether a reset was missed and several episodes run together.", None, facts)
