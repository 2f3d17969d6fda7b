"""The journal's files: records one after another in numbered segments, framed as in `data/files/framed_records.py`. A body is

    kind, length of the stream's name, flags, count, number, released | name | refused | payload

in little endian. A record of kind

    SNAPSHOT  begins a segment; the payload is the streams' state
    ROWS      `count` rows of a stream from `number`; the payload is their bytes, as in `data/wire/row_bytes.py`
    SHARED    the same, as in `data/wire/shared_pictures.py`; they may refer to the row before them, which is in the same segment, or in the
              one before where this does not begin with a snapshot: in the record before of that stream, or held back in the snapshot
    CUT       the stream's open episode ends here: its actor left, or is gone
    GIVEN_UP  the stream goes on at `number`: no one holds the rows before it any more
    REPORT    the stream's report `number` was taken
    OWNER     the payload is the id of the actor that the stream belongs to

Each also says how things stood when it was written: so many rows had been `released` to the pool, and of its stream a row was
`held` back or not. After damage that tells what is missing, and under which numbers the rest goes on. `refused` has a bit for every row
of a ROWS record that was not learnt from, where there were any: so the rule that refused them may change between two learners.
"""

from __future__ import annotations

import dataclasses
import enum
import struct
from pathlib import Path

from ...data.errors import WarmloopError
from ...data.files.framed_records import HEAD, Framing

BODY = struct.Struct("<BBHIqq")
FRAMING = Framing(b"wlj1", least=BODY.size, hashed_length=False)
SUFFIX = ".segment"
HELD, HAS_REFUSED = 1, 2  # flags
BEYOND = {"number": 1 << 63, "released": 1 << 63, "count": 1 << 32}  # what the fields of `BODY` cannot hold
LONGEST_NAME = 255


class Kind(enum.IntEnum):
    """What a record says; see the module."""

    SNAPSHOT = 1
    ROWS = 2
    CUT = 3
    GIVEN_UP = 4
    REPORT = 5
    OWNER = 6
    SHARED = 7


@dataclasses.dataclass(frozen=True, slots=True)
class JournalRecord:
    """One record; see the module. Raises ValueError when made of what no record can hold, so that no writer meets one.

    Attributes:
        refused: `numpy.packbits` of the rows that are not learnt from; empty where all are.
        shared: a record of kind ROWS is SHARED on disk.
    """

    kind: Kind
    stream: str = ""
    number: int = 0
    count: int = 0
    payload: bytes | memoryview = b""
    released: int = 0
    held: bool = False
    refused: bytes = b""
    shared: bool = False

    def __post_init__(self) -> None:
        for name, end in BEYOND.items():
            if not 0 <= getattr(self, name) < end:
                raise ValueError(f"a journal's record cannot hold the {name} {getattr(self, name)}")
        if len(self.stream) > LONGEST_NAME or not self.stream.isascii():
            raise ValueError(f"a journal's record cannot hold the stream name {self.stream[:80]!r}")
        if self.refused and len(self.refused) != _mask_bytes(self.count):
            raise ValueError(f"{self.count} rows and {len(self.refused)} bytes that say which are refused")

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return HEAD.size + BODY.size + len(self.stream) + len(self.refused) + len(self.payload)

    def parts(self) -> tuple[bytes, bytes | memoryview]:
        """What is written: the head with the stream's name, and the payload."""
        name, flags = self.stream.encode(), (HELD if self.held else 0) | (HAS_REFUSED if self.refused else 0)
        kind = Kind.SHARED if self.shared else self.kind
        body = BODY.pack(kind, len(name), flags, self.count, self.number, self.released)
        return FRAMING.framed(body + name + self.refused, self.payload)


def stretches(data: bytes | memoryview) -> list[tuple[int, int, list[JournalRecord]]]:
    """Start, end and records of every part of a segment that is whole; a sound one has one part, or is empty."""
    return [(start, end, [_record(body) for body in bodies]) for start, end, bodies in FRAMING.stretches(data)]


def segments(directory: Path) -> list[tuple[int, Path]]:
    """Number and file of a journal's segments, in order."""
    found = ((path.stem, path) for path in directory.glob(f"*{SUFFIX}"))
    return sorted((int(stem), path) for stem, path in found if stem.isdigit())


def segment_path(directory: Path, index: int) -> Path:
    """The file of a segment."""
    return directory / f"{index:08d}{SUFFIX}"


def released_before(path: Path) -> int | None:
    """The number of released rows at which a segment begins; None where it does not begin with a whole snapshot."""
    body = FRAMING.first_body(path)
    first = None if body is None else _record(body)
    return first.released if first is not None and first.kind == Kind.SNAPSHOT else None


def _record(body: memoryview) -> JournalRecord:
    """The record of a body. Raises WarmloopError where a newer version wrote it."""
    kind, name_length, flags, count, number, released = BODY.unpack_from(body)
    if kind not in Kind.__members__.values():
        raise WarmloopError(f"The journal has a record of kind {kind}, which this version of warmloop does not know; use a newer one.")
    named = BODY.size + name_length
    masked = named + (_mask_bytes(count) if flags & HAS_REFUSED else 0)
    name, refused, payload = str(body[BODY.size : named], "ascii"), bytes(body[named:masked]), body[masked:]
    shared = kind == Kind.SHARED
    return JournalRecord(Kind.ROWS if shared else Kind(kind), name, number, count, payload, released, bool(flags & HELD), refused, shared)


def _mask_bytes(count: int) -> int:
    return (count + 7) // 8
