"""Rows as bytes in which each camera picture occurs once: the next observation of a row is the observation of the row after it.

    columns of all other leaves, as in `row_bytes` | a code for each picture, by camera | the pictures that are new, by camera

A camera's pictures are those of row after row: its observation's stack, oldest first, then its next observation's. The code of a picture is
0 where it is new, or how many pictures earlier an equal one is, at most the stack's length. So a piece of rows may refer to the row
before its first, of which `Pictures` are kept. Contents are compared and nothing is assumed, so a reset, an intervention or a camera that
stands still gives back exactly the rows that went in. Pieces that follow each other are joined by joining their parts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ..errors import WarmloopError
from ..transition import Array, Transition, length
from . import row_bytes
from .row_schema import Schema, flatten, unflatten

Pictures = tuple[Array, ...]  # of each camera, those of one observation: `[k, bytes of a picture]` uint8


class Packed(NamedTuple):
    """Rows as bytes.

    Attributes:
        data: the bytes.
        shared: they are as here, and not as in `row_bytes`.
        leans: they refer to the row before them.
    """

    data: bytes
    shared: bool = False
    leans: bool = False


class Unpacked(NamedTuple):
    """Rows `[n]` from bytes.

    Attributes:
        rows: the rows.
        leans: the bytes refer to the row before them.
        missing: so many of the first rows refer to pictures that were not given; these are black there.
    """

    rows: Transition
    leans: bool
    missing: int


class Packer:
    """Packs one stream's rows piece by piece for a reader that has every piece since `restart`."""

    def __init__(self, schema: Schema):
        self._schema = schema
        self.restart()

    def restart(self) -> None:
        """The next piece refers to no row before it."""
        self._end, self._before = -1, None

    def pack(self, first: int, count: int, parts: Sequence[Mapping[str, Array]]) -> bytes:
        """Rows `first` … `first + count - 1`, given as pieces with leaves `[n_i, ...]` by name, which must not change later."""
        data, self._before = encode(self._schema, parts, self._before if first == self._end else None)
        self._end = first + count
        return data


def whole(schema: Schema, rows: Transition) -> Packed:
    """Rows `[n]` that refer to no row before them. Raises WarmloopError where a leaf's shape is not the schema's."""
    if not schema.cameras:
        return Packed(row_bytes.encode(schema, rows))
    row_bytes.check(schema, rows)
    return Packed(encode(schema, [flatten(rows)])[0], shared=True)


def encode(schema: Schema, parts: Iterable[Mapping[str, Array]], before: Pictures | None = None) -> tuple[bytes, Pictures]:
    """The bytes of several pieces, each with leaves `[n_i, ...]` by name, and the pictures of the last row's next observation.

    `before` are those of the row before the first; shapes are the caller's care.
    """
    parts = tuple(parts)
    codes, new, last = list[bytearray](), list[memoryview](), list[Array]()
    for place, camera in enumerate(schema.cameras):
        recent, marks = deque[Array](() if before is None else before[place], maxlen=camera.stack), bytearray()
        for part in parts:
            here, after = camera.pictures(part[camera.observation]), camera.pictures(part[camera.next_observation])
            for row in range(len(here)):
                for picture in (*here[row], *after[row]):
                    code = next((back for back in camera.distances if back <= len(recent) and _equal(recent[-back], picture)), 0)
                    if code == 0:
                        new.append(picture.data)
                    marks.append(code)
                    recent.append(picture)
        codes.append(marks)
        last.append(np.stack(recent) if camera.stack > 1 else recent[0][None])
    return b"".join([row_bytes.join(schema.without_pictures, parts), *codes, *new]), tuple(last)


