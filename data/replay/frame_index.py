"""Which frames of arriving rows are new, and where they go: the host's side of a store of frames (see `frames`)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..transition import PyTree, Spec, Transition, length
from .frames import SLOTS, stack_of

FOREVER = np.iinfo(np.int64).max
STREAMS = 64  # whose last frames are remembered; of one that comes back later a frame or two are stored twice


class Placed(NamedTuple):
    """Rows `[n]` on their way into a pool.

    Attributes:
        rows: with slots in place of images.
        slots: `[m]` int32, where the new frames go; no slot twice.
        images: by camera, `[m, H, W, C]`.
        retired: serials of the pool's rows whose frames the new ones replace.
    """

    rows: Transition
    slots: np.ndarray
    images: dict[str, np.ndarray]
    retired: np.ndarray


class FrameIndex:
    """Gives frames their slots, the same one to frames that are equal and follow each other in a stream.

    Of every stream the frames of its last row are remembered; a frame that is byte for byte one of them is not stored again. So nothing
    is assumed of how observations follow each other.

    Args:
        first, count: the slots to fill, as a ring.
        rows: capacity of the pool whose rows point here.
        stored: frames that are there already.

    Attributes:
        stored: frames stored so far; frame `i` went to slot `first + i % count`.
    """

    def __init__(self, spec: Spec, first: int, count: int, rows: int, stored: int = 0):
        self.cameras, self.stack, self.first, self.count, self.stored = spec.cameras, stack_of(spec), first, count, stored
        self._oldest = np.full(rows, FOREVER)  # of each of the pool's rows, by its slot there: the oldest of its frames
        self._recent: dict[str, list[tuple[int, list[np.ndarray]]]] = {}

    def most(self, rows: int) -> int:
        """Frames that so many rows can need: the store must hold as many."""
        return 2 * self.stack * rows

    def place(self, stream: str, rows: Transition, serial: int) -> Placed:
        """Rows `[n]` of one stream, in order, which become the pool's rows from `serial` on. `most(n)` frames must fit."""
        n, new, numbers = length(rows), [], np.empty((length(rows), 2, self.stack), np.int64)
        kept_from = self.stored + self.most(n) - self.count  # an older one may be overwritten by these rows' own
        recent = [(number, frame) for number, frame in self._recent.get(stream, ()) if number >= kept_from]
        for row in range(n):
            seen: list[tuple[int, list[np.ndarray]]] = []
            for part, observation in enumerate((rows.observation, rows.next_observation)):
                for place, frame in enumerate(self._frames(observation, row)):
                    number = next((known for known, other in (*reversed(seen), *recent) if _equal(frame, other)), -1)
                    if number < 0:
                        number = self.stored + len(new)
                        new.append(frame)
                    seen.append((number, frame))
                    numbers[row, part, place] = number
            recent = seen
        self._recent.pop(stream, None)
        self._recent[stream] = [(number, [image.copy() for image in frame]) for number, frame in dict(recent).items()]
        if len(self._recent) > STREAMS:
            del self._recent[next(iter(self._recent))]
        slots = self.first + (self.stored + np.arange(len(new))) % max(self.count, 1)
        self.stored += len(new)
        images = {leaf.name: np.stack([frame[i] for frame in new]) for i, leaf in enumerate(self.cameras) if new}
        stored = (self.first + numbers % max(self.count, 1)).astype(np.int32)
        retired = self._retire(numbers.min(axis=(1, 2)), serial)
        rows = rows.replace(
            observation=_without_images(rows.observation) | {SLOTS: stored[:, 0]},
            next_observation=_without_images(rows.next_observation) | {SLOTS: stored[:, 1]},
        )
        return Placed(rows, slots.astype(np.int32), images, retired)

    def forget(self, stream: str) -> None:
        """The stream is over."""
        self._recent.pop(stream, None)

    def _frames(self, observation: PyTree, row: int) -> list[list[np.ndarray]]:
        """The frames of one observation's stack, oldest first, each as its images by camera."""
        images = [observation[leaf.name][row] if leaf.name else observation[row] for leaf in self.cameras]
        stacked = len(self.cameras[0].shape) == 4
        return [[image[place] if stacked else image for image in images] for place in range(self.stack)]

    def _retire(self, oldest: np.ndarray, serial: int) -> np.ndarray:
        """Serials of the rows of which a frame is gone; notes the new rows, whose oldest frames are `oldest` `[n]`."""
        capacity, end = len(self._oldest), serial + len(oldest)
        self._oldest[(serial + np.arange(len(oldest))) % capacity] = oldest
        gone = np.flatnonzero(self._oldest < self.stored - self.count)
        self._oldest[gone] = FOREVER
        return end - 1 - (end - 1 - gone) % capacity


def _equal(one: list[np.ndarray], other: list[np.ndarray]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def _without_images(observation: PyTree) -> dict[str, np.ndarray]:
    return {name: leaf for name, leaf in observation.items() if leaf.dtype != np.uint8} if isinstance(observation, dict) else {}
