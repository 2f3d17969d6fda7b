"""An observation as named numbers, and their statistics gathered one episode at a time."""

from __future__ import annotations

import numpy as np

from ..transition import PyTree
from .camera_facts import is_picture
from .findings import Column

BINS = 20
BRIGHTNESS = " (brightness)"  # what a camera's column is called
HALF_PRECISION_VALUES = 200  # so many values, none of them whole, that all fit half precision are no accident


def leaves(observation: PyTree) -> dict[str, np.ndarray]:
    """The arrays of an observation by name, a bare one named `observation`."""
    return dict(sorted(observation.items())) if isinstance(observation, dict) else {"observation": observation}


def as_numbers(observation: PyTree) -> tuple[list[str], np.ndarray]:
    """Names, and values `[T, D]` float32; of an image only its mean brightness."""
    names, parts = [], []
    for name, leaf in leaves(observation).items():
        leaf = np.asarray(leaf)
        if is_picture(leaf):
            parts.append(np.array([[frame.mean()] for frame in leaf], np.float32))
            names.append(f"{name}{BRIGHTNESS}")
            continue
        flat = leaf.reshape(len(leaf), -1).astype(np.float32, copy=False)
        parts.append(flat)
        names += [f"{name}[{index}]" for index in range(flat.shape[1])]
    return names, np.concatenate(parts, axis=1)


class ColumnStatistics:
    """Count, mean, variance, extremes and repeats of `[T, D]` values, added up over episodes (Chan et al. 1979)."""

    def __init__(self, names: list[str], kind: str):
        self.names, self.kind = names, kind
        width = len(names)
        self.count, self.pairs = np.zeros(width), 0
        self.mean, self.squares = np.zeros(width), np.zeros(width)
        self.low, self.high = np.full(width, np.inf), np.full(width, -np.inf)
        self.repeats, self.not_finite = np.zeros(width), np.zeros(width, np.int64)
        self.total_change, self.half_fits, self.not_whole = np.zeros(width), np.ones(width, bool), np.zeros(width, np.int64)
        self.bins = np.zeros((width, BINS), np.int64)

    def add(self, values: np.ndarray) -> None:
        """Takes in the values `[T, D]` of one episode; those not finite are counted and left out."""
        finite = np.isfinite(values)
        kept = np.where(finite, values, 0).astype(np.float64)
        count = finite.sum(axis=0)
        mean = kept.sum(axis=0) / np.maximum(count, 1)
        squares = np.square(np.where(finite, kept - mean, 0)).sum(axis=0)
        total = self.count + count
        shift = mean - self.mean
        self.squares += squares + np.square(shift) * self.count * count / np.maximum(total, 1)
        self.mean += shift * count / np.maximum(total, 1)
        self.count = total
        self.not_finite += len(values) - count
        self.low = np.minimum(self.low, np.where(finite, values, np.inf).min(axis=0))
        self.high = np.maximum(self.high, np.where(finite, values, -np.inf).max(axis=0))
        self._add_changes(kept)
        if self.kind == "action":
            place = np.clip(((kept + 1) * (BINS / 2)).astype(np.int64), 0, BINS - 1)
            for column in range(place.shape[1]):
                self.bins[column] += np.bincount(place[finite[:, column], column], minlength=BINS)

    @property
    def std(self) -> np.ndarray:
        """`[D]` standard deviations."""
        return np.sqrt(self.squares / np.maximum(self.count, 1))

    @property
    def constant(self) -> np.ndarray:
        """`[D]` bool, columns that never change."""
        return (self.low == self.high) & (self.count > 1)

    @property
    def continuous(self) -> np.ndarray:
        """`[D]` bool, columns that hardly ever keep their value from one step to the next."""
        return (self.repeats < 0.05 * self.pairs) & (self.pairs > 0)

    @property
    def typical_change(self) -> np.ndarray:
        """`[D]` mean absolute change from step to step, over the steps with a change."""
        return self.total_change / np.maximum(self.pairs - self.repeats, 1)

    @property
    def half_precision(self) -> np.ndarray:
        """`[D]` bool, columns of fractions all of which fit a 16-bit float: their other digits are gone."""
        return self.half_fits & ~self.constant & (self.not_whole >= HALF_PRECISION_VALUES)

    def columns(self) -> list[Column]:
        """One record for each column."""
        figures = zip(self.names, self.mean, self.std, self.low, self.high, self.repeats, self.not_finite, self.bins, strict=True)
        return [
            Column(name, self.kind, float(mean), float(std), float(low), float(high), float(repeats / max(self.pairs, 1)), int(bad), bins)
            for name, mean, std, low, high, repeats, bad, counts in figures
            for bins in [tuple(counts.tolist()) if self.kind == "action" else ()]
        ]

    def _add_changes(self, values: np.ndarray) -> None:
        change = np.abs(np.diff(values, axis=0))
        self.pairs += len(change)
        self.repeats += (change == 0).sum(axis=0)
        self.total_change += change.sum(axis=0)
        with np.errstate(over="ignore", under="ignore"):
            self.half_fits &= (values == values.astype(np.float16)).all(axis=0)
        self.not_whole += (values != np.round(values)).sum(axis=0)