def decode(schema: Schema, data: bytes, count: int, before: Pictures | None = None) -> Unpacked:
    """The rows `[count]` of such bytes. Raises WarmloopError unless they are exactly that many rows."""
    columns, codes, pictures = _parts(schema, data, count)
    leaves, missing, leans = row_bytes.columns(schema.without_pictures, columns, count), 0, False
    for place, (camera, marks, new) in enumerate(zip(schema.cameras, codes, pictures, strict=True)):
        sources, stack = _sources(marks, camera.stack), camera.stack
        fresh = np.ndarray((len(new) // camera.size, camera.size), np.uint8, new)
        if min(sources[:stack]) < 0:
            leans = True
            missing = max(missing, 0 if before is not None else _last_below_zero(sources) // (2 * stack) + 1)
        for part, name in enumerate((camera.observation, camera.next_observation)):
            mine = [source for at in range(part * stack, len(sources), 2 * stack) for source in sources[at : at + stack]]
            leaves[name] = _gathered(fresh, None if before is None else before[place], mine).reshape(count, *camera.shape)
    return Unpacked(unflatten({leaf.name: leaves[leaf.name] for leaf in schema.leaves}), leans, missing)


def merge(schema: Schema, pieces: Sequence[tuple[bytes | memoryview, int]]) -> bytes:
    """The bytes of several pieces that follow each other, each given with its number of rows."""
    parts = [_parts(schema, data, count) for data, count in pieces]
    columns = row_bytes.merge(schema.without_pictures, [(part[0], count) for part, (_, count) in zip(parts, pieces, strict=True)])
    places = range(len(schema.cameras))
    codes = [marks[place] for place in places for _, marks, _ in parts]
    pictures = [new[place] for place in places for *_, new in parts]
    return b"".join([columns, *codes, *pictures])


def fits(schema: Schema, size: int, count: int) -> bool:
    """Whether so many rows can have that many bytes: no picture new, or all of them."""
    least = count * (schema.without_pictures.row_bytes + sum(2 * camera.stack for camera in schema.cameras))
    return count >= 1 and least <= size <= least + count * sum(2 * camera.stack * camera.size for camera in schema.cameras)


def last(schema: Schema, rows: Transition) -> Pictures:
    """The pictures of the last row's next observation, from rows `[n]`; they do not keep the others in memory."""
    leaves, alone = flatten(rows), length(rows) == 1
    found = (camera.pictures(leaves[camera.next_observation][-1:])[0] for camera in schema.cameras)
    return tuple(pictures if alone else pictures.copy() for pictures in found)


def _parts(schema: Schema, data: bytes | memoryview, count: int) -> tuple[memoryview, list[bytes], list[memoryview]]:
    """The columns, the codes of each camera and the new pictures of each. Raises WarmloopError where they do not fit exactly."""
    view, end = memoryview(data), max(count, 0) * schema.without_pictures.row_bytes
    columns, codes, pictures = view[:end], [], []
    for camera in schema.cameras:
        codes.append(bytes(view[end : end + 2 * camera.stack * count]))
        end += 2 * camera.stack * count
    for camera, marks in zip(schema.cameras, codes, strict=True):
        if marks and max(marks) > camera.stack:
            raise WarmloopError(f'A picture of "{camera.observation}" refers to one further back than the row before.')
        pictures.append(view[end : end + marks.count(0) * camera.size])
        end += marks.count(0) * camera.size
    if count < 1 or len(view) != end:
        raise WarmloopError(f"A frame of {count} rows with shared pictures has {len(view)} bytes; by its codes it would have {end}.")
    return columns, codes, pictures


def _sources(codes: bytes, stack: int) -> list[int]:
    """For each picture its place among the new ones, or below zero that among the row before's, from their end."""
    sources, new = list(range(-stack, 0)), 0
    for place, code in enumerate(codes):
        sources.append(sources[place + stack - code] if code else new)
        new += not code
    return sources[stack:]


def _gathered(fresh: Array, earlier: Array | None, sources: Sequence[int]) -> Array:
    """Pictures `[m, bytes]` by their sources; where they lie side by side, as a view."""
    start, count = sources[0], len(sources)
    known = np.zeros((-min(0, *sources), fresh.shape[1]), np.uint8) if earlier is None else earlier
    if count == 1 or (start >= 0 and sources == list(range(start, start + count))):
        return fresh[start : start + count] if start >= 0 else known[start][None]
    found = np.empty((count, fresh.shape[1]), np.uint8)
    for picture, source in zip(found, sources, strict=True):
        picture[:] = fresh[source] if source >= 0 else known[source]
    return found


def _last_below_zero(sources: Sequence[int]) -> int:
    return max(place for place, source in enumerate(sources) if source < 0)


def _equal(one: Array, other: Array) -> bool:
    kind = np.uint64 if one.size % 8 == 0 else np.uint8
    return one is other or bool((one.view(kind) == other.view(kind)).all())
