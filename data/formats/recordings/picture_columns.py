"""Pictures among the columns of a recording, as uint8 with their channels last, by the rule of `data/pictures/picture_rule.py`.

A file does not say which of its values is white; its first picture that is not black does. What has the shape of a picture and values that
no picture has, such as depth in metres, stays numbers, and is refused where it is learnt from (`data/sources/fitting.py`).
"""

from __future__ import annotations

import dataclasses
import logging

import numpy as np

from ...errors import WarmloopError
from ...pictures.picture_rule import WHITE, Layout, as_bytes, channels_last, layout_of, white_of
from .recording import Recording

CHUNK = 256  # pictures that are converted at once: bounds the temporaries

log = logging.getLogger("warmloop")


class PictureColumns:
    """Turns the pictures of a file, which is read in pieces.

    Args:
        origin: the file, as errors name it.
    """

    def __init__(self, origin: str):
        self._origin = origin
        self._white = dict[str, float | None]()  # of the columns that hold pictures in other numbers than bytes; None while all is black
        self._numbers = set[str]()  # columns that have the shape of pictures and are none

    def __call__(self, piece: Recording) -> Recording:
        """The piece with its pictures turned.

        Raises:
            WarmloopError: values that no picture has, in a column whose earlier pieces held pictures.
        """
        turned = dict(piece.columns)
        for name in [name for name in piece.columns if name.split("/")[0] == "observations"]:
            pair = {key: turned[key] for key in (name, f"next_{name}") if key in turned}
            layout = layout_of(turned[name].shape[1:], turned[name].dtype)
            if layout in (Layout.LAST, Layout.FIRST):
                turned |= self._pictures(name, pair, layout)
        return dataclasses.replace(piece, columns=turned)

    def _pictures(self, name: str, pair: dict[str, np.ndarray], layout: Layout) -> dict[str, np.ndarray]:
        """The pictures of an observation's column and of the next observation's."""
        if any(column.dtype != np.uint8 for column in pair.values()):
            if name in self._numbers:
                return pair
            try:
                pair = self._as_bytes(name, pair)
            except ValueError as error:
                if name in self._white:
                    raise WarmloopError(f"{self._origin}: `{name}` {error}, unlike its earlier rows; save it as uint8.") from None
                self._numbers.add(name)
                return pair
        if layout is Layout.FIRST:
            return {key: np.ascontiguousarray(channels_last(column)) for key, column in pair.items()}
        return pair

    def _as_bytes(self, name: str, pair: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The pictures as uint8. Raises ValueError where they are none."""
        white = self._white.get(name)
        if white is None:
            white = max((found for column in pair.values() if (found := white_of(column)) is not None), default=None)
        converted = {key: _converted(column, white) for key, column in pair.items()}
        if self._white.get(name) is None and white is not None:
            log.info("%s: `%s` holds pictures from 0 to %g; they are read as uint8 from 0 to %d", self._origin, name, white, WHITE)
        self._white[name] = white
        return converted


def _converted(column: np.ndarray, white: float | None) -> np.ndarray:
    pictures = np.empty(column.shape, np.uint8)
    for first in range(0, len(column), CHUNK):
        pictures[first : first + CHUNK] = as_bytes(column[first : first + CHUNK], white)
    return pictures
