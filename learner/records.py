"""The journal's files: records one after another, each with its length and its crc32, in numbered segments.

    magic, length of the body, crc32 of length and body |
    kind, length of the stream's name, held, count, number, released | name | payload

Everything is little endian. A record of kind

    SNAPSHOT  begins a segment; the payload is the streams' state
    ROWS      `count` rows of a stream from `number`; the payload is their frame as it came
    CUT       the stream's open episode ends here: its actor left, or is gone
    GIVEN_UP  the stream goes on at `number`: no one holds the rows before it any more
    REPORT    the stream's report `number` was taken

Each also says how things stood when it was written: so many rows had been `released` to the pool, and of its stream a row was
`held` back or not. After damage that tells what is missing, and under which numbers the rest goes on.
"""

from __future__ import annotations

import dataclasses
import enum
import struct
import zlib
from pathlib import Path

MAGIC = b"wlj1"
HEAD = struct.Struct("<4sII")
BODY = struct.Struct("<BBHIqq")
SUFFIX = ".segment"


class Kind(enum.IntEnum):
    """What a record says; see the module."""

    SNAPSHOT = 1
    ROWS = 2
    CUT = 3
    GIVEN_UP = 4
    REPORT = 5


@dataclasses.dataclass(frozen=True, slots=True)
class Record:
    """One record; see the module."""

    kind: Kind
    stream: str = ""
    number: int = 0
    count: int = 0
    payload: bytes | memoryview = b""
    released: int = 0
    held: bool = False

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return HEAD.size + BODY.size + len(self.stream) + len(self.payload)

    def parts(self) -> tuple[bytes, bytes | memoryview]:
        """What is written: the head with the stream's name, and the payload."""
        name = self.stream.encode("ascii")
        body = BODY.pack(self.kind, len(name), self.held, self.count, self.number, self.released) + name
        length = len(body) + len(self.payload)
        crc = zlib.crc32(self.payload, zlib.crc32(body, length))
        return HEAD.pack(MAGIC, length, crc) + body, self.payload


def parse(data: memoryview, start: int = 0) -> tuple[list[Record], int]:
    """The whole records of a segment from byte `start`, and where they end: at the end of the data, or at damage."""
    found = []
    while (one := _record(data, start)) is not None:
        record, start = one
        found.append(record)
    return found, start


def stretches(data: memoryview) -> list[tuple[int, int, list[Record]]]:
    """Start, end and records of every part of a segment that is whole; a sound one has one part, or is empty."""
    found, start = [], 0
    while start is not None:
        records, end = parse(data, start)
        if records:
            found.append((start, end, records))
        start = _next_whole(data, end) if end < len(data) else None
    return found


def segments(directory: Path) -> list[tuple[int, Path]]:
    """Number and file of a journal's segments, in order."""
    found = ((path.stem, path) for path in directory.glob(f"*{SUFFIX}"))
    return sorted((int(stem), path) for stem, path in found if stem.isdigit())


def segment_path(directory: Path, index: int) -> Path:
    """The file of a segment."""
    return directory / f"{index:08d}{SUFFIX}"


def released_before(path: Path) -> int | None:
    """The number of released rows at which a segment begins; None where it does not begin with a whole snapshot."""
    with open(path, "rb") as file:
        head = file.read(HEAD.size)
        length = HEAD.unpack(head)[1] if len(head) == HEAD.size else 0
        data = head + file.read(min(length, path.stat().st_size))
    first = _record(memoryview(data), 0)
    return first[0].released if first is not None and first[0].kind == Kind.SNAPSHOT else None


def _next_whole(data: memoryview, start: int) -> int | None:
    """Where the next whole record after byte `start` begins."""
    content = bytes(data)
    at = content.find(MAGIC, start + 1)
    while at >= 0 and _record(data, at) is None:
        at = content.find(MAGIC, at + 1)
    return at if at >= 0 else None


def _record(data: memoryview, start: int) -> tuple[Record, int] | None:
    """The record at byte `start` and where it ends; None where there is no whole one."""
    if len(data) - start < HEAD.size + BODY.size:
        return None
    magic, length, crc = HEAD.unpack_from(data, start)
    end = start + HEAD.size + length
    if magic != MAGIC or length < BODY.size or end > len(data):
        return None
    body = data[start + HEAD.size : end]
    if zlib.crc32(body, length) != crc:
        return None
    kind, name_length, held, count, number, released = BODY.unpack_from(body)
    name, payload = body[BODY.size : BODY.size + name_length], body[BODY.size + name_length :]
    return Record(Kind(kind), str(name, "ascii"), number, count, payload, released, bool(held)), end
