"""What is known of each camera of a data set: its range, its black and its frozen pictures, and some of the pictures themselves."""

from __future__ import annotations

import dataclasses

import numpy as np

from ..pictures.picture_rule import Layout, layout_of
from .findings import Camera

BLACK = 8  # of 255: a camera in the dark gives some noise
EPISODES_SHOWN = 4


@dataclasses.dataclass(frozen=True)
class Stretch:
    """Successive steps of an episode: its place in the survey, the first of the steps, and how many."""

    episode: int
    step: int
    steps: int


class CameraStatistics:
    """Sums over the pictures of one camera, added up an episode at a time.

    Attributes:
        black: one stretch for each episode with black pictures, of as many steps as are black.
        frozen: one for each episode, the longest on which the picture stands still while the robot moves.
        pictures: of the episodes shown, the first, middle and last one each.
    """

    def __init__(self, name: str, shape: tuple[int, ...], dtype: np.dtype):
        self.name, self.shape, self.dtype = name, shape, dtype
        self.count, self.low, self.high, self.total = 0, np.inf, -np.inf, 0.0
        self.first, self.constant = None, True
        self.black, self.frozen = list[Stretch](), list[Stretch]()
        self.pictures = list[tuple[int, list[np.ndarray]]]()

    def add(self, frames: np.ndarray, moving: np.ndarray, episode: int, number: int) -> None:
        """Takes in the frames `[T, ...]` of an episode, its place in the survey and its number; `moving` `[T - 1]` says between which of
        them the robot moved."""
        self.count += len(frames)
        flat = frames.reshape(len(frames), -1)
        brightest = flat.max(axis=1)
        self.low, self.high = min(self.low, float(flat.min())), max(self.high, float(brightest.max()))
        self.total += float(flat.mean(axis=1, dtype=np.float64).sum())
        self.first = frames[0].copy() if self.first is None else self.first
        still = (flat[1:] == flat[:-1]).all(axis=1)
        self.constant &= bool(still.all()) and np.array_equal(frames[0], self.first)
        dark = np.flatnonzero(brightest <= BLACK)
        if len(dark):
            self.black.append(Stretch(episode, int(dark[0]), len(dark)))
        length, start = longest_run(still & moving)
        self.frozen.append(Stretch(episode, start, length))
        if (episode + 1) & episode == 0:  # 0, 1, 3, 7, …: spread over however many there are
            shown = [frames[step].copy() for step in (0, len(frames) // 2, len(frames) - 1)]
            self.pictures = [*self.pictures[-EPISODES_SHOWN + 1 :], (number, shown)]

    @property
    def mean(self) -> float:
        return self.total / max(self.count, 1)

    def camera(self) -> Camera:
        """What the report says of it."""
        return Camera(self.name, self.shape, str(self.dtype), self.count, self.low, self.high, self.mean, sum(s.steps for s in self.black))


def is_picture(leaf: np.ndarray) -> bool:
    """Whether rows `[T, ...]` are pictures, or have the shape of some."""
    return leaf.ndim >= 3 and layout_of(leaf.shape[1:], leaf.dtype) is not Layout.NONE


def longest_run(flags: np.ndarray) -> tuple[int, int]:
    """Length and start of the longest run of True in `[T]`; 0 and 0 where there is none."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    starts, lengths = edges[::2], edges[1::2] - edges[::2]
    return (int(lengths.max()), int(starts[lengths.argmax()])) if len(lengths) else (0, 0)
