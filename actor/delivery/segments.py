"""Files of a spool: a header, then records of rows, each with a checksum, appended and never changed.

    header   magic, stream id, sha256 of the schema, serial number, number of the first row to come, crc32
    record   number of the first row, count, and the rows' frame, framed as in `data/files/framed_records.py`

All numbers are little endian. A frame is that of `data/wire/row_bytes.py`; where the schema has cameras it is that of
`data/wire/shared_pictures.py` and may refer to the row before it in the same file. A file has frames of one kind, which its magic names,
and so does the mark of each record.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from ...data.files.framed_records import HEAD, Fits, Framing
from ...data.transition import Transition
from ...data.wire import row_bytes, shared_pictures
from ...data.wire.row_schema import Schema

MAGIC, MAGIC_SHARED = b"WLSPOOL1", b"WLSPOOL2"
HEADER = struct.Struct("<8s32s32sQQ")
CRC = struct.Struct("<I")
HEADER_BYTES = HEADER.size + CRC.size
ROWS = struct.Struct("<QI")  # first, count
FRAMING = Framing(b"\x89ROW", least=ROWS.size, uncounted=ROWS.size)  # the length is the frame's alone
SHARED = Framing(b"\x89SHR", least=ROWS.size, uncounted=ROWS.size)
RECORD_BYTES = HEAD.size + ROWS.size  # beside the frame


@dataclasses.dataclass(frozen=True)
class Header:
    """What a segment says of itself; `serial` grows by one with every segment of the stream, `shared` names the kind of frames."""

    stream_id: str
    schema_hash: bytes
    serial: int
    first: int
    shared: bool = False

    def encode(self) -> bytes:
        packed = HEADER.pack(MAGIC_SHARED if self.shared else MAGIC, self.stream_id.encode(), self.schema_hash, self.serial, self.first)
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
        shared: its frames are those of `shared_pictures`.
    """

    header: Header | None
    records: list[SpoolRecord]
    damaged: int
    end: int
    size: int
    torn: bool
    shared: bool


def read(path: Path, schema: Schema) -> Contents:
    """Reads a segment and checks every byte of it. Raises OSError."""
    data = path.read_bytes()
    header, records, damaged, end = _header(data), list[SpoolRecord](), 0, min(HEADER_BYTES, len(data))
    kinds = (False, True) if header is None else (header.shared,)
    found = {shared: list(_framing(shared).stretches(data, end, _holds_rows_of(schema, shared))) for shared in kinds}
    shared = max(kinds, key=lambda kind: sum(len(stretch.bodies) for stretch in found[kind]))
    for stretch in found[shared]:
        damaged += stretch.start - end
        records += map(_record, stretch.bodies)
        end = stretch.end
    end = end if header or records else 0
    torn = _framing(shared).is_cut_off(data[end:], _holds_rows_of(schema, shared)) if end else len(data) < HEADER_BYTES
    return Contents(header, records, damaged, end, len(data), torn, shared)


def pieces(contents: Contents, schema: Schema) -> Iterator[tuple[int, Transition, int]]:
    """The first row's number of each record, its rows `[n]`, and how many of the first of them refer to pictures in a damaged record."""
    end, pictures = -1, None
    for record in contents.records:
        if not contents.shared:
            yield record.first, row_bytes.decode(schema, bytes(record.frame), record.count), 0
            continue
        before = pictures if record.first == end else None
        found = shared_pictures.decode(schema, bytes(record.frame), record.count, before)
        end, pictures = record.first + record.count, shared_pictures.last(schema, found.rows)
        yield record.first, found.rows, found.missing


def _framing(shared: bool) -> Framing:
    return SHARED if shared else FRAMING


def _holds_rows_of(schema: Schema, shared: bool) -> Fits:
    """Whether a record's length is that of its rows, by their number."""

    def fits(body: memoryview, length: int) -> bool:
        _, count = ROWS.unpack_from(body)
        return shared_pictures.fits(schema, length, count) if shared else count >= 1 and length == count * schema.row_bytes

    return fits


def _record(body: memoryview) -> SpoolRecord:
    first, count = ROWS.unpack_from(body)
    return SpoolRecord(first, count, body[ROWS.size :])


def _header(data: bytes) -> Header | None:
    packed = data[: HEADER.size]
    if len(data) < HEADER_BYTES or CRC.unpack_from(data, HEADER.size)[0] != zlib.crc32(packed):
        return None
    magic, stream_id, schema_hash, serial, first = HEADER.unpack(packed)
    return Header(stream_id.decode(), schema_hash, serial, first, magic == MAGIC_SHARED) if magic in (MAGIC, MAGIC_SHARED) else None


class Segment:
    """A segment that is being written: rows from `header.first` to `end - 1`. Every method raises OSError.

    Attributes:
        size: bytes written.
        doubtful: flushing failed, so what of it is on the disk is unknown.
    """

    def __init__(self, path: Path, header: Header):
        self.path, self.first, self.end = path, header.first, header.first
        self._framing = _framing(header.shared)
        self.size, self.doubtful, self._synced = 0, False, True
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            self._write([header.encode()])
        except OSError:
            self.abandon()
            raise

    def append(self, first: int, count: int, frame: bytes) -> None:
        """Appends one record; after an error, only `abandon` may follow."""
        self._write(self._framing.framed(ROWS.pack(first, count), frame))
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
