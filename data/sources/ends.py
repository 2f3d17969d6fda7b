"""How recorded episodes end: whether a recording marks it, without which several run together as one, silently; and ends that are marked
wrongly, put right."""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter
from collections.abc import Iterable, Sequence

import jax
import numpy as np

from ..episode import Episode
from ..errors import WarmloopError

log = logging.getLogger("warmloop")
COMMON_SHARE = 0.2  # of the episodes that end at one length, for that length to be a time limit
FAR = 2.0  # times an environment's time limit
LONG = 1_000  # steps of a recording that is a single episode
ADVICE = "where these are several episodes, mark the last step of each, in `timeouts` or `terminals`"


def too_long(length: int, time_limit: int | None, alone: bool) -> str | None:
    """What is to be said of the longest episode of a file, of `length` steps; None where nothing is.

    Args:
        time_limit: steps after which the environment cuts an episode; None where that is not known.
        alone: it is all that the file holds, and no end is marked in it.
    """
    if time_limit is not None:
        return f"an episode has {length} steps, and the environment cuts them after {time_limit}" if length > FAR * time_limit else None
    return f"all {length} steps are one episode, and no end is marked" if alone and length > LONG else None


def as_truncation(episode: Episode) -> Episode | None:
    """The episode, which is marked as terminal, as one that was cut: its last target then needs what was observed after it. A last row that
    has only its own observation in that place, since nothing else was recorded, goes. None where no row is left."""
    steps = episode.steps
    pairs = zip(jax.tree.leaves(steps.observation), jax.tree.leaves(steps.next_observation), strict=True)
    if all(np.array_equal(before[-1], after[-1]) for before, after in pairs):
        return episode.part(slice(0, len(episode) - 1)) if len(episode) > 1 else None
    mask, truncated = steps.mask.copy(), steps.truncated.copy()
    mask[-1], truncated[-1] = 1.0, True
    whole = episode.whole
    if whole is not None and whole.first + len(episode) == len(whole):
        whole = dataclasses.replace(whole, mask=np.append(whole.mask[:-1], np.float32(1.0)))
    return dataclasses.replace(episode, steps=steps.replace(mask=mask, truncated=truncated), whole=whole)


def run_together(episodes: Iterable[Episode], time_limit: int | None) -> list[str]:
    """A sentence for each file whose episodes seem to run together. Of a file that marks its only episode's end as a time limit's, that
    is not known here."""
    files: dict[str, list[Episode]] = {}
    for episode in episodes:
        files.setdefault(episode.origin, []).append(episode)
    said = []
    for origin, own in files.items():
        longest = max(own, key=len)
        if what := too_long(len(longest), time_limit, len(own) == 1 and bool(longest.steps.mask[-1])):
            said.append(f"{origin}: {what}; {ADVICE}.")
    return said


@dataclasses.dataclass(frozen=True)
class TimeLimit:
    """What a run says of its environment's time limit, for recorded data.

    Attributes:
        steps: after which the environment cuts an episode; None where that is not known.
        is_truncation: an episode that is marked as terminal there, and not by success, was cut (`environment.time_limit_is_truncation`).
        success_ends: an episode is over at its first success; where not, one that had it may have been cut as any other.
    """

    steps: int | None = None
    is_truncation: bool = False
    success_ends: bool = True


UNKNOWN = TimeLimit()


def time_limits(lengths: Sequence[int] | np.ndarray, known: int | None) -> set[int]:
    """The known time limit, and the greatest of the episodes' lengths where many have it."""
    limits = set() if known is None else {known}
    longest = int(np.max(lengths, initial=1))
    if longest > 1 and Counter(np.asarray(lengths).tolist())[longest] >= max(3, COMMON_SHARE * len(lengths)):
        limits.add(longest)
    return limits


def cut_by_time(episodes: Sequence[Episode], limit: TimeLimit, path: str) -> list[Episode]:
    """The episodes of a source, those that are marked as terminal at a time limit put right where the limit is a truncation; else it is
    said that they are there. An episode of which no row is left goes."""
    limits = time_limits([len(episode) for episode in episodes], limit.steps)
    late = {index for index, episode in enumerate(episodes) if len(episode) in limits and _ended_by_nothing(episode, limit.success_ends)}
    if not late:
        return list(episodes)
    steps = " or ".join(map(str, sorted(limits)))
    count = f"{len(late)} of {len(episodes)} episodes are marked as terminal after {steps} steps, and not by success"
    if not limit.is_truncation:
        log.warning(
            "%s: %s. If a time limit cut them, they teach failure: set --config.environment.time_limit_is_truncation=True, by which "
            "they count as cut.",
            *(path, count),
        )
        return list(episodes)
    log.info("%s: %s; they count as cut there (environment.time_limit_is_truncation).", path, count)
    mended = [as_truncation(episode) if index in late else episode for index, episode in enumerate(episodes)]
    kept = [episode for episode in mended if episode is not None]
    if not kept:
        raise WarmloopError(f"{path}: nothing is left of its episodes, since none records what was observed after its only step.")
    return kept


def _ended_by_nothing(episode: Episode, success_ends: bool) -> bool:
    """Whether an episode is marked as terminal, not as cut too, and no success ended it."""
    won = success_ends and episode.success is not None and bool(episode.success[-1])
    return episode.steps.mask[-1] == 0 and not episode.steps.truncated[-1] and not won
