"""Rows that the actor keeps until the learner has them safe: a numbered queue in memory."""

from __future__ import annotations

import logging
import uuid
from collections import deque

import numpy as np

from ..data.errors import WarmloopError
from ..data.transition import Array, Leaf, Transition, length
from ..data.wire import MIB, frames
from ..data.wire.schema import Schema, flatten

BLOCK_ROWS = 1024
BLOCK_BYTES = 4 * MIB

log = logging.getLogger(__name__)


class RowBuffer:
    """The rows `first` … `end - 1` of one stream; those below `sent` are with the learner. Not thread-safe.

    Attributes:
        stream_id: names the numbering; a new buffer starts a new one.
        unprotected: rows given up by `yield_room`.
        capacity: rows it should hold; it is the owner's care to keep to it.
    """

    def __init__(self, schema: Schema, max_rows: int = 200_000, max_bytes: int = 1024 * MIB):
        self.schema, self.stream_id, self.unprotected = schema, uuid.uuid4().hex, 0
        self.first = self.sent = self.end = 0
        self.capacity = max(1, min(max_rows, max_bytes // schema.row_bytes))
        self._block_rows = max(1, min(BLOCK_ROWS, BLOCK_BYTES // schema.row_bytes))
        self._blocks: deque[dict[str, Array]] = deque()
        self._start = 0  # number of the first block's first row

    def __len__(self) -> int:
        return self.end - self.first

    @property
    def pending(self) -> int:
        """Rows that the learner has not received."""
        return self.end - self.sent

    def append(self, rows: Transition) -> None:
        """Copies one row (leaves without a leading axis) or rows `[n]` in. Raises WarmloopError where a leaf is not the schema's."""
        leaves, batched = flatten(rows), np.ndim(rows.reward) == 1
        count = length(rows) if batched else 1
        values = [self._checked(leaf, leaves, (count, *leaf.shape) if batched else leaf.shape) for leaf in self.schema.leaves]
        for row in range(count):
            block, index = divmod(self.end - self._start, self._block_rows)
            if block == len(self._blocks):
                self._blocks.append({leaf.name: np.empty((self._block_rows, *leaf.shape), leaf.dtype) for leaf in self.schema.leaves})
            for leaf, value in zip(self.schema.leaves, values, strict=True):
                self._blocks[block][leaf.name][index] = value[row] if batched else value
            self.end += 1

    def frame(self, first: int, count: int) -> bytes:
        """The frame of rows `first` … `first + count - 1`."""
        parts = []
        while count > 0:
            block, index = divmod(first - self._start, self._block_rows)
            here = min(count, self._block_rows - index)
            parts.append({name: array[index : index + here] for name, array in self._blocks[block].items()})
            first, count = first + here, count - here
        return frames.join(self.schema, parts)

    def forget(self, below: int) -> None:
        """Lets go of the rows below a number."""
        self.first = max(self.first, min(below, self.end))
        while self._blocks and self.first - self._start >= self._block_rows:
            self._blocks.popleft()
            self._start += self._block_rows

    def yield_room(self, rows: int) -> None:
        """Lets go of up to `rows` of the oldest rows that the learner has received but not saved: it must not crash now."""
        received = min(rows, self.sent - self.first)
        if received > 0:
            if self.unprotected == 0:
                log.warning("The learner has not saved for %d rows: the oldest of them are no longer kept here.", len(self))
            self.unprotected += received
            self.forget(self.first + received)

    @staticmethod
    def _checked(leaf: Leaf, leaves: dict[str, Array], shape: tuple[int, ...]) -> Array:
        value = np.asarray(leaves.get(leaf.name))
        if value.shape != shape or not (value.dtype == leaf.dtype or np.can_cast(value.dtype, leaf.dtype, "same_kind")):
            raise WarmloopError(f'A row\'s "{leaf.name}" is {value.dtype} {list(value.shape)}; the schema says {leaf.dtype} {list(shape)}.')
        return value
