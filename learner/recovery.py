"""Reading a journal again: the same streams, the same rows in the same order, and what is broken said and set aside."""

from __future__ import annotations

import dataclasses
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from ..data.transition import length
from .journal import sync_directory
from .ledger import Ledger
from .records import Kind, goes_on, parse, segments
from .streams import Chunk

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Broken:
    """A segment that is whole up to byte `end` only. `torn`: no more than a write that a crash interrupted."""

    path: Path
    end: int
    torn: bool


def replay(directory: Path, ledger: Ledger, reach: int, broken: list[Broken]) -> Iterator[tuple[int, Chunk]]:
    """Does again all that the journal holds; yields what is released with its number, and appends to `broken` what needs repair.

    After damage nothing is believed up to the next segment that begins with a snapshot: it tells how much is missing. Should
    all of it release fewer than `reach` rows, the others are released as lost.
    """
    found, started, sound, expected = segments(directory), False, False, None
    for index, path in found:
        data = memoryview(path.read_bytes())
        records, end = parse(data)
        if expected not in (None, index):
            log.error("%s: the segments before it are missing.", path)
            sound = False
        expected = index + 1
        for record in records:
            if record.kind == Kind.SNAPSHOT:
                yield from _numbered(ledger, ledger.begin(record, first=not started))
                started = sound = True
            elif sound:
                yield from _numbered(ledger, ledger.replay(record))
        if end == len(data):
            continue
        torn = path == found[-1][1] and not goes_on(data, end)
        broken.append(Broken(path, end, torn))
        if torn:
            log.warning("%s: its last %d bytes are an unfinished record and are cut off.", path, len(data) - end)
        else:
            log.error("%s is damaged from byte %d of %d on; a copy is kept as %s.damaged.", path, end, len(data), path.name)
            sound = False
    yield from _numbered(ledger, ledger.reach(reach))


def _numbered(ledger: Ledger, chunks: list[Chunk]) -> Iterator[tuple[int, Chunk]]:
    """The newest released chunks with the number of each one's first row."""
    number = ledger.released - sum(length(chunk.rows) for chunk in chunks)
    for chunk in chunks:
        yield number, chunk
        number += length(chunk.rows)


def repair(directory: Path, broken: list[Broken]) -> None:
    """Cuts segments to what is whole in them, keeps damaged ones beside, and makes sure that all is on disk."""
    for segment in broken:
        if not segment.torn:
            shutil.copyfile(segment.path, segment.path.with_name(f"{segment.path.name}.damaged"))
        with open(segment.path, "r+b") as file:
            file.truncate(segment.end)
    for _, path in segments(directory)[-1:]:
        with open(path, "rb") as file:
            os.fsync(file.fileno())
    sync_directory(directory)


def drop_after(directory: Path, index: int, size: int) -> None:
    """Takes back what was written after a journal ended at byte `size` of segment `index`."""
    for found, path in segments(directory):
        if found > index:
            path.unlink()
        elif found == index:
            os.truncate(path, size)
