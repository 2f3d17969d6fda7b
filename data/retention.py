"""Which of the warm-up's data stay for the fine-tuning: the best share, by episode or by transition."""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from .episode import Episode
from .errors import WarmloopError
from .quality import percentiles
from .transition import Source

FEW = 5  # episodes: with fewer, a fine-tuning has hardly a demonstration


@dataclasses.dataclass(frozen=True)
class RetentionConfig:
    """What is kept.

    Attributes:
        ratio: share kept, of episodes or of transitions, rounded up; 0 is WSRL's no retention, 1 is RLPD.
        unit: "episode" or "transition".
        keep_successes: a task with at most so many successful episodes keeps all of them, whatever the ratio and the unit; 0 for none, and
            with a ratio or a success_weight of 0 none is kept for that.
        success_weight, return_weight, td_weight: what success (0 or 1), the percentile of the undiscounted return and the percentile
            of |TD error| (a surprising row ranks higher) count in the score.
    """

    ratio: float = 0.2
    unit: str = "episode"
    keep_successes: int = 50
    success_weight: float = 0.5
    return_weight: float = 0.3
    td_weight: float = 0.2

    def __post_init__(self):
        if not 0 <= self.ratio <= 1:
            raise WarmloopError(f"retention.ratio is {self.ratio}; it must lie in [0, 1].")
        if self.unit not in ("episode", "transition"):
            raise WarmloopError(f'retention.unit is "{self.unit}"; it must be "episode" or "transition".')
        for name in ("keep_successes", "success_weight", "return_weight", "td_weight"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value >= 0):
                raise WarmloopError(f"retention.{name} is {value}; it must be a number of at least 0.")


@dataclasses.dataclass(frozen=True)
class Retained:
    """What was kept of what, for the console.

    Attributes:
        episodes, of_episodes: episodes of which any row was kept, and all.
        rows, of_rows: rows kept, and all.
        success_rate: share of the kept rows that come from successful episodes.
        by_source: kept rows by the name of their source.
    """

    episodes: int
    of_episodes: int
    rows: int
    of_rows: int
    success_rate: float
    by_source: Mapping[str, int]

    @property
    def warning(self) -> str | None:
        """What is to be said where hardly any episode is left; None where nothing is."""
        if not 0 < self.episodes < min(FEW, self.of_episodes):
            return None
        return (
            f"retention keeps no more than {self.episodes} of {self.of_episodes} episodes for the fine-tuning; --config.retention.ratio=1 "
            "keeps all of them"
        )

    def __str__(self) -> str:
        sources = ", ".join(f"{name} {rows}" for name, rows in self.by_source.items())
        return (
            f"kept {self.episodes} of {self.of_episodes} episodes, {self.rows} of {self.of_rows} steps"
            + (f" ({sources})" if sources else "")
            + f", {100 * self.success_rate:.0f} % of them from successful episodes"
        )


