"""The streams of rows that actors send: what has come, what is taken, and where an episode was cut."""

from __future__ import annotations

import dataclasses
import itertools
from collections import deque
from collections.abc import Iterable

import numpy as np

from ...data.transition import Array, Transition, concatenate, length, take
from ...data.wire import shared_pictures
from ...data.wire.row_schema import Schema
from ...data.wire.shared_pictures import Pictures

LOST = ""  # the stream of rows that were lost on the learner's disk; no actor's can be called so


@dataclasses.dataclass(frozen=True)
class Chunk:
    """Consecutive rows `[n]` of one stream, numbered from `first`."""

    stream: str
    first: int
    rows: Transition

    @property
    def end(self) -> int:
        """Number after the last row."""
        return self.first + length(self.rows)

    def split(self, count: int) -> tuple[Chunk, Chunk]:
        """The first `count` rows, and the others."""
        head, tail = take(self.rows, slice(count)), take(self.rows, slice(count, None))
        return Chunk(self.stream, self.first, head), Chunk(self.stream, self.first + count, tail)


@dataclasses.dataclass
class Stream:
    """One numbering of rows. Numbers are of the first row that is not included.

    Attributes:
        received: all rows below came in (or were given up by the actor).
        durable: all rows below are on disk.
        open: the newest row of an unfinished episode, held back so that it can still be marked truncated.
        reports: number of the newest report.
        owner: id of the actor that it belongs to; "" where an earlier version's journal does not say.
        owner_noted: the journal has it.
        pictures: a number, and what the cameras showed after the row before it; None where that is not known.
        journaled: the number before which the journal's newest segment has a row whose pictures a record may refer to.
    """

    name: str
    received: int = 0
    durable: int = 0
    open: Chunk | None = None
    reports: int = -1
    owner: str = ""
    owner_noted: bool = False
    pictures: tuple[int, Pictures] | None = None
    journaled: int = -1

    @property
    def untouched(self) -> bool:
        """Nothing came, so nothing is lost where it is forgotten."""
        return self.received == 0 and self.reports < 0

    def pictures_before(self, number: int) -> Pictures | None:
        """What the cameras showed after the row before a number; None where that is not known."""
        return self.pictures[1] if self.pictures is not None and self.pictures[0] == number else None

    def remember(self, schema: Schema, first: int, rows: Transition) -> None:
        """Keeps what the cameras showed after rows `[n]` numbered from `first`."""
        if schema.cameras:
            self.pictures = first + length(rows), shared_pictures.last(schema, rows)

    def extend(self, first: int, rows: Transition, good: Array) -> list[Chunk]:
        """Rows `[n]` numbered from `first` = `received` arrive; returns what may be learnt from, in order.

        A row of an unfinished episode that is not followed by its successor (the next step of the same episode) is closed
        as truncated: its next observation is true, so the bootstrap stays. A row that is not `good` is nobody's successor.
        """
        self.received = first + length(rows)
        if length(rows) == 1 and good[0]:
            return self._extend_by_one(Chunk(self.name, first, rows))
        numbers = first + np.flatnonzero(good)
        if len(numbers) < length(rows):
            rows = take(rows, good)
        released = self._release(rows)
        if len(numbers) == 0:
            return released
        unfinished = (rows.mask != 0) & ~rows.truncated
        followed = np.append((np.diff(rows.step) == 1) & (np.diff(rows.episode) == 0), numbers[-1] == self.received - 1)
        if (cut := unfinished & ~followed).any():
            rows = rows.replace(truncated=rows.truncated | cut)
        released += _pieces(self.name, numbers, rows)
        if unfinished[-1] and followed[-1]:
            self.open = released.pop()
            if (count := length(self.open.rows)) > 1:
                piece, self.open = self.open.split(count - 1)
                released.append(piece)
        return released

    def _extend_by_one(self, row: Chunk) -> list[Chunk]:
        """As `extend`, for the message of one good row that a robot sends at every step."""
        released = self._release(row.rows)
        if row.rows.mask[0] != 0 and not row.rows.truncated[0]:
            self.open = row
        else:
            released.append(row)
        return released

    def cut(self) -> list[Chunk]:
        """Closes the open episode as truncated; returns its last row."""
        if self.open is None:
            return []
        last, self.open = self.open, None
        return [dataclasses.replace(last, rows=last.rows.replace(truncated=np.ones_like(last.rows.truncated)))]

    def _release(self, rows: Transition) -> list[Chunk]:
        """The row held back, as it is if `rows` begin with its successor, else as the truncated end of its episode."""
        if self.open is None or length(rows) == 0:
            return self.cut()
        last = self.open
        if rows.step[0] != last.rows.step[0] + 1 or rows.episode[0] != last.rows.episode[0]:
            return self.cut()
        self.open = None
        return [last]


class Queue:
    """Chunks on their way to the learner, in the order they came."""

    def __init__(self) -> None:
        self.rows = 0
        self._chunks: deque[Chunk] = deque()

    def put(self, chunks: Iterable[Chunk]) -> None:
        """Appends chunks."""
        for chunk in chunks:
            self._chunks.append(chunk)
            self.rows += length(chunk.rows)

    def take(self, max_rows: int) -> list[Chunk]:
        """Removes up to `max_rows` rows; neighbours of one stream come as one chunk."""
        groups: list[list[Chunk]] = []
        while self._chunks and max_rows > 0:
            chunk = self._chunks.popleft()
            if length(chunk.rows) > max_rows:
                chunk, rest = chunk.split(max_rows)
                self._chunks.appendleft(rest)
            max_rows -= length(chunk.rows)
            self.rows -= length(chunk.rows)
            if groups and (groups[-1][-1].stream, groups[-1][-1].end) == (chunk.stream, chunk.first):
                groups[-1].append(chunk)
            else:
                groups.append([chunk])
        return [
            group[0] if len(group) == 1 else dataclasses.replace(group[0], rows=concatenate([chunk.rows for chunk in group]))
            for group in groups
        ]

    def oldest(self) -> dict[str, int]:
        """Number of each waiting stream's first row."""
        oldest: dict[str, int] = {}
        for chunk in self._chunks:
            oldest.setdefault(chunk.stream, chunk.first)
        return oldest


def _pieces(name: str, numbers: Array, rows: Transition) -> list[Chunk]:
    """Rows `[n]` as chunks of consecutive numbers."""
    if numbers[-1] - numbers[0] == len(numbers) - 1:
        return [Chunk(name, int(numbers[0]), rows)]
    edges = [0, *(np.flatnonzero(np.diff(numbers) != 1) + 1).tolist(), len(numbers)]
    return [Chunk(name, int(numbers[start]), take(rows, slice(start, end))) for start, end in itertools.pairwise(edges)]
