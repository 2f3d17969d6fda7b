"""Frames: rows as bytes, leaf after leaf in schema order, little endian, without any header.

Everything needed to read one is in the schema, so a frame holds no dtype, no shape and no object for a peer to choose.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Mapping, Sequence
from functools import cache

import numpy as np

from ..errors import WarmloopError
from ..transition import Array, Transition, length
from .row_schema import Schema, flatten, unflatten


def encode(schema: Schema, rows: Transition) -> bytes:
    """The frame of rows `[n]`. Raises WarmloopError where a leaf's shape is not the schema's."""
    return join(schema, (check(schema, rows),))


def check(schema: Schema, rows: Transition) -> dict[str, Array]:
    """The leaves of rows `[n]` by name. Raises WarmloopError where a leaf's shape is not the schema's."""
    leaves, count = flatten(rows), length(rows)
    for leaf in schema.leaves:
        shape = np.shape(leaves[leaf.name])
        if shape != (count, *leaf.shape):
            raise WarmloopError(f'Leaf "{leaf.name}" has shape {list(shape)}; the schema wants {[count, *leaf.shape]}.')
    return leaves


def join(schema: Schema, parts: Iterable[Mapping[str, Array]]) -> bytes:
    """One frame of several pieces, each with leaves `[n_i, ...]` by name; shapes are the caller's care."""
    parts = tuple(parts)
    return b"".join([np.ascontiguousarray(part[leaf.name], _little_endian(leaf.dtype)).data for leaf in schema.leaves for part in parts])


def merge(schema: Schema, pieces: Sequence[tuple[bytes | memoryview, int]]) -> bytes:
    """One frame of several, each given with its number of rows; their lengths are the caller's care."""
    columns, starts = [], [0] * len(pieces)
    for leaf in schema.leaves:
        size = np.dtype(leaf.dtype).itemsize * math.prod(leaf.shape)
        for place, (frame, count) in enumerate(pieces):
            end = starts[place] + size * count
            columns.append(frame[starts[place] : end])
            starts[place] = end
    return b"".join(columns)


def decode(schema: Schema, frame: bytes, count: int) -> Transition:
    """The rows `[count]` of a frame, as read-only views of it. Raises WarmloopError unless the length fits exactly."""
    return unflatten(columns(schema, frame, count))


def columns(schema: Schema, frame: bytes | memoryview, count: int) -> dict[str, Array]:
    """As `decode`, the leaves `[count, ...]` by name."""
    if count < 1 or len(frame) != count * schema.row_bytes:
        raise WarmloopError(f"A frame of {count} rows has {len(frame)} bytes; this schema takes {count * schema.row_bytes}.")
    leaves, offset = {}, 0
    for name, dtype, shape, size in schema.layout:
        array = np.ndarray((count, *shape), dtype, frame, offset)
        end = offset + count * size
        if dtype == np.bool_ and bytes(frame[offset:end]).translate(None, b"\0\1"):
            raise WarmloopError(f'Leaf "{name}" holds bytes that are neither true nor false.')
        offset = end
        leaves[name] = array if array.flags.aligned else array.copy()
    return leaves


def checksum(frame: bytes) -> int:
    """crc32 of a frame."""
    return zlib.crc32(frame)


@cache
def _little_endian(dtype: str) -> np.dtype:
    return np.dtype(dtype).newbyteorder("<")