def retain(
    episodes: Sequence[Episode],
    config: RetentionConfig,
    td_error: Sequence[np.ndarray] | None = None,
    tasks: np.ndarray | None = None,
    learnt: Sequence[int] | None = None,
) -> tuple[list[Episode], Retained]:
    """The best `config.ratio` of the data, of every task, in their order, and a report.

    Rows on which a human intervened are kept besides, whatever the ratio, and of few successful episodes all rows, also where it goes by
    transition: a piece of a success without its end shows no way to it. Of equal scores the earlier is kept. A
    run of kept rows that does not reach its episode's end becomes an episode of the same number that is truncated there, with the
    bootstrap kept; its steps keep their numbers, and it knows the whole episode, whose return and outcome are its own.

    Args:
        episodes: as recorded, or with the learner's rewards.
        td_error: `[T]` per episode; None leaves that part out of the score.
        tasks: a number for each episode's task `[E]`; None for one task. Episodes are compared with those of their own.
        learnt: steps of each that the reward's rule leaves `[E]`, None for all: later ones stay with an episode that is kept whole, and are
            not chosen otherwise.

    Raises:
        WarmloopError: `td_error` does not match the episodes.
    """
    if td_error is not None and [len(error) for error in td_error] != [len(episode) for episode in episodes]:
        raise WarmloopError("The TD errors to retain by do not match the episodes; give one array per episode, one number per step.")
    lengths = np.array([len(episode) for episode in episodes] if learnt is None else learnt, np.int64)
    masks = [np.asarray(episode.steps.intervened[:length], bool) for episode, length in zip(episodes, lengths, strict=True)]
    tasks = np.zeros(len(episodes)) if tasks is None else tasks
    for members in (np.flatnonzero(tasks == task).tolist() for task in np.unique(tasks)):
        errors = None if td_error is None else [td_error[index][: lengths[index]] for index in members]
        chosen = _chosen([episodes[index] for index in members], lengths[members], config, errors)
        for index, mask in zip(members, chosen, strict=True):
            masks[index] = masks[index] | mask
    kept = [piece for episode, mask in zip(episodes, masks, strict=True) for piece in _pieces(episode, mask)]
    return kept, _report(episodes, masks)


def _chosen(
    episodes: Sequence[Episode], lengths: np.ndarray, config: RetentionConfig, td_error: Sequence[np.ndarray] | None
) -> list[np.ndarray]:
    """Per episode a mask `[T]` of the rows that its score keeps, of those that are learnt from."""
    success = np.array([episode.succeeded for episode in episodes], np.float64)
    returns = percentiles(np.array([episode.undiscounted_return for episode in episodes]))
    score = config.success_weight * success + config.return_weight * returns  # [E]
    by_row = config.unit == "transition"
    if by_row:
        score = np.repeat(score, lengths)  # [N]
    if td_error is not None:
        values = np.concatenate(td_error) if by_row else np.array([np.mean(error) for error in td_error])
        score = score + config.td_weight * percentiles(np.abs(values))
    best = _best(score, config.ratio)
    best = best if by_row else np.repeat(best, lengths)  # [N]
    if config.ratio > 0 and config.success_weight > 0 and success.sum() <= config.keep_successes:
        best |= np.repeat(success == 1, lengths)
    return np.split(best, np.cumsum(lengths)[:-1])


def _best(scores: np.ndarray, ratio: float) -> np.ndarray:
    """Mask of the `ceil(ratio · n)` highest scores; of equal ones the earlier."""
    count = math.ceil(round(ratio * len(scores), 9))  # rounded, since 0.07 · 100 is a little more than 7
    mask = np.zeros(len(scores), bool)
    mask[np.argsort(-scores, kind="stable")[:count]] = True
    return mask


def _pieces(episode: Episode, mask: np.ndarray) -> list[Episode]:
    """The episode itself where all of it is kept, else its runs of kept rows."""
    if mask.all():  # with what comes after the steps that are learnt from
        return [episode]
    edges = np.flatnonzero(np.diff(mask, prepend=False, append=False))
    return [episode.piece(slice(int(low), int(high))) for low, high in edges.reshape(-1, 2)]


def _report(episodes: Sequence[Episode], masks: Sequence[np.ndarray]) -> Retained:
    by_source: collections.Counter[str] = collections.Counter()
    for episode, mask in zip(episodes, masks, strict=True):
        for source, rows in zip(*np.unique(np.asarray(episode.steps.source)[: len(mask)][mask], return_counts=True), strict=True):
            by_source[Source(int(source)).name.lower()] += int(rows)
    counts = [int(mask.sum()) for mask in masks]
    successful = sum(count for episode, count in zip(episodes, counts, strict=True) if episode.succeeded)
    return Retained(
        episodes=sum(count > 0 for count in counts),
        of_episodes=len(episodes),
        rows=sum(counts),
        of_rows=sum(map(len, masks)),
        success_rate=successful / max(sum(counts), 1),
        by_source=dict(by_source),
    )
