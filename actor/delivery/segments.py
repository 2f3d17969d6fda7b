"""Files of a spool: a header, then records of rows, each with a checksum, appended and never changed.

    header   magic, stream id, sha256 of the schema, serial number, number of the first row to come, crc32
    record   number of the first row, count, and the rows' frame (`data/wire/row_bytes.py`), framed as in `data/files/framed_records.py`

All numbers are little endian.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

from ...data.files.framed_records import HEAD, Fits, Framing

MAGIC = b"WLSPOOL1"
HEADER = struct.Struct("<8s32s32sQQ")
CRC = struct.Struct("<I")
HEADER_BYTES = HEADER.size + CRC.size
ROWS = struct.Struct("<QI")  # first, count
FRAMING = Framing(b"\x89ROW", least=ROWS.size, uncounted=ROWS.size)  # the length is the frame's alone
RECORD_BYTES = HEAD.size + ROWS.size  # beside the frame


@dataclasses.dataclass(frozen=True)
class Header:
    """What a segment says of itself; `serial` grows by one with every segment of the stream."""

    stream_id: str
    schema_hash: bytes
    serial: int
    first: int

    def encode(self) -> bytes:
        packed = HEADER.pack(MAGIC, self.stream_id.encode(), self.schema_hash, self.serial, self.first)
        return packed + CRC.pack(zlib.crc32(packed))


@dataclasses.dataclass(frozen=True)
class SpoolRecord:
    """Rows `first` … `first + count - 1` as a frame."""

    first: int
    count: int
    frame: memoryview


@dataclasses.dataclass(frozen=True)
class Contents:
    """What a segment's file holds.

    Attributes:
        header: None where it is damaged.
        records: those that are whole.
        damaged: bytes between whole records that are not.
        end: where the last whole record (or the header) ends; what follows is torn or damaged too.
        size: of the file.
        torn: what follows is the beginning of a record, or of the header, that was not written to its end.
    """

    header: Header | None
    records: list[SpoolRecord]
    damaged: int
    end: int
    size: int
    torn: bool


def read(path: Path, row_bytes: int) -> Contents:
    """Reads a segment and checks every byte of it. Raises OSError."""
    data, fits = path.read_bytes(), _holds_rows_of(row_bytes)
    header, records, damaged = _header(data), list[SpoolRecord](), 0
    end = min(HEADER_BYTES, len(data))
    for stretch in FRAMING.stretches(data, end, fits):
        damaged += stretch.start - end
        records += map(_record, stretch.bodies)
        end = stretch.end
    end = end if header or records else 0
    torn = FRAMING.is_cut_off(data[end:], fits) if end else len(data) < HEADER_BYTES
    return Contents(header, records, damaged, end, len(data), torn)


def _holds_rows_of(row_bytes: int) -> Fits:
    """Whether a record's length is that of its rows, by their number."""

    def fits(body: memoryview, length: int) -> bool:
        _, count = ROWS.unpack_from(body)
        return count >= 1 and length == count * row_bytes

    return fits


def _record(body: memoryview) -> SpoolRecord:
    first, count = ROWS.unpack_from(body)
    return SpoolRecord(first, count, body[ROWS.size :])


def _header(data: bytes) -> Header | None:
    packed = data[: HEADER.size]
    if len(data) < HEADER_BYTES or CRC.unpack_from(data, HEADER.size)[0] != zlib.crc32(packed):
        return None
    magic, stream_id, schema_hash, serial, first = HEADER.unpack(packed)
    return Header(stream_id.decode(), schema_hash, serial, first) if magic == MAGIC else None


class Segment:
    """A segment that is being written: rows from `header.first` to `end - 1`. Every method raises OSError.

    Attributes:
        size: bytes written.
        doubtful: flushing failed, so what of it is on the disk is unknown.
    """

    def __init__(self, path: Path, header: Header):
        self.path, self.first, self.end = path, header.first, header.first
        self.size, self.doubtful, self._synced = 0, False, True
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            self._write([header.encode()])
        except OSError:
            self.abandon()
            raise

    def append(self, first: int, count: int, frame: bytes) -> None:
        """Appends one record; after an error, only `abandon` may follow."""
        self._write(FRAMING.framed(ROWS.pack(first, count), frame))
        self.end, self._synced = first + count, False

    def sync(self) -> None:
        """Makes what was written outlive a loss of power."""
        if not self._synced:
            self.doubtful = True
            os.fsync(self._file)
            self.doubtful, self._synced = False, True

    def close(self) -> None:
        os.close(self._file)

    def abandon(self) -> None:
        """Cuts off what could not be written whole, and closes; removes a file that holds no rows."""
        with contextlib.suppress(OSError):
            os.ftruncate(self._file, self.size)
        with contextlib.suppress(OSError):
            os.close(self._file)
        if self.end == self.first:
            with contextlib.suppress(OSError):
                self.path.unlink()

    def _write(self, pieces: Sequence[bytes | memoryview]) -> None:
        left, total = list(pieces), sum(map(len, pieces))
        while left:
            written = os.writev(self._file, left)
            while left and written >= len(left[0]):
                written -= len(left.pop(0))
            if written:
                left[0] = memoryview(left[0])[written:]
        self.size += total
