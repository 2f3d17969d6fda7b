"""From received rows to the pools: fixed-size inserts, camera frames once each, and Monte-Carlo returns once an episode has ended.

Rows on which a human intervened are demonstrations too: they enter the offline pool as well, into room that nothing overwrites.
"""

from __future__ import annotations

import dataclasses
import logging
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

from ...data.quality import QualityConfig
from ...data.replay import frames, replay
from ...data.replay.frame_index import FrameIndex
from ...data.replay.frames import stored_spec
from ...data.replay.replay import ReplayState
from ...data.reward import RewardConfig, monte_carlo
from ...data.tasks import SINGLE, TaskConfig
from ...data.transition import Source, Transition, example, length, take
from ..checkpoints.stored_rows import INTERVENTIONS
from ..journal.streams import LOST
from ..state import IMAGES_AT_ONCE, LearnerParts, LearnerState, spare_frames
from .balance import Balance

# Inserts are padded to one of these sizes, so that two programs serve every number of rows.
SIZES = (8, IMAGES_AT_ONCE)

log = logging.getLogger("warmloop")


@dataclasses.dataclass(frozen=True)
class RowRules:
    """What decides how online rows are learnt from.

    Attributes:
        reward: how their rewards and returns are made.
        tasks: several tasks get equal shares.
        quality: what a row of an intervention weighs in the offline pool.
    """

    reward: RewardConfig
    tasks: TaskConfig = SINGLE
    quality: QualityConfig = QualityConfig()


class OpenEpisode:
    """The newest rows of an episode whose end has not come yet, as many as the pool has room for: an episode may never end."""

    def __init__(self, most: int):
        self.serials, self.copies = deque[int](maxlen=most), deque[int](maxlen=most)  # the latter in the offline pool; -1 for none
        self.rewards, self.masks = deque[float](maxlen=most), deque[float](maxlen=most)
        self.step = -1  # of the newest one


