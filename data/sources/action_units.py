"""Recorded actions and the environment's units: how those of one source become numbers in [-1, 1], and which of them are clipped."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence

import numpy as np

from ..action_limits import ActionLimits
from ..episode import Episode
from ..errors import WarmloopError
from ..formats.recordings.checked_values import ACTION_TOLERANCE, clip_advice
from ..formats.recordings.options import ReadOptions

OWN = "which are the environment's own; check the units and the order of the columns"
ROUNDING = 1e-6  # of a limit that was written down in other digits

log = logging.getLogger("warmloop")


@dataclasses.dataclass
class Clipping:
    """Actions of one source that lie beyond their limits, as far as that is allowed, and how many there were.

    Attributes:
        allowed: how far beyond, as a share of half the range; 0 allows rounding alone.
        numbers, rows: that lay beyond, by more than rounding.
        of_rows: all that were looked at.
        most: how far the furthest lay beyond.
    """

    allowed: float = 0.0
    numbers: int = 0
    rows: int = 0
    of_rows: int = 0
    most: float = 0.0

    def __call__(self, actions: np.ndarray) -> np.ndarray:
        """Actions `[T, A]` of an episode with -1 and 1 as their limits, clipped; as they are where one lies further beyond than is allowed,
        which is refused later."""
        over = np.abs(np.where(np.isfinite(actions), actions, 0.0)) - 1.0
        return actions if over.max(initial=0.0) > self.allowed * (1 + ROUNDING) + ROUNDING else self.all_of(actions)

    def all_of(self, actions: np.ndarray) -> np.ndarray:
        """Actions `[T, A]` that were found to lie no further beyond than is allowed, clipped."""
        over = np.abs(actions) - 1.0
        beyond = over > ACTION_TOLERANCE  # which NaN, refused later, is not
        self.numbers, self.rows = self.numbers + int(beyond.sum()), self.rows + int(beyond.any(axis=1).sum())
        self.of_rows, self.most = self.of_rows + len(actions), max(self.most, float(over[beyond].max(initial=0.0)))
        return np.clip(actions, -1, 1)

    def tell(self, path: str) -> None:
        """Says what was clipped, if anything was."""
        if self.numbers:
            log.info(
                "%s: actions are clipped to their limits: %d numbers, in %d of %d steps, by up to %.3g of half the range",
                path, self.numbers, self.rows, self.of_rows, self.most,
            )  # fmt: skip


def check_clipping(where: str, allowed: float) -> None:
    """Raises WarmloopError unless `allowed` is a share, and no other unit; `where` is the setting."""
    if not 0 <= allowed <= 1:
        raise WarmloopError(
            f"{where} is {allowed}; it is how far beyond [-1, 1] actions are clipped, as 0.05, or 0 to refuse them, and 1 at most: beyond "
            "twice the range they are in other units."
        )


@dataclasses.dataclass(frozen=True)
class Batch:
    """One source's episodes; `limits` are what -1 and 1 of their actions are, None for the environment's own, `raw` says that the
    actions are in the environment's units, and `clipping` which of them beyond the limits are clipped."""

    path: str
    episodes: list[Episode]
    limits: ActionLimits | None
    raw: bool
    clipping: Clipping

    def actions_in_units(self, own: ActionLimits | None) -> list[np.ndarray]:
        """Each episode's actions `[T, A]` in the environment's units, whose own limits are `own` if they are known."""
        actions = [episode.steps.action for episode in self.episodes]
        if self.raw:
            return actions
        limits = self.limits or own
        if limits is None:
            raise unknown_limits(self.path)
        return [limits.unscale(each) for each in actions]


def sound(batch: Batch, limits: ActionLimits | None, own: ActionLimits | None, options: ReadOptions) -> Batch:
    """The batch without episodes whose actions lie beyond `limits`, the environment's own where None, which are bad ones.

    Raises:
        WarmloopError: one is bad and none may be left out, or all are.
    """
    wanted = limits or own
    if wanted is None or (not batch.raw and (batch.limits or own) == wanted):
        return batch
    advice = (
        "as environment.action_low and action_high say; widen these, or leave them out and set --config.data.action_scaling=data"
        if limits
        else OWN
    )
    kept, bad = [], []
    for episode, actions in zip(batch.episodes, batch.actions_in_units(own), strict=True):
        try:
            _check_within(episode, actions, wanted, batch.clipping, advice)
        except WarmloopError as error:
            options.leave_out(episode.origin, f"episode {episode.number}", error)
            bad.append(error)
        else:
            kept.append(episode)
    if not kept:
        raise WarmloopError(f"{batch.path}: all of its episodes are bad; of the first: {bad[0]}")
    return dataclasses.replace(batch, episodes=kept)


def limits_of(batches: Sequence[Batch], own: ActionLimits | None) -> ActionLimits:
    """The least and the greatest action of all batches, which are `sound`, per dimension, and within the environment's own limits."""
    actions = [each for batch in batches for each in batch.actions_in_units(own)]
    low, high = np.min([each.min(axis=0) for each in actions], axis=0), np.max([each.max(axis=0) for each in actions], axis=0)
    if own:
        low, high = np.clip(low, own.low, own.high), np.clip(high, own.low, own.high)
    return ActionLimits(low, high)


def scaled(batch: Batch, limits: ActionLimits | None, own: ActionLimits | None) -> list[Episode]:
    """The episodes of a batch that is `sound` with actions in [-1, 1] of `limits`, which are the environment's own where None."""
    wanted = limits or own
    if not batch.raw and (batch.limits or own) == wanted:
        return batch.episodes
    if wanted is None:
        raise unknown_limits(batch.path)
    found = []
    for episode, actions in zip(batch.episodes, batch.actions_in_units(own), strict=True):
        action = batch.clipping.all_of(wanted.scale(actions)).astype(np.float32)
        found.append(dataclasses.replace(episode, steps=episode.steps.replace(action=action)))
    batch.clipping.tell(batch.path)
    return found


def _check_within(episode: Episode, actions: np.ndarray, limits: ActionLimits, clipping: Clipping, advice: str) -> None:
    """Refuses actions `[T, A]` beyond the limits by more than a reader's tolerance."""
    low, high = np.asarray(limits.low), np.asarray(limits.high)
    margin = max(ACTION_TOLERANCE, clipping.allowed) * 0.5 * (high - low) + ROUNDING * np.maximum(abs(low), abs(high))
    beyond = (actions < low - margin).any(axis=0) | (actions > high + margin).any(axis=0)
    if beyond.any():
        index = int(np.argmax(beyond))
        least, greatest = float(actions[:, index].min()), float(actions[:, index].max())
        half = max(0.5 * (high[index] - low[index]), 1e-12)
        over = max(low[index] - least, greatest - high[index]) / half
        raise WarmloopError(
            f"{episode.origin}, episode {episode.number}: action {index} runs from {least:.4g} to {greatest:.4g}, and its limits are "
            f"{low[index]:.4g} and {high[index]:.4g}, {advice}{clip_advice(over)}."
        )


def unknown_limits(path: str) -> WarmloopError:
    return WarmloopError(
        f"{path}: what -1 and 1 of its actions are in the environment's units is not known here, because the environment cannot be made; "
        "run this where it can, or set environment.action_low and action_high and give all data in the environment's units."
    )
