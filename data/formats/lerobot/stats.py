"""Statistics of features as LeRobot keeps them: per episode, and of all its episodes weighted by their counts.

Minimum, maximum, mean, standard deviation, count and five quantiles of each of a feature's dimensions; of an image's channels, as RGB in
[0, 1] and out of a sample of its frames and pixels. LeRobot estimates a quantile within one of 5,000 equal bins; here it is exact.
LeRobot 0.4 squares an image's bytes as bytes, which overflows, so its images' deviations are too small; here they are right.
"""

from __future__ import annotations

from typing import Any

import numpy as np

QUANTILES = {f"q{percent:02d}": percent / 100 for percent in (1, 10, 50, 90, 99)}
LARGE, TARGET = 300, 150  # images of LARGE pixels along a side are thinned out to some TARGET
FEWEST, MOST = 100, 10_000  # frames of a sample: all of FEWEST, else T ** 0.75

Stats = dict[str, np.ndarray]


def of_numbers(column: np.ndarray) -> Stats:
    """Of `[T, ...]`, for each place along the last axis."""
    return _stats(column.reshape(-1, column.shape[-1] if column.ndim > 1 else 1), len(column))


def of_images(images: np.ndarray) -> Stats:
    """Of `[T, H, W, C]` uint8: `[3, 1, 1]` in [0, 1]."""
    count = max(min(len(images), FEWEST), min(int(len(images) ** 0.75), MOST))
    sample = images[np.round(np.linspace(0, len(images) - 1, count)).astype(np.int64)]
    height, width = images.shape[1:3]
    stride = 1 if max(height, width) < LARGE else max(height, width) // TARGET
    sample = sample[:, ::stride, ::stride]
    sample = np.repeat(sample, 3, axis=-1) if sample.shape[-1] == 1 else sample[..., :3]
    found = _stats(sample.reshape(-1, 3), count)
    return {name: value if name == "count" else (value / 255).reshape(3, 1, 1) for name, value in found.items()}


def combined(episodes: list[Stats]) -> Stats:
    """Of all episodes; their quantiles are averaged, as LeRobot does."""
    stacked = {name: np.stack([stats[name] for stats in episodes]) for name in episodes[0]}
    count = stacked["count"].reshape(len(episodes), *[1] * (stacked["mean"].ndim - 1))

    def average(values: np.ndarray) -> np.ndarray:
        return (values * count).sum(axis=0) / count.sum()

    mean = average(stacked["mean"])
    return {
        "min": stacked["min"].min(axis=0),
        "max": stacked["max"].max(axis=0),
        "mean": mean,
        "std": np.sqrt(average(stacked["std"] ** 2 + (stacked["mean"] - mean) ** 2)),
        "count": stacked["count"].sum(axis=0),
        **{name: average(stacked[name]) for name in QUANTILES},
    }


def as_lists(stats: Stats) -> dict[str, Any]:
    """What JSON and parquet take."""
    return {name: value.tolist() for name, value in stats.items()}


def _stats(rows: np.ndarray, count: int) -> Stats:
    """Of `[N, D]`, for each of D."""
    wide = rows.astype(np.float64)
    quantiles = np.quantile(rows, list(QUANTILES.values()), axis=0, method="inverted_cdf") if len(rows) > 1 else [wide.mean(axis=0)] * 5
    return {
        "min": rows.min(axis=0),
        "max": rows.max(axis=0),
        "mean": wide.mean(axis=0),
        "std": wide.std(axis=0),
        "count": np.array([count]),
        **{name: np.asarray(value, np.float64) for name, value in zip(QUANTILES, quantiles, strict=True)},
    }
