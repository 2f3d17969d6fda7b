"""What a picture is, and how it becomes uint8 with its channels last: one rule for environments and for recorded data.

Layout. Pictures are `[H, W, C]` or stacks of them `[k, H, W, C]`; gray ones may be `[H, W]`. Where 1, 3 or 4 channels come last, they are
the channels. Where they come first and not last, as in `[3, 96, 96]`, the picture is turned. Other channels count, such as the 9 of three
stacked frames, only where they come last and are the shortest axis.

Values. uint8 is taken as it is. Floats that never exceed 1 are shares of white, and are multiplied by 255. Other numbers are brightness
from 0 to 255. Both are rounded. What is negative, beyond white or not finite is no picture, and nothing is cut off or wrapped around.

Only uint8 of two axes or more, and other numbers of three axes or more with 1, 3 or 4 channels and sides of at least `SIDE` pixels, are
pictures. All else are numbers.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

CHANNELS = (1, 3, 4)
SIDE = 8
WHITE = 255


class Layout(enum.Enum):
    """Where the channels of an array's rows are."""

    NONE = "numbers, no picture"
    LAST = "channels last"
    FIRST = "channels first"
    UNCLEAR = "a picture whose channels cannot be told from its shape"


def layout_of(shape: Sequence[int], dtype: Any) -> Layout:
    """The layout of one row's `shape`, without a leading axis of rows."""
    dtype, axes = np.dtype(dtype), len(shape)
    if dtype != np.uint8:
        return _of_other_numbers(tuple(shape))
    if axes < 2:
        return Layout.NONE
    if axes == 2:
        return Layout.LAST
    if axes > 4:
        return Layout.UNCLEAR
    return _by_channels(tuple(shape)) or (Layout.LAST if shape[-1] < min(shape[-3:-1]) else Layout.UNCLEAR)


def white_of(array: np.ndarray) -> float | None:
    """The value that is white in a picture: 1 for floats that never exceed it, else 255; None where all is black, which says nothing."""
    if array.dtype.kind == "b":
        return 1.0
    if array.dtype.kind != "f":
        return float(WHITE)
    highest = float(array.max(initial=0.0))
    return None if highest == 0.0 else 1.0 if highest <= 1.0 + 0.5 / WHITE else float(WHITE)


def as_bytes(array: np.ndarray, white: float | None, black: float = 0.0) -> np.ndarray:
    """The picture as uint8, `black` as 0 and `white` as 255; a new array. None stands for a picture that is black throughout.

    Raises:
        ValueError: a value is beyond either by more than rounding, or not a number; the phrase gives the range.
    """
    if array.dtype == np.uint8 and white in (None, WHITE) and black == 0:
        return array.copy()
    if not array.size:
        return array.astype(np.uint8)
    scale = WHITE / ((white or WHITE) - black)
    low, high = float(array.min()), float(array.max())
    if not (-0.5 <= (low - black) * scale <= WHITE + 0.5 and -0.5 <= (high - black) * scale <= WHITE + 0.5):
        raise ValueError(f"runs from {low:.4g} to {high:.4g}, and a picture's values from {black:g} to {white or WHITE:g}")
    if array.dtype.kind in "iu" and scale == 1 and black == 0:
        return array.astype(np.uint8)
    return np.rint((array - black) * scale).clip(0, WHITE).astype(np.uint8)


def channels_last(array: np.ndarray) -> np.ndarray:
    """Pictures `[..., C, H, W]` as `[..., H, W, C]`; a view."""
    return np.moveaxis(array, -3, -1)


def last_shape(shape: Sequence[int], layout: Layout) -> tuple[int, ...]:
    """The shape that a picture of a layout has once its channels are last."""
    *lead, first, height, width = shape if len(shape) >= 3 else (0, 0, 0)
    return (*lead, height, width, first) if layout is Layout.FIRST else tuple(shape)


def _of_other_numbers(shape: tuple[int, ...]) -> Layout:
    found = _by_channels(shape) if len(shape) in (3, 4) else None
    if found is None:
        return Layout.NONE
    sides = shape[-3:-1] if found is Layout.LAST else shape[-2:]
    return found if math.prod(shape) and min(sides) >= SIDE else Layout.NONE


def _by_channels(shape: tuple[int, ...]) -> Layout | None:
    if shape[-1] in CHANNELS:
        return Layout.LAST
    return Layout.FIRST if shape[-3] in CHANNELS else None
