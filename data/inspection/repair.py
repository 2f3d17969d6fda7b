"""A repaired copy of a data set: what can be put right without guessing, and an exact account of it.

Duplicates go; an episode is cut before its first value that is not finite; actions that pass [-1, 1] by rounding are clipped; a
terminal flag that stands for the time limit becomes a truncation; where the next observation does not lead on, that step goes and
the episode is split; next observations that repeat the observation are taken from the following step. Rewards, success flags and
actions in another unit are left as they are: what they should be is not to be known from the data.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import jax
import numpy as np

from ..episode import Episode
from ..formats import parse_source_argument
from .checks.actions import ROUNDING
from .checks.continuity import breaks, repeats_itself
from .checks.endings import is_false_terminal, time_limits
from .checks.values import first_non_finite
from .episode_facts import EpisodeFacts, View
from .reading import Recorded, read
from .reference import Reference
from .survey import Survey


@dataclasses.dataclass(frozen=True)
class Change:
    """One thing that a repair did, to an episode by its file and its number there."""

    file: str
    episode: int
    what: str


def repair(files: Sequence[str], reference: Reference | None = None) -> tuple[list[Episode], list[Change]]:
    """The episodes of `files` (`PATH` or `kind=PATH`), repaired and numbered anew, and all that was changed. No file is touched.

    Raises:
        WarmloopError: a file cannot be read.
    """
    survey = Survey(reference, kinds_are_known=False)
    for recorded in _all(files):
        if survey.difference(recorded.episode) is None:
            survey.add(View(recorded))
    limits = time_limits(survey) if survey.facts else set()
    kept: list[Episode] = []
    changes: list[Change] = []
    seen: dict[bytes, EpisodeFacts] = {}
    for recorded in _all(files):
        episode, facts = recorded.episode, View(recorded).facts()
        if facts.digest in seen:
            other = seen[facts.digest]
            changes.append(Change(episode.origin, episode.number, f"dropped: the same as episode {other.number} of {other.file}"))
            continue
        seen[facts.digest] = facts
        parts, done = _repaired(recorded, facts, limits)
        kept += parts
        changes += [Change(episode.origin, episode.number, what) for what in done]
    return [_numbered(episode, number) for number, episode in enumerate(kept)], changes


def _all(files: Sequence[str]) -> Iterator[Recorded]:
    for file in files:
        source, path = parse_source_argument(file)
        yield from read(path, source)


def _repaired(recorded: Recorded, facts: EpisodeFacts, limits: set[int]) -> tuple[list[Episode], list[str]]:
    """The parts that are left of an episode, and what was done to it."""
    done: list[str] = []
    episode = _without_false_terminal(recorded, facts, limits, done)
    episode = _clipped(episode, done)
    episode = _before_non_finite(episode, done)
    parts = [] if episode is None else _led_on(episode, done)
    return parts, done


def _without_false_terminal(recorded: Recorded, facts: EpisodeFacts, limits: set[int], done: list[str]) -> Episode:
    episode = recorded.episode
    both = facts.terminated and facts.cut_by_time is True and not facts.success_at_the_end
    if not both and not is_false_terminal(facts, limits):
        return episode
    done.append(f"step {len(episode) - 1}: its terminal flag stood for the time limit and is a truncation now")
    mask, truncated = episode.steps.mask.copy(), episode.steps.truncated.copy()
    mask[-1], truncated[-1] = 1.0, True
    return dataclasses.replace(episode, steps=episode.steps.replace(mask=mask, truncated=truncated))


def _clipped(episode: Episode, done: list[str]) -> Episode:
    action = episode.steps.action
    over = np.abs(action) > 1
    if not over.any() or (np.abs(action[over]) > 1 + ROUNDING).any():
        return episode
    done.append(f"actions clipped to [-1, 1], by at most {np.abs(action[over]).max() - 1:.1g}; steps: {int(over.any(axis=1).sum())}")
    return dataclasses.replace(episode, steps=episode.steps.replace(action=np.clip(action, -1, 1)))


def _before_non_finite(episode: Episode, done: list[str]) -> Episode | None:
    place = first_non_finite(episode)
    if place is None:
        return episode
    step, name = place
    if step == 0:
        done.append(f"dropped: its {name} is not finite from the first step on")
        return None
    done.append(f"cut before step {step}, whose {name} is not finite; truncated there, {len(episode) - step} steps dropped")
    return episode.part(slice(0, step))


def _led_on(episode: Episode, done: list[str]) -> list[Episode]:
    """The episode with next observations that lead on: taken anew, or split where they do not."""
    view = View(Recorded(episode))
    broken = np.flatnonzero(breaks(view))
    if not len(broken):
        return [episode]
    if repeats_itself(view):
        done.append(f"next observations taken from the following steps; the last step, {len(episode) - 1}, has none and is dropped")
        following = jax.tree.map(lambda leaf: leaf[1:], episode.steps.observation)
        whole = episode.part(slice(0, len(episode) - 1))
        return [dataclasses.replace(whole, steps=whole.steps.replace(next_observation=following))]
    listed = ", ".join(map(str, broken[:5])) + (f" and {len(broken) - 5} more" if len(broken) > 5 else "")
    done.append(f"split where the next observation does not lead on; dropped: steps {listed}")
    starts, ends = np.append(0, broken + 1), np.append(broken, len(episode))
    return [episode.part(slice(int(start), int(end))) for start, end in zip(starts, ends, strict=True) if end > start]


def _numbered(episode: Episode, number: int) -> Episode:
    count = len(episode)
    steps = episode.steps.replace(episode=np.full(count, number, np.int32), step=np.arange(count, dtype=np.int32))
    return dataclasses.replace(episode, steps=steps, number=number)
