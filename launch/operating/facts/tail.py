"""A file of JSON lines that another process writes, read as it grows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

READ_BYTES = 4 << 20  # at a time


class Tail:
    """The records of one file, each given once. A line that is no record is left out; one without its end is waited for.

    Attributes:
        path: the file, which need not be there yet.
    """

    def __init__(self, path: Path):
        self.path = path
        self._place, self._rest, self._inode = 0, b"", -1

    def read(self) -> tuple[bool, list[dict[str, Any]]]:
        """Whether the file was replaced by another, so that what was read before is to be forgotten, and the records that are new."""
        try:
            found = self.path.stat()
        except OSError:
            return False, []
        replaced = found.st_ino != self._inode or found.st_size < self._place
        if replaced:
            self._place, self._rest, self._inode = 0, b"", found.st_ino
        return replaced, [] if found.st_size == self._place else list(self._new())

    def _new(self) -> Iterator[dict[str, Any]]:
        try:
            with open(self.path, "rb") as file:
                file.seek(self._place)
                while data := file.read(READ_BYTES):
                    self._place += len(data)
                    *lines, self._rest = (self._rest + data).split(b"\n")
                    yield from (record for record in map(_record, lines) if record is not None)
        except OSError:  # it went away, and is read anew when it is back
            return


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None
