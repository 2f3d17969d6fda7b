"""How much memory the rows of a Parquet file take, by the headers of its pages; and these rows, as many at once as fit.

The footer tells it too, and is not believed: Arrow makes room for what a page's header claims, and reads the whole of a page of which the
footer may have told a part. What both mean: https://parquet.apache.org/docs/file-format/metadata
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ..recordings.budget import allowed, require
from . import thrift

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

NUMBER = 8  # bytes of a value, at most
TEXT, FIXED = "BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY"
SHARE = 4  # of the budget that the texts of one batch may take, as one in so many
SOME, MOST = 1 << 12, 1 << 24  # bytes of a header
# Fields of a footer, of a group of rows and of a column, and of a page's header.
GROUPS, COLUMNS, DESCRIBED = (4, thrift.LIST), (1, thrift.LIST), (3, thrift.STRUCTURE)
ALL_VALUES, ALL_PACKED, DATA_PLACE, DICTIONARY_PLACE = (5, thrift.LONG), (7, thrift.LONG), (9, thrift.LONG), (11, thrift.LONG)
KIND, UNPACKED, PACKED, VALUES = (1, thrift.INTEGER), (2, thrift.INTEGER), (3, thrift.INTEGER), (1, thrift.INTEGER)
FOOTER = {GROUPS: {COLUMNS: {DESCRIBED: dict.fromkeys((ALL_VALUES, ALL_PACKED, DATA_PLACE, DICTIONARY_PLACE))}}}
SAYS = {0: (5, thrift.STRUCTURE), 2: (7, thrift.STRUCTURE), 3: (8, thrift.STRUCTURE)}  # by the kind of a page, the field of what it says
HEADER = {KIND: None, UNPACKED: None, PACKED: None} | {field: {VALUES: None} for field in SAYS.values()}
DICTIONARY, ENTRY = 2, 16  # a kind of page, and the bytes of one of its values at least
TAIL = 8  # bytes of a file behind its footer: the footer's length, and "PAR1"


@dataclasses.dataclass(frozen=True)
class Chunk:
    """One column of one group of rows, as its pages say.

    Attributes:
        values: in it, those that are null among them.
        unpacked: bytes of all its pages, unpacked.
        largest: bytes of the largest page, unpacked. A text is no longer than it.
        width: bytes of a value; 0 of texts, which differ in it.
        repeated: whether a row may have many values.
    """

    values: int
    unpacked: int
    largest: int
    width: int
    repeated: bool

    def held(self, rows: int) -> int:
        """Bytes that so many rows may take, and the page that they come from."""
        values = self.values if self.repeated else min(rows, self.values)
        return values * (self.width or self.largest) + self.largest


def parquet_bytes(path: str) -> int:
    """Bytes of all columns of a Parquet file, unpacked. Raises ArrowException, OSError, ValueError: it is damaged."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        found = [chunk for group in _groups(path, file) for chunk in group]
        return max(sum(chunk.values * (chunk.width or NUMBER) for chunk in found), sum(chunk.unpacked for chunk in found))


