"""A repaired copy of a data set: what can be put right without guessing, and an exact account of it.

Duplicates go; an episode is cut before its first value that is not finite, but the observation after a terminal step, which nothing uses,
is replaced; actions that pass [-1, 1] by rounding are clipped; a terminal flag that stands for the time limit becomes a truncation,
without its last step where no observation after that was recorded; where the next observation does not lead on, that step goes and the
episode is split; next observations that repeat the observation are taken from the following step. Rewards, success flags and actions in
another unit are left as they are: what they should be is not to be known from the data.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import jax
import numpy as np

from ..episode import Episode
from ..formats import parse_source_argument
from ..formats.recordings.options import BadEpisode, ReadOptions
from ..plausible import ABSURD
from ..sources.ends import as_truncation
from .checks.action_checks import ROUNDING
from .checks.continuity_checks import breaks, repeats_itself
from .checks.ending_checks import is_false_terminal, time_limits
from .checks.value_checks import NEXT, first_unusable
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


def repair(
    files: Sequence[str], reference: Reference | None = None, success: str = "", dones: str = "", skip_bad_episodes: bool = False
) -> tuple[list[Episode], list[Change]]:
    """The episodes of `files` (`PATH` or `kind=PATH`), repaired and numbered anew, and all that was changed. No file is touched.
    `success`, `dones` and `skip_bad_episodes` are as `inspect` has them; but an episode is bad only where it cannot be read.

    Raises:
        WarmloopError: a file cannot be read.
    """
    survey = Survey(reference, kinds_are_known=False)
    bad: list[BadEpisode] = []
    options = ReadOptions(dones, (lambda _: None) if skip_bad_episodes else None).collecting(bad)
    for recorded in _all(files, success, options):
        if survey.difference(recorded.episode) is None:
            survey.add(View(recorded))
    limits = time_limits(survey) if survey.facts else set()
    kept: list[Episode] = []
    changes: list[Change] = []
    seen: dict[bytes, EpisodeFacts] = {}
    for recorded in _all(files, success, options):
        episode, facts = recorded.episode, View(recorded).facts()
        if facts.digest in seen:
            other = seen[facts.digest]
            changes.append(Change(episode.origin, episode.number, f"dropped: the same as episode {other.number} of {other.file}"))
            continue
        seen[facts.digest] = facts
        parts, done = _repaired(recorded, facts, limits)
        kept += parts
        changes += [Change(episode.origin, episode.number, what) for what in done]
    changes += [Change(one.file, -1 if one.number is None else one.number, f"left out: {one.reason}") for one in bad]
    return [_numbered(episode, number) for number, episode in enumerate(kept)], changes


def _all(files: Sequence[str], success: str, options: ReadOptions) -> Iterator[Recorded]:
    for file in files:
        source, path = parse_source_argument(file)
        yield from read(path, source, success, options)


def _repaired(recorded: Recorded, facts: EpisodeFacts, limits: set[int]) -> tuple[list[Episode], list[str]]:
    """The parts that are left of an episode, and what was done to it."""
    done: list[str] = []
    episode = _with_one_end(recorded, facts, limits, done)
    episode = None if episode is None else _before_non_finite(_ended(_clipped(episode, done), done), done)
    parts = [] if episode is None else _led_on(episode, done)
    return parts, done


def _with_one_end(recorded: Recorded, facts: EpisodeFacts, limits: set[int], done: list[str]) -> Episode | None:
    """The episode with its last step terminal or truncated, and not both, nor terminal for the time limit; None where nothing is left."""
    episode, last = recorded.episode, len(recorded.episode) - 1
    both = facts.terminated and facts.cut_by_time is True
    if both and facts.flagged and facts.success_at_the_end:
        done.append(f"step {last}: its timeout flag is taken off, since it is terminal and a success")
        return episode
    if not both and not is_false_terminal(facts, limits):
        return episode
    cut = as_truncation(episode)
    left = len(cut) if cut is not None else 0
    dropped = "" if left == len(episode) else f"; step {last} is dropped, since no observation after it was recorded"
    done.append(f"step {last}: its terminal flag stood for the time limit and is a truncation now{dropped}")
    return cut


def _clipped(episode: Episode, done: list[str]) -> Episode:
    action = episode.steps.action
    over = np.abs(action) > 1
    if not over.any() or (np.abs(action[over]) > 1 + ROUNDING).any():
        return episode
    done.append(f"actions clipped to [-1, 1], by at most {np.abs(action[over]).max() - 1:.1g}; steps: {int(over.any(axis=1).sum())}")
    return dataclasses.replace(episode, steps=episode.steps.replace(action=np.clip(action, -1, 1)))


def _ended(episode: Episode, done: list[str]) -> Episode:
    """The episode with its terminal step's own observation as the one after it, which nothing uses, where that is unusable."""
    last, steps = len(episode) - 1, episode.steps
    place = first_unusable(episode)
    if place is None or place[0] != last or not place[1].startswith(NEXT) or steps.mask[last]:
        return episode
    own = jax.tree.map(lambda after, at: np.concatenate([after[:last], at[last:]]), steps.next_observation, steps.observation)
    mended = dataclasses.replace(episode, steps=steps.replace(next_observation=own))
    if first_unusable(mended) is not None:
        return episode
    done.append(f"step {last}: its {place[1]} cannot be, and nothing uses it, since the step is terminal; the step's own stands there now")
    return mended


def _before_non_finite(episode: Episode, done: list[str]) -> Episode | None:
    place = first_unusable(episode)
    if place is None:
        return episode
    step, name, value = place
    wrong = f"{value:.3g}" if np.isfinite(value) else "not finite"
    if step == 0:
        done.append(f"dropped: its {name} is {wrong} from the first step on")
        return None
    done.append(f"cut before step {step}, whose {name} is {wrong}; truncated there, {len(episode) - step} steps dropped")
    known = (np.abs(episode.outcome.reward) <= ABSURD).all()  # NaN is not
    return episode.piece(slice(0, step)) if known else episode.part(slice(0, step))


def _led_on(episode: Episode, done: list[str]) -> list[Episode]:
    """The episode with next observations that lead on: taken anew, or split where they do not."""
    view = View(Recorded(episode))
    broken = np.flatnonzero(breaks(view))
    if not len(broken):
        return [episode]
    if repeats_itself(view):
        last, terminal = len(episode) - 1, episode.steps.mask[-1] == 0
        kept = "stays, since it is terminal and needs none" if terminal else "has none and is dropped"
        done.append(f"next observations taken from the following steps; the last step, {last}, {kept}")
        following = jax.tree.map(lambda leaf: np.concatenate([leaf[1:], leaf[-1:]]), episode.steps.observation)
        whole = dataclasses.replace(episode, steps=episode.steps.replace(next_observation=following))
        return [whole if terminal else whole.piece(slice(0, last))]
    listed = ", ".join(map(str, broken[:5])) + (f" and {len(broken) - 5} more" if len(broken) > 5 else "")
    done.append(f"split where the next observation does not lead on; dropped: steps {listed}")
    starts, ends = np.append(0, broken + 1), np.append(broken, len(episode))
    return [episode.part(slice(int(start), int(end))) for start, end in zip(starts, ends, strict=True) if end > start]


def _numbered(episode: Episode, number: int) -> Episode:
    count = len(episode)
    steps = episode.steps.replace(episode=np.full(count, number, np.int32), step=np.arange(count, dtype=np.int32))
    return dataclasses.replace(episode, steps=steps, number=number)
