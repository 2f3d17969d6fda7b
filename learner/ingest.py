"""From received rows to the online pool: fixed-size inserts, and Monte-Carlo returns once an episode has ended."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from ..data import replay, sum_tree
from ..data.replay import ReplayConfig, ReplayState
from ..data.reward import RewardConfig, monte_carlo
from ..data.transition import Spec, Transition, example, length, take
from .balance import Balance
from .streams import LOST

# Inserts are padded to one of these sizes, so that two programs serve every number of rows.
SIZES = (8, 256)


@dataclasses.dataclass
class OpenEpisode:
    """Rows of an episode whose end has not come yet."""

    serials: list[int] = dataclasses.field(default_factory=list)
    rewards: list[float] = dataclasses.field(default_factory=list)
    masks: list[float] = dataclasses.field(default_factory=list)


class Ingest:
    """Puts rows into an online pool; keeps each stream's open episode to give its rows their returns at its end.

    Attributes:
        inserted: rows so far, so the serial of the next one.
        longest: serials from the first to the last row of an episode, at most: so far back a return may depend on what was.
        balance: gives several tasks equal shares; None for a single one.
    """

    def __init__(self, spec: Spec, config: ReplayConfig, reward: RewardConfig, inserted: int = 0, balance: Balance | None = None):
        self.config, self.reward, self.inserted, self.longest = config, reward, inserted, 0
        self.balance = balance
        self._padding = example(spec, SIZES[-1])
        self._open: dict[str, OpenEpisode] = {}

    def insert(self, pool: ReplayState, stream: str, rows: Transition) -> ReplayState:
        """The pool with rows `[n]` of one stream appended, in order; those of stream LOST are never drawn."""
        begin = self.inserted
        for start in range(0, length(rows), SIZES[-1]):
            part = take(rows, slice(start, start + SIZES[-1]))
            count = length(part)
            if self.balance is not None:
                part = self.balance.weigh(part, self.inserted)
            size = next(size for size in SIZES if count <= size)
            padded = jax.tree.map(
                lambda new, blank, count=count, size=size: np.concatenate([new, blank[: size - count]]), part, self._padding
            )
            pool = replay.insert(pool, padded, np.int32(count), self.config)
            pool = self._returns(pool, stream, part)
        if stream == LOST:
            pool = self._lose(pool, np.arange(begin, self.inserted))
        return pool if self.balance is None else self.balance.settle(pool)

    def _lose(self, pool: ReplayState, serials: np.ndarray) -> ReplayState:
        self._open.clear()  # what is missing may have been their ends
        if self.balance is not None:
            self.balance.forget(serials)
        return blank(pool, serials)

    def _returns(self, pool: ReplayState, stream: str, rows: Transition) -> ReplayState:
        serials = range(self.inserted, self.inserted + length(rows))
        self.inserted += length(rows)
        columns = (column.tolist() for column in (rows.reward, rows.mask, rows.truncated, rows.step))
        for serial, reward, mask, truncated, step in zip(serials, *columns, strict=True):
            if step == 0:
                self._open.pop(stream, None)  # broken off: its returns stay unknown
            episode = self._open.setdefault(stream, OpenEpisode())
            episode.serials.append(serial)
            episode.rewards.append(reward)
            episode.masks.append(mask)
            if truncated or mask == 0:
                pool = self._close(pool, self._open.pop(stream))
        return pool

    def _close(self, pool: ReplayState, episode: OpenEpisode) -> ReplayState:
        returns = monte_carlo(np.asarray(episode.rewards, np.float32), np.asarray(episode.masks, np.float32), self.reward)
        serials = np.asarray(episode.serials, np.int32)
        self.longest = max(self.longest, int(serials[-1] - serials[0]) + 1)
        for start in range(0, len(serials), SIZES[-1]):
            index = np.full(SIZES[-1], -1, np.int32)
            value = np.zeros(SIZES[-1], np.float32)
            part = slice(start, start + SIZES[-1])
            index[: len(serials[part])], value[: len(serials[part])] = serials[part], returns[part]
            pool = replay.set_returns(pool, index, value)
        return pool


def blank(pool: ReplayState, serials: np.ndarray) -> ReplayState:
    """The pool with the rows of these serials never drawn again: their content was lost."""
    slot = serials[serials >= int(pool.inserted) - pool.capacity] % pool.capacity
    quality = pool.quality.at[slot].set(0.0)
    tree = sum_tree.write(pool.tree, jnp.asarray(slot), jnp.zeros(len(slot)))
    return pool.replace(quality=quality, quality_sum=quality.sum(), tree=tree)