def row_bytes(kind: pa.DataType) -> int:
    """Bytes of one row whose size its type says, as of lists of a fixed size, which take it also where a row is null."""
    import pyarrow as pa

    if pa.types.is_fixed_size_list(kind):
        return kind.list_size * row_bytes(kind.value_type)
    if pa.types.is_struct(kind):
        return sum(row_bytes(kind.field(index).type) for index in range(kind.num_fields))
    try:
        return -(-kind.bit_width // 8)
    except ValueError:  # its rows differ in size
        return 0


def batches(path: str | Path, file: pq.ParquetFile, rows: int, columns: Collection[str] | None = None) -> Iterator[pa.RecordBatch]:
    """The rows of a Parquet file, at most so many at once, and fewer where their texts may be long.

    Args:
        file: `path`, opened.
        columns: that are read; None for all.

    Raises:
        WarmloopError: what is read at once may take more memory than it may; nothing is unpacked then.
        ArrowException, OSError, ValueError: the file is damaged.
    """
    size = Path(path).stat().st_size
    row = sum(row_bytes(field.type) for field in file.schema_arrow if columns is None or field.name in columns)
    for index, found in enumerate(_groups(path, file, columns)):
        texts = sum(chunk.largest for chunk in found if not (chunk.width or chunk.repeated))
        at_once = max(1, min(rows, allowed(size) // SHARE // max(texts, 1)))
        require(str(path), "what is read at once", max(sum(chunk.held(at_once) for chunk in found), at_once * row), size)
        yield from file.iter_batches(at_once, row_groups=[index], columns=columns and list(columns), use_threads=False)


def _groups(path: str | Path, file: pq.ParquetFile, columns: Collection[str] | None = None) -> Iterator[list[Chunk]]:
    """The columns of each group of rows; of a damaged footer, pyarrow's own account ends the process. A name of a column may have dots in
    it, which also divide what is within a column."""
    kinds = [file.schema.column(index) for index in range(len(file.schema))]
    read = [columns is None or any(f"{kind.path}.".startswith(f"{name}.") for name in columns) for kind in kinds]
    with open(path, "rb") as stream:
        groups = _footer(stream).get(GROUPS, [])
        if len(groups) != file.metadata.num_row_groups:
            raise ValueError("its footer is damaged")
        for group in groups:
            described = [column.get(DESCRIBED, {}) for column in group.get(COLUMNS, [])]
            yield [_chunk(stream, *one) for one, is_read in zip(zip(described, kinds, strict=True), read, strict=True) if is_read]


def _chunk(stream: BinaryIO, column: thrift.Fields, kind: pq.ColumnSchema) -> Chunk:
    width = {TEXT: 0, FIXED: max(kind.length, NUMBER)}.get(kind.physical_type, NUMBER)
    pages = list(_pages(stream, column))
    sizes = [unpacked for unpacked, _ in pages]
    values = max(column.get(ALL_VALUES, 0), sum(values for _, values in pages))
    return Chunk(values, sum(sizes), max(sizes, default=0), width, kind.max_repetition_level > 0)


def _pages(stream: BinaryIO, column: thrift.Fields) -> Iterator[tuple[int, int]]:
    """Each page's bytes when unpacked, and how many of the column's values it has, as Arrow comes to them: until there are as many as the
    footer promises."""
    start, wanted, seen = column.get(DATA_PLACE, 0), column.get(ALL_VALUES, 0), 0
    if 0 < column.get(DICTIONARY_PLACE, 0) < start:
        start = column[DICTIONARY_PLACE]
    end = start + column.get(ALL_PACKED, 0)
    while seen < wanted and start < end:
        header, length = _header(stream, start)
        kind, unpacked, packed = (header.get(field, 0) for field in (KIND, UNPACKED, PACKED))
        values = header.get(SAYS[kind], {}).get(VALUES, 0) if kind in SAYS else 0
        if min(unpacked, packed, values) < 0:
            raise ValueError("a page claims less than nothing")
        seen += values * (kind != DICTIONARY)
        yield (unpacked, values) if kind != DICTIONARY else (max(unpacked, values * ENTRY), 0)
        start += length + packed


def _footer(stream: BinaryIO) -> thrift.Fields:
    end = stream.seek(0, io.SEEK_END) - TAIL
    stream.seek(max(end, 0))
    size = int.from_bytes(stream.read(4), "little")
    if size > end:
        raise ValueError("its footer is damaged")
    stream.seek(end - size)
    try:
        return thrift.structure(stream.read(size), FOOTER)[0]
    except IndexError:
        raise ValueError("its footer is damaged") from None


def _header(stream: BinaryIO, start: int) -> tuple[thrift.Fields, int]:
    """A page's header, and its bytes."""
    some = SOME
    while some <= MOST and start >= 0:
        stream.seek(start)
        data = stream.read(some)
        try:
            return thrift.structure(data, HEADER)
        except IndexError:
            if len(data) < some:
                break
            some *= 16
    raise ValueError("a page's header is cut off")
