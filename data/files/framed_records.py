"""Records that are appended to a file: each is found again whole, or not at all, whatever else of the file was damaged.

    mark, length, crc32 | body

The mark is four bytes, the length and the crc32 are little endian, of 32 bits each. What is in a body is its writer's business.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

HEAD = struct.Struct("<4sII")
LENGTH = struct.Struct("<I")
Fits = Callable[[memoryview, int], bool]  # of a body's first `least` bytes or more, and the length in its head


class Stretch(NamedTuple):
    """Whole records, one after another, from byte `start` of a file to byte `end`; the bodies are views of the file's bytes."""

    start: int
    end: int
    bodies: list[memoryview]


@dataclasses.dataclass(frozen=True, slots=True)
class Framing:
    """How the records of one kind of file are framed.

    Attributes:
        mark: the four bytes that a record begins with.
        least: bytes that every body has.
        uncounted: bytes at the beginning of a body that are not in its length.
        hashed_length: the crc32 is that of the length, as it is in the head, and the body. Else it is that of the body, begun from the
            length as if that were a crc32 already. Either way a changed length is noticed.
    """

    mark: bytes
    least: int
    uncounted: int = 0
    hashed_length: bool = True

    def framed(self, fields: bytes, content: bytes | memoryview) -> tuple[bytes, bytes | memoryview]:
        """The record of a body in two parts: what is written before `content`, and `content`, which is not copied."""
        length = len(fields) + len(content) - self.uncounted
        begun = crc32(LENGTH.pack(length) + fields) if self.hashed_length else crc32(fields, length)
        return HEAD.pack(self.mark, length, crc32(content, begun)) + fields, content

    def body_at(self, data: memoryview, start: int, fits: Fits | None = None) -> memoryview | None:
        """The body of the whole record at byte `start`; None where there is none. `fits`, if given, is asked before the crc32."""
        first = start + HEAD.size
        if len(data) < first + self.least:
            return None
        mark, length, crc = HEAD.unpack_from(data, start)
        end = first + length + self.uncounted
        if mark != self.mark or end > len(data) or end - first < self.least:
            return None
        body = data[first:end]
        if fits is not None and not fits(body, length):
            return None
        return body if crc32(body, crc32(LENGTH.pack(length)) if self.hashed_length else length) == crc else None

    def first_body(self, path: Path) -> memoryview | None:
        """The body of the record that a file begins with, of which no more is read; None where there is no whole one. Raises OSError."""
        with open(path, "rb") as file:
            head = file.read(HEAD.size)
            length = HEAD.unpack(head)[1] + self.uncounted if len(head) == HEAD.size else 0
            return self.body_at(memoryview(head + file.read(min(length, path.stat().st_size))), 0)

    def stretches(self, data: bytes | memoryview, start: int = 0, fits: Fits | None = None) -> Iterator[Stretch]:
        """Every part of a file from byte `start` on that is whole, in order: a sound file has one, and an empty one has none."""
        content, view = bytes(data), memoryview(data)  # bytes are not copied
        while start >= 0:
            bodies, end = [], start
            while (body := self.body_at(view, end, fits)) is not None:
                bodies.append(body)
                end += HEAD.size + len(body)
            if bodies:
                yield Stretch(start, end, bodies)
            start = content.find(self.mark, end + 1)

    def is_cut_off(self, tail: bytes, fits: Fits | None = None) -> bool:
        """Whether these bytes are a record that was not written to its end, and not a record of which some bytes changed."""
        if not tail or tail[: len(self.mark)] != self.mark[: len(tail)]:
            return False
        if len(tail) < HEAD.size + self.least:
            return True
        length = HEAD.unpack_from(tail)[1]
        body = memoryview(tail)[HEAD.size :]
        return len(body) < length + self.uncounted and (fits is None or fits(body, length))
