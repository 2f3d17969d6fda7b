"""Whether HDF5 may be let loose on a file's texts and other values of variable length.

They lie in global heaps, collections of objects that HDF5 walks from one to the next by their sizes. Where a damaged size leads nowhere, it
walks on the spot for ever, so the heaps are walked here first. HDF5's File Format Specification, III.E.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...errors import WarmloopError

if TYPE_CHECKING:
    import h5py

SIGNATURE = b"GCOL\x01"
HEADER = 16  # of a heap, and of each object in it, where lengths have 8 bytes


def check(place: str, file: h5py.File) -> None:
    """Raises WarmloopError where HDF5 would not come back from reading a value of variable length in `file`."""
    if file.id.get_create_plist().get_sizes() != (8, 8):
        raise WarmloopError(f"{place}: its addresses do not have HDF5's usual 8 bytes; the file is damaged: copy it again.")
    with open(file.filename, "rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for heap in _heaps(content):
            if _endless(content, heap):
                raise WarmloopError(f"{place}: its values of variable length are damaged (at byte {heap}); copy the file again.")


def _heaps(content: mmap.mmap) -> Iterator[int]:
    """Where heaps begin, and what looks like one."""
    found = content.find(SIGNATURE)
    while found >= 0:
        yield found
        found = content.find(SIGNATURE, found + 1)


def _endless(content: mmap.mmap, heap: int) -> bool:
    """Whether a walk over a heap's objects comes to one that takes no room. One that leaves the heap is HDF5's to refuse."""
    (size,) = struct.unpack_from("<Q", content[heap + 8 : heap + HEADER].ljust(8, b"\0"))
    place, end = heap + HEADER, heap + size
    if end > len(content):
        return False
    while place + HEADER <= end:
        index, _, length = struct.unpack_from("<HH4xQ", content, place)
        room = (HEADER + (length + 7 & ~7)) % 2**64 if index else length
        if room == 0:
            return True
        place += room
    return False
