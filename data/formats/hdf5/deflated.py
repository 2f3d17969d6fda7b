"""Whether deflated chunks of an HDF5 array hold no more than they should, before HDF5 inflates them.

HDF5 inflates a chunk into memory that it doubles until all has come out: a chunk of a kilobyte whose bytes go on for gigabytes takes
these. Here what could be too much is inflated bit by bit, counted and thrown away.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from ..recordings.budget import FREE

if TYPE_CHECKING:
    import h5py

MOST = 1040  # times its size that deflated data can inflate to
STEP = 1 << 20


def fits(dataset: h5py.h5d.DatasetID, inflated: int) -> bool:
    """Whether every chunk of an array inflates to no more than `inflated` bytes and a checksum; also of one that is not deflated."""
    import h5py

    created = dataset.get_create_plist()
    filters = [created.get_filter(index)[0] for index in range(created.get_nfilters())]
    if h5py.h5z.FILTER_DEFLATE not in filters:
        return True
    if set(filters[filters.index(h5py.h5z.FILTER_DEFLATE) + 1 :]) - {h5py.h5z.FILTER_FLETCHER32}:  # deflated twice, or then shuffled
        return False
    suspects: list[tuple[int, ...]] = []

    def look(chunk: h5py.h5d.StoreInfo) -> None:
        if chunk.size * MOST > max(FREE, 2 * inflated):
            suspects.append(chunk.chunk_offset)

    dataset.chunk_iter(look)
    return all(_inflates_to(dataset.read_direct_chunk(offset)[1], inflated + STEP) for offset in suspects)


def _inflates_to(content: bytes, most: int) -> bool:
    inflater, total = zlib.decompressobj(), 0
    while content and total <= most:
        try:
            total += len(inflater.decompress(content, STEP))
        except zlib.error:  # not by this filter, or damaged: HDF5 says so
            return True
        content = inflater.unconsumed_tail
    return total <= most
