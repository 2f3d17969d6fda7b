"""How much memory an Arrow file says that it takes, out of its descriptions alone: nothing is unpacked for it.

An Arrow file ends with a footer that says where its batches lie; each batch says where its buffers lie, and a compressed buffer begins with
the size that Arrow makes for it before it unpacks it. Footer and batches are FlatBuffers: https://arrow.apache.org/docs/format/Columnar.html
"""

from __future__ import annotations

import dataclasses
import io
import os
import struct
from collections.abc import Iterator
from typing import BinaryIO

MAGIC = b"ARROW1"
DICTIONARIES, BATCHES = 2, 3  # fields of a footer
HEADER_KIND, HEADER = 1, 2  # of a message
DICTIONARY = 2  # a kind of header
DATA = 1  # a field of a dictionary
BUFFERS, COMPRESSION = 2, 3  # of a batch
OLD_COMPRESSION = b"ARROW:experimental_compression"  # of Arrow 0.17
UNCOMPRESSED = -1


def arrow_bytes(path: str) -> int:
    """Bytes of all buffers of an Arrow file, unpacked. Raises ValueError, OSError: it is damaged."""
    try:
        with open(path, "rb") as file:
            return sum(_block_bytes(file, *block) for block in _blocks(file))
    except (struct.error, IndexError, OverflowError):
        raise ValueError("its footer or a batch of it is damaged") from None


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of FlatBuffers at `place` in `data`. Raises struct.error where it runs over the end."""

    data: bytes
    place: int

    @classmethod
    def root(cls, data: bytes) -> Table:
        """The table that a FlatBuffer is."""
        return cls(data, _number("<I", data, 0))

    def at(self, field: int) -> int:
        """Where a field's value lies; 0 where there is none."""
        described = self.place - _number("<i", self.data, self.place)
        entry = 4 + 2 * field
        if entry >= _number("<H", self.data, described):
            return 0
        offset = _number("<H", self.data, described + entry)
        return offset and self.place + offset

    def table(self, field: int) -> Table:
        """The table that a field is."""
        return Table(self.data, self._follow(field))

    def structs(self, field: int, layout: str) -> Iterator[tuple[int, ...]]:
        """The structures in the list that a field is."""
        if not self.at(field):
            return
        start = self._follow(field)
        size, count = struct.calcsize(layout), _number("<I", self.data, start)
        if count * size > len(self.data):
            raise IndexError
        for index in range(count):
            yield struct.unpack_from(layout, self.data, start + 4 + index * size)

    def _follow(self, field: int) -> int:
        place = self.at(field)
        if not place:
            raise IndexError
        return place + _number("<I", self.data, place)


def _number(layout: str, data: bytes, place: int) -> int:
    if place < 0:
        raise IndexError
    return struct.unpack_from(layout, data, place)[0]


def _blocks(file: BinaryIO) -> Iterator[tuple[int, int]]:
    """Where each batch and each dictionary begins in the file, and the bytes of its description."""
    end = file.seek(0, io.SEEK_END) - len(MAGIC) - 4
    file.seek(max(end, 0))
    size = _number("<i", file.read(4), 0)
    if file.read() != MAGIC or not 0 < size <= end:
        raise IndexError
    file.seek(end - size)
    footer = Table.root(file.read(size))
    for field in (DICTIONARIES, BATCHES):
        for place, described, _ in footer.structs(field, "<qi4xq"):
            yield place, described


def _block_bytes(file: BinaryIO, place: int, described: int) -> int:
    """Bytes of the buffers of one batch."""
    if min(place, described) < 0 or place + described > os.fstat(file.fileno()).st_size:
        raise IndexError
    file.seek(place)
    data = file.read(described)
    message = Table.root(data[8 if data[:4] == b"\xff" * 4 else 4 :])
    batch = message.table(HEADER)
    if message.data[message.at(HEADER_KIND)] == DICTIONARY:
        batch = batch.table(DATA)
    if not batch.at(COMPRESSION) and OLD_COMPRESSION not in data:
        return sum(size for _, size in batch.structs(BUFFERS, "<qq"))
    return sum(_unpacked(file, place + described + start, size) for start, size in batch.structs(BUFFERS, "<qq") if size)


def _unpacked(file: BinaryIO, place: int, size: int) -> int:
    """Bytes of a compressed buffer, by the number that it begins with."""
    if place < 0:
        raise IndexError
    file.seek(place)
    claimed = _number("<q", file.read(8), 0)
    if claimed < UNCOMPRESSED:
        raise IndexError
    return size if claimed == UNCOMPRESSED else claimed
