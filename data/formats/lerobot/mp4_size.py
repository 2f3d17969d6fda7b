"""How large the frames of an MP4 video are, as its container says it: nothing is decoded for it."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

CONTAINERS = (b"moov", b"trak", b"mdia", b"minf", b"stbl")  # each in the one before; in the last are descriptions of what a track holds
DESCRIPTIONS = b"stsd"
BEFORE = 8  # bytes of `stsd` before its first description
SIZE = slice(32, 36)  # width and height in the description of a video, which begins with its own length and name
MOST = 10_000  # boxes that are looked at


def frame_pixels(path: Path) -> int:
    """Pixels of a frame, of the largest where there are several tracks; 0 where the container does not say it, or is damaged."""
    with open(path, "rb") as file:
        end = file.seek(0, io.SEEK_END)
        return max((width * height for _, (width, height) in zip(range(MOST), _sizes(file, 0, end), strict=False)), default=0)


def _sizes(file: BinaryIO, start: int, end: int, level: int = 0) -> Iterator[tuple[int, int]]:
    """Width and height in all descriptions between two places; (0, 0) for each box that is passed."""
    while start + 8 <= end:
        name, inner, after = _box(file, start, end)
        if level < len(CONTAINERS) and name == CONTAINERS[level]:
            yield from _sizes(file, inner, after, level + 1)
        elif level == len(CONTAINERS) and name == DESCRIPTIONS:
            yield from _described(file, inner + BEFORE, after)
        yield 0, 0
        start = after


def _described(file: BinaryIO, start: int, end: int) -> Iterator[tuple[int, int]]:
    while start + SIZE.stop <= end:
        file.seek(start)
        content = file.read(SIZE.stop)
        yield struct.unpack(">HH", content[SIZE])
        start += max(int.from_bytes(content[:4], "big"), 8)


def _box(file: BinaryIO, start: int, end: int) -> tuple[bytes, int, int]:
    """A box's name, and where its content begins and ends."""
    file.seek(start)
    head = file.read(16)
    size, name, inner = int.from_bytes(head[:4], "big"), head[4:8], 8
    if size == 1:  # it follows, for large boxes
        size, inner = int.from_bytes(head[8:], "big"), 16
    after = end if size == 0 else min(start + max(size, inner), end)
    return name, min(start + inner, after), after
