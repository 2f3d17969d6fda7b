"""Numbers of a file that float32 does not keep, such as a time since 1970: told once for each column, so that no cast is silent."""

from __future__ import annotations

import functools
import logging

import numpy as np

EXACT = 2.0**24  # float32 holds every whole number up to it

log = logging.getLogger("warmloop")


def tell_of_rounding(origin: str, name: str, column: np.ndarray) -> None:
    """Says where an observation's numbers `[N, ...]` lose digits as float32. What is infinite in it is refused by who checks the rows."""
    if name.split("/")[0] != "observations" or column.dtype.itemsize < 4 or column.dtype.kind not in "iuf" or column.dtype == np.float32:
        return
    most = float(np.abs(column).max(initial=0))
    if not EXACT < most <= float(np.finfo(np.float32).max):
        return
    with np.errstate(invalid="ignore"):  # of the greatest int64, which float32 rounds up
        rounded = (column.astype(np.float32).astype(column.dtype) != column).any()
    if rounded:
        _tell(origin, name)


@functools.cache
def _tell(origin: str, name: str) -> None:
    log.warning(
        "%s: `%s` passes %d, and float32 keeps some seven digits of it: subtract an offset, or leave it out by a data.observation that "
        "names the others.",
        *(origin, name, int(EXACT)),
    )
