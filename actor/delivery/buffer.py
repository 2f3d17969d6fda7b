"""Rows that the actor keeps until the learner has them on disk: a numbered queue in memory.

Three threads meet here: the control loop appends, the spool's writer (if there is one) brings rows to disk, and the client's
sender takes them to the learner.
"""

from __future__ import annotations

import threading
import uuid
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...data.errors import WarmloopError
from ...data.transition import Array, Leaf, Transition, length
from ...data.wire import MIB, row_bytes
from ...data.wire.row_schema import Schema

BLOCK_ROWS = 1024
BLOCK_BYTES = 4 * MIB
ARRAYS = (np.ndarray, np.generic)


class Column:
    """One leaf of the schema, and where it is in a Transition. Made once, since every step of a control loop reads them all."""

    def __init__(self, leaf: Leaf):
        self.leaf, self.dtype = leaf, np.dtype(leaf.dtype)
        self._field, _, self._key = leaf.name.partition("/")

    def of(self, rows: Transition, shape: tuple[int, ...]) -> Array:
        """The leaf's values. Raises WarmloopError where they are of another shape or kind."""
        value: Any = getattr(rows, self._field)
        if self._key:
            value = value.get(self._key) if isinstance(value, Mapping) else None
        if isinstance(value, ARRAYS) and value.shape == shape and value.dtype == self.dtype:
            return value
        value = np.asarray(value)
        if value.shape != shape or not np.can_cast(value.dtype, self.dtype, "same_kind"):
            raise WarmloopError(
                f'A row\'s "{self.leaf.name}" is {value.dtype} {list(value.shape)}; the schema says {self.dtype} {list(shape)}.'
            )
        return value


class RowBuffer:
    """The rows `first` … `end - 1` of one stream. Hold `lock` while you call a method or change an attribute.

    Numbers are of the first row that is *not* included: rows below `first` are on the learner's disk and forgotten here,
    rows below `sent` are with the learner, rows below `written` may be sent (all of them, unless a spool writes them first).

    Attributes:
        stream_id: names the numbering; a new buffer starts a new one.
        opening: 0, or a number that grows each time the stream is opened by another process.
        capacity: rows it should hold; it is the control loop's care to keep to it.
        gaps: rows that a damaged spool has lost: nothing can be sent past one before what precedes it is forgotten.
        lock: one for all; `changed` and `writer` are conditions of it.
        changed: notified when rows may be sent, or are forgotten.
        writer: the spool's condition, notified when rows come; None where rows need no writing.
        trouble: a sentence while rows cannot be written; they are kept.
        failure: why rows will never be written again.
    """

    def __init__(self, schema: Schema, max_rows: int = 200_000, max_bytes: int = 1024 * MIB, stream_id: str | None = None):
        self.schema, self.stream_id, self.opening = schema, stream_id or uuid.uuid4().hex, 0
        self.first = self.sent = self.written = self.end = 0
        self.capacity = max(1, min(max_rows, max_bytes // schema.row_bytes))
        self.gaps: deque[range] = deque()
        self.lock = threading.Lock()
        self.changed = threading.Condition(self.lock)
        self.writer: threading.Condition | None = None
        self.trouble = ""
        self.failure: BaseException | None = None
        self.block_rows = max(1, min(BLOCK_ROWS, BLOCK_BYTES // schema.row_bytes))
        self._columns = tuple(Column(leaf) for leaf in schema.leaves)
        self._blocks: deque[tuple[Array, ...]] = deque()  # one array [block_rows, ...] per leaf
        self._start = 0  # number of the first block's first row

    def __len__(self) -> int:
        return self.end - self.first

    @property
    def pending(self) -> int:
        """Rows that the learner has not received."""
        return self.end - self.sent

    @property
    def sendable(self) -> int:
        """Rows that can be sent now."""
        stop = min(self.written, self.gaps[0].start) if self.gaps else self.written
        return max(0, stop - self.sent)

    def append(self, rows: Transition) -> None:
        """Copies one row (leaves without a leading axis) or rows `[n]` in. Raises WarmloopError where a leaf is not the schema's."""
        if np.ndim(rows.reward) == 0:
            values = [column.of(rows, column.leaf.shape) for column in self._columns]
            block, index = self._locate(self.end)
            for array, value in zip(block, values, strict=True):
                array[index] = value
            self.end += 1
        else:
            count = length(rows)
            self._copy([column.of(rows, (count, *column.leaf.shape)) for column in self._columns], count)
        if self.writer is not None:
            self.writer.notify()
        else:
            self.written = self.end
            self.changed.notify_all()

    def parts(self, first: int, count: int) -> list[dict[str, Array]]:
        """Views of rows `first` … `first + count - 1`, for `frames.join`. They stay whole after the lock is released."""
        found = []
        while count > 0:
            block, index = self._locate(first)
            here = min(count, self.block_rows - index)
            columns = zip(self._columns, block, strict=True)
            found.append({column.leaf.name: array[index : index + here] for column, array in columns})
            first, count = first + here, count - here
        return found

    def frame(self, first: int, count: int) -> bytes:
        """The frame of rows `first` … `first + count - 1`."""
        return row_bytes.join(self.schema, self.parts(first, count))

    def forget(self, below: int) -> None:
        """Lets go of the rows below a number, and of a gap that comes next."""
        self.first = max(self.first, min(below, self.end))
        while self.gaps and self.gaps[0].start <= self.first:
            self.first = max(self.first, self.gaps.popleft().stop)
        self.sent = max(self.sent, self.first)
        while self._blocks and self.first - self._start >= self.block_rows:
            self._blocks.popleft()
            self._start += self.block_rows
        if self.writer is not None:
            self.writer.notify()  # there may be disk space to free

    def skip(self, number: int) -> None:
        """Goes on at a number beyond `end`, all rows being written; what is left out is a gap where older rows are still held."""
        if len(self):
            self.gaps.append(range(self.end, number))
        else:
            self._blocks.clear()
            self._start = self.first = self.sent = number
        self.written = self.end = number

    def _copy(self, values: list[Array], count: int) -> None:
        done = 0
        while done < count:
            block, index = self._locate(self.end)
            here = min(count - done, self.block_rows - index)
            for array, value in zip(block, values, strict=True):
                array[index : index + here] = value[done : done + here]
            self.end, done = self.end + here, done + here

    def _locate(self, number: int) -> tuple[tuple[Array, ...], int]:
        """The block of a row, and its index there."""
        block, index = divmod(number - self._start, self.block_rows)
        while block >= len(self._blocks):
            self._blocks.append(tuple(np.empty((self.block_rows, *column.leaf.shape), column.dtype) for column in self._columns))
        return self._blocks[block], index