class Ingest:
    """Puts rows into a learner's pools; keeps each stream's open episode to give its rows their returns at its end.

    Args:
        state: whose pools and frames it fills, for their sizes.
        meta: describes the checkpoint that the state is of: how many rows of interventions the offline pool has already, and where
            which camera frames lie; {} for a state that `create` made.

    Attributes:
        inserted: rows so far, so the serial of the next one.
        demonstrated: rows of interventions in the offline pool.
        shown_changes: times that those rows have changed.
        regions: where the frames of interventions begin, and those of the online pool; (0, 0) without cameras.
        longest: serials from the first to the last row of an episode, at most: so far back a return may depend on what was.
    """

    def __init__(self, parts: LearnerParts, rules: RowRules, state: LearnerState, meta: Mapping[str, Any] | None = None):
        spec, online, meta = parts.agent.spec, state.online.capacity, meta or {}
        self.config, self.reward, self.quality = parts.replay, rules.reward, rules.quality.interventions
        self.balance = Balance(rules.tasks, parts.replay, online) if rules.tasks.balances else None
        self.inserted = self.longest = 0
        shown = meta.get(INTERVENTIONS, {})
        self.demonstrated, shown_frames = shown.get("rows", 0), shown.get("frames", 0)
        self.shown_changes = int(self.demonstrated > 0)
        self._recorded = int(state.offline.inserted) - self.demonstrated  # rows that the offline pool had before any intervention
        self._room = state.offline.capacity - self._recorded
        self._draws_online = parts.mixing.draws_online
        self._said_full = self._room == 0 and self._draws_online
        self._padding = example(stored_spec(spec), SIZES[-1])
        self._open: dict[str, OpenEpisode] = {}
        self._again: list[int] = []  # serials of interventions that came again, when a run is resumed
        self._unsure = False  # whether any were lost
        frame_count, (spare, online_spare) = state.frames.count, spare_frames(parts, self._room, online)
        first, second = self.regions = meta.get("frame_regions") or (frame_count - online_spare - spare, frame_count - online_spare)
        self._frames = FrameIndex(spec, second, frame_count - second, online) if spec.cameras else None
        self._shown_frames = FrameIndex(spec, first, second - first, max(self._room, 1), shown_frames) if spec.cameras else None

    def insert(self, state: LearnerState, stream: str, rows: Transition, demonstrate: bool = True) -> LearnerState:
        """The state with rows `[n]` of one stream appended to its pools, in order; those of stream LOST are never drawn.

        `demonstrate` is False for rows of which the offline pool has what it should; `recall_copies` is called after the last of them.
        """
        begin = self.inserted
        for start in range(0, length(rows), SIZES[-1]):
            part = take(rows, slice(start, start + SIZES[-1]))
            weighed = part if self.balance is None else self.balance.weigh(part, self.inserted)
            state, retired = self._stored(state, stream, weighed, self._frames, "online", self.inserted)
            if len(retired) and self.balance is not None:
                self.balance.forget(retired)
            state = state.replace(online=blank(state.online, retired))
            if not demonstrate:
                self._again += (self.inserted + np.flatnonzero(part.intervened)).tolist()
            state, copies = self._demonstrate(state, stream, part) if demonstrate else (state, {})
            state = self._returns(state, stream, part, copies)
        if stream == LOST:
            self._unsure = True
            state = state.replace(online=self._lose(state.online, np.arange(begin, self.inserted)))
        return state if self.balance is None else state.replace(online=self.balance.settle(state.online))

    def recall_copies(self) -> None:
        """After rows came again whose interventions are in the offline pool: finds those of episodes that are still open, which get their
        returns at the end. Not where some were lost, or found no room, so that it is not known which they are."""
        if not self._unsure and self._fit() > 0:
            newest = self._recorded + self.demonstrated
            copies = dict(zip(reversed(self._again), range(newest - 1, self._recorded - 1, -1), strict=False))
            for episode in self._open.values():
                episode.copies = deque((copies.get(serial, -1) for serial in episode.serials), episode.copies.maxlen)
        self._again = []

    @property
    def recorded(self) -> tuple[int, int]:
        """Rows of the offline pool, and camera frames, that were there before any intervention."""
        return self._recorded, 0 if self._shown_frames is None else self._shown_frames.first

    @property
    def shown(self) -> tuple[slice, slice]:
        """Where the interventions are among the offline pool's rows, and among the camera frames."""
        (row, frame), index = self.recorded, self._shown_frames
        return slice(row, row + self.demonstrated), slice(frame, frame + (0 if index is None else index.stored))

    def _stored(
        self, state: LearnerState, stream: str, rows: Transition, index: FrameIndex | None, pool: str, serial: int
    ) -> tuple[LearnerState, np.ndarray]:
        """The state with rows `[n]` (n ≤ 256) in one of its pools, and the serials of rows whose camera frames they replaced."""
        retired = np.zeros(0, int)
        if index is not None:
            placed = index.place(stream, rows, serial)
            rows, retired = placed.rows, placed.retired
            state = state.replace(frames=frames.put(state.frames, placed.slots, placed.images))
        count = length(rows)
        size = next(size for size in SIZES if count <= size)
        padded = jax.tree.map(lambda new, blank: np.concatenate([new, blank[: size - count]]), rows, self._padding)
        return state.replace(**{pool: replay.insert(getattr(state, pool), padded, np.int32(count), self.config)}), retired

    def _demonstrate(self, state: LearnerState, stream: str, rows: Transition) -> tuple[LearnerState, dict[int, int]]:
        """The state with the intervened rows, as far as there is room, in its offline pool too, and their serials there by their place in
        `rows`."""
        places, copies = np.flatnonzero(rows.intervened), {}
        while len(places) and (fit := self._fit()):  # again where those that were stored took fewer frames than they might have
            shown, serial = take(rows, places[:fit]), self._recorded + self.demonstrated
            count = length(shown)
            shown = shown.replace(source=np.full(count, Source.INTERVENTION, np.int32), quality=np.full(count, self.quality, np.float32))
            state, _ = self._stored(state, stream, shown, self._shown_frames, "offline", serial)
            copies |= dict(zip(places[:fit].tolist(), range(serial, serial + count), strict=True))
            places = places[fit:]
            self.demonstrated += count
            self.shown_changes += 1
        if len(places) and not self._said_full:
            self._said_full = True
            log.warning(
                "There is no room for more interventions beside the demonstrations than the %d steps that are there: later ones are %s. "
                "A run that begins with --config.replay.intervention_rows above %d keeps more.",
                self.demonstrated,
                "learnt from as online rows only" if self._draws_online else "not learnt from",
                self._room,
            )
        return state, copies

    def _fit(self) -> int:
        """Rows of interventions for which the offline pool has room now, whatever frames they bring."""
        rows, index = self._room - self.demonstrated, self._shown_frames
        return rows if index is None else min(rows, (index.count - index.stored) // index.most(1))

    def _lose(self, pool: ReplayState, serials: np.ndarray) -> ReplayState:
        self._open.clear()  # what is missing may have been their ends
        if self.balance is not None:
            self.balance.forget(serials)
        return blank(pool, serials)

    def _returns(self, state: LearnerState, stream: str, rows: Transition, copies: dict[int, int]) -> LearnerState:
        serials = range(self.inserted, self.inserted + length(rows))
        self.inserted += length(rows)
        columns = (column.tolist() for column in (rows.reward, rows.mask, rows.truncated, rows.step))
        links, copied = list[tuple[int, int]](), list[tuple[int, int]]()
        for place, (serial, reward, mask, truncated, step) in enumerate(zip(serials, *columns, strict=True)):
            if step == 0:
                self._open.pop(stream, None)  # broken off: its returns stay unknown
            episode = self._open.get(stream)
            if episode is None:
                episode = self._open[stream] = OpenEpisode(state.online.capacity)
            copy = copies.get(place, -1)
            if episode.serials and step == episode.step + 1:
                links.append((episode.serials[-1], serial))
                copied.append((episode.copies[-1], copy))
            episode.step = step
            episode.serials.append(serial)
            episode.copies.append(copy)
            episode.rewards.append(reward)
            episode.masks.append(mask)
            if truncated or mask == 0:
                state = self._close(state, self._open.pop(stream))
        return (
            state
            if not state.online.is_linked
            else state.replace(
                online=_linked(state.online, links),
                offline=_linked(state.offline, [pair for pair in copied if min(pair) >= 0]),
            )
        )

    def _close(self, state: LearnerState, episode: OpenEpisode) -> LearnerState:
        returns = monte_carlo(np.asarray(episode.rewards, np.float32), np.asarray(episode.masks, np.float32), self.reward)
        self.longest = max(self.longest, episode.serials[-1] - episode.serials[0] + 1)
        state = state.replace(online=_with_returns(state.online, np.asarray(episode.serials), returns))
        copies = np.asarray(episode.copies)
        if (copied := copies >= 0).any():
            self.shown_changes += 1
            state = state.replace(offline=_with_returns(state.offline, copies[copied], returns[copied]))
        return state


def _with_returns(pool: ReplayState, serials: np.ndarray, returns: np.ndarray) -> ReplayState:
    """The pool with the Monte-Carlo returns `[n]` of rows `serials` `[n]`."""
    for index, value in zip(_in_parts(serials, -1), _in_parts(returns, 0.0), strict=True):
        pool = replay.set_returns(pool, index.astype(np.int32), value.astype(np.float32))
    return pool


def _linked(pool: ReplayState, links: list[tuple[int, int]]) -> ReplayState:
    """The pool with the second row of each pair, by their serials, following the first."""
    serials = np.array(links, int).reshape(-1, 2)
    for before, after in zip(_in_parts(serials[:, 0], -1), _in_parts(serials[:, 1], -1), strict=True):
        pool = replay.link(pool, before.astype(np.int32), after.astype(np.int32))
    return pool


def blank(pool: ReplayState, serials: np.ndarray) -> ReplayState:
    """The pool with the rows of these serials never drawn again: their content was lost."""
    for part in _in_parts(serials, -1):
        pool = replay.retire(pool, part.astype(np.int32))
    return pool


def _in_parts(values: np.ndarray, filler: float) -> Iterator[np.ndarray]:
    """Values `[n]` in parts of one size, the last one filled up, so that one program serves any number."""
    for start in range(0, len(values), SIZES[-1]):
        part = values[start : start + SIZES[-1]]
        yield np.concatenate([part, np.full(SIZES[-1] - len(part), filler)])
