"""Reading a journal again: the same streams, the same rows in the same order, and what is broken said and set aside."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import jax
import numpy as np

from ...data.errors import WarmloopError
from ...data.files.disk import sync_directory
from ...data.plausible import PlausibleLimits, implausible
from ...data.transition import length
from ...data.wire import row_bytes, shared_pictures
from ...data.wire.row_schema import Schema
from .ledger import Ledger
from .records import JournalRecord, Kind, segments, stretches
from .streams import LOST, Chunk

MERGED_ROWS = 1024

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Broken:
    """A segment of which only `whole` (start and end, in bytes) can be read. `torn`: a crash interrupted its last write, no more."""

    path: Path
    whole: list[tuple[int, int]]
    torn: bool


def replay(directory: Path, ledger: Ledger, reach: int, broken: list[Broken]) -> Iterator[tuple[int, Chunk]]:
    """Does again all that the journal holds; yields what is released with its number, and appends to `broken` what needs repair.

    Rows that are missing between two records are released as lost, and also those that are missing at the end of all, up to
    `reach` rows.
    """
    found, first = segments(directory), True
    for _, path in found:
        data = path.read_bytes()
        parts = stretches(data)
        for _, _, records in parts:
            for record in merged(records, ledger.schema):
                yield from _numbered(ledger, ledger.replay(record, first))
                first = False
        whole = [(start, end) for start, end, _ in parts]
        readable = sum(end - start for start, end in whole)
        if readable == len(data):
            continue
        torn = path == found[-1][1] and whole in ([], [(0, readable)])
        broken.append(Broken(path, whole, torn))
        if torn:
            log.warning("%s: its last %d bytes are an unfinished record and are cut off.", path, len(data) - readable)
        else:
            log.error("%s is damaged: %d of its %d bytes; %s.damaged keeps it.", path, len(data) - readable, len(data), path.name)
    yield from _numbered(ledger, ledger.reach(reach))


def believed(chunk: Chunk, limits: PlausibleLimits | None, schema: Schema) -> tuple[Chunk, int]:
    """A chunk with zeros, of quality zero, in place of rows whose pictures are lost (these have quality zero already), and of those that
    `limits` refuse and an earlier learner's did not; and how many the latter are. They keep their numbers and are never learnt from."""
    lost = chunk.rows.quality == 0
    bad = np.zeros(length(chunk.rows), bool)
    for fault, reason in implausible(chunk.rows, limits) if limits is not None and chunk.stream != LOST else ():
        if (fault := fault & ~lost).any():
            bad |= fault
            log.error("%d rows of stream %s in the journal are not learnt from any more: %s", fault.sum(), chunk.stream, reason)
    refused = int(bad.sum())
    if chunk.stream == LOST or not (bad := bad | lost).any():
        return chunk, 0
    zeros = row_bytes.decode(schema, bytes(len(bad) * schema.row_bytes), len(bad))
    rows = jax.tree.map(lambda zero, kept: np.where(bad.reshape(-1, *[1] * (kept.ndim - 1)), zero, kept), zeros, chunk.rows)
    return Chunk(chunk.stream, chunk.first, rows), refused


def merged(records: Sequence[JournalRecord], schema: Schema) -> Iterator[JournalRecord]:
    """The records, rows that continue those before them joined to one record: reading one takes as long as reading hundreds of rows."""
    run: list[JournalRecord] = []
    rows = 0
    for record in records:
        if run and (rows >= MERGED_ROWS or not _continues(run[0], rows, record)):
            yield _joined(run, rows, schema)
            run, rows = [], 0
        run.append(record)
        rows += record.count
    if run:
        yield _joined(run, rows, schema)


def _continues(first: JournalRecord, rows: int, record: JournalRecord) -> bool:
    """Whether a record goes on where its stream was after `rows` rows from `first` on, none of them lost, refused or another stream's."""
    released = first.released + rows + first.held - record.held
    return (
        record.kind == first.kind == Kind.ROWS
        and record.shared == first.shared
        and not (first.refused or record.refused)
        and record.stream == first.stream
        and record.number == first.number + rows
        and record.released == released
    )


def _joined(run: list[JournalRecord], rows: int, schema: Schema) -> JournalRecord:
    if len(run) == 1:
        return run[0]
    merge = shared_pictures.merge if run[0].shared else row_bytes.merge
    return dataclasses.replace(run[0], count=rows, payload=merge(schema, [(record.payload, record.count) for record in run]))


def _numbered(ledger: Ledger, chunks: list[Chunk]) -> Iterator[tuple[int, Chunk]]:
    """The newest released chunks with the number of each one's first row."""
    number = ledger.released - sum(length(chunk.rows) for chunk in chunks)
    for chunk in chunks:
        yield number, chunk
        number += length(chunk.rows)


def repair(directory: Path, broken: list[Broken]) -> None:
    """Leaves in each segment what is whole, keeps damaged ones beside, and makes sure that all is on disk.

    Raises:
        WarmloopError: the disk does not take it.
    """
    try:
        for segment in broken:
            _leave_what_is_whole(segment)
        for _, path in segments(directory)[-1:]:
            with open(path, "rb") as file:
                os.fsync(file.fileno())
        sync_directory(directory)
    except OSError as error:
        raise WarmloopError(f"The journal in {directory} cannot be mended ({error.strerror}); free space there.") from error


def _leave_what_is_whole(segment: Broken) -> None:
    content, partial = segment.path.read_bytes(), segment.path.with_suffix(".partial")
    if not segment.torn:
        segment.path.with_name(f"{segment.path.name}.damaged").write_bytes(content)
    with open(partial, "wb") as file:
        file.write(b"".join(content[start:end] for start, end in segment.whole))
        file.flush()
        os.fsync(file.fileno())
    partial.replace(segment.path)
