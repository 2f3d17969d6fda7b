"""The ranges through which numbers were moved by hand, and limits within them."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Sequence

import numpy as np

Before = tuple[tuple[float, ...], tuple[float, ...]] | None
READINGS = 3  # one after another, whose middle counts: a packet of another's bytes is alone


class MovedRanges:
    """The least and the greatest of N numbers.

    Attributes:
        low, high: `[N]`, of the middles of three readings; NaN before the third.
        now: `[N]`, the newest reading.
    """

    def __init__(self, size: int):
        self.low, self.high, self.now = (np.full(size, np.nan) for _ in range(3))
        self._readings = collections.deque[np.ndarray](maxlen=READINGS)

    def see(self, numbers: np.ndarray) -> None:
        """One reading, `[N]`."""
        self.now = numbers
        self._readings.append(numbers)
        if len(self._readings) == READINGS:
            middle = np.median(np.array(self._readings), axis=0)
            self.low, self.high = np.fmin(self.low, middle), np.fmax(self.high, middle)


@dataclasses.dataclass(frozen=True)
class HandLimits:
    """Limits found by hand, each inside of what was reached by a margin.

    Attributes:
        low, high: per joint.
        kept: joints that were hardly moved, whose limits are the ones before.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    kept: tuple[str, ...] = ()

    @classmethod
    def of(cls, ranges: MovedRanges, joints: Sequence[str], margin: float, least: float, before: Before = None) -> HandLimits:
        """Limits of joints, or of the tool's axes.

        Args:
            margin: by which limits lie inside of what was reached.
            least: of what is left between them; what has less was hardly moved.
            before: low and high of what was hardly moved; None for what was reached, whatever it is.
        """
        low, high = ranges.low + margin, ranges.high - margin
        still = ~(high - low >= least)
        if before is not None:
            low, high = np.where(still, before[0], low), np.where(still, before[1], high)
        kept = tuple(joint for joint, kept in zip(joints, still, strict=True) if kept)
        return cls(tuple(low.tolist()), tuple(high.tolist()), kept)

    def rounded(self, digits: int) -> HandLimits:
        """With as many digits; inwards, so that no limit lies beyond."""
        scale = 10.0**digits
        low, high = np.ceil(np.array(self.low) * scale) / scale, np.floor(np.array(self.high) * scale) / scale
        return dataclasses.replace(self, low=tuple(low.round(digits).tolist()), high=tuple(high.round(digits).tolist()))
