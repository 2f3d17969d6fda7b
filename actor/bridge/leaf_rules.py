"""How one part of an environment's observations becomes an array that agents take: float32 numbers along one axis, or a uint8 picture.

    Box of numbers, [D] or a single one   the numbers, [D]
    Box of a picture                      uint8, channels last, by the rule of `data/pictures/picture_rule.py`
    Discrete(2), MultiBinary              0 or 1 for each
    Discrete(n), MultiDiscrete            one-hot: n numbers, one of them 1

A rule is made of a space, which says what is declared. Called with a value, it gives a new array, or raises `UnfitError` where the value
is not what was declared and cannot be taken for it with certainty.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

import gymnasium as gym
import numpy as np

from ...data.pictures.picture_rule import WHITE, Layout, as_bytes, channels_last, last_shape, layout_of, white_of
from .info import as_array

EXACT = 2.0**24  # float32 holds every whole number up to it
MOST_CHOICES = 1024  # of a Discrete part, which become as many numbers

Say = Callable[[str], None]


class UnfitError(ValueError):
    """A space that no agent takes, or a value that is not of its space: how the sentence about it goes on after its name."""


class LeafRule(Protocol):
    """Turns one part of an observation into an array of the space `box`."""

    @property
    def box(self) -> gym.spaces.Box: ...

    def __call__(self, value: Any) -> np.ndarray:
        """A new array. Raises UnfitError."""
        ...


def rule_for(space: Any, name: str, say: Say, seen: bool = True) -> LeafRule:
    """The rule for a part `name` of observations.

    Args:
        space: what the environment declares for it.
        say: called with a sentence on what is converted beyond what is declared.
        seen: an agent gets it; whole numbers that float32 rounds are refused then, and else only told.

    Raises:
        UnfitError: no agent takes such a part.
    """
    discrete = (gym.spaces.Discrete, gym.spaces.MultiDiscrete, gym.spaces.MultiBinary)
    if isinstance(space, discrete):
        return Choices(space)
    if not isinstance(space, gym.spaces.Box):
        raise UnfitError(f"is of the space {space}, which no agent takes as numbers")
    shape = tuple(space.shape)
    layout = layout_of(shape, space.dtype)
    if layout is Layout.UNCLEAR:
        raise UnfitError(
            f"is a picture of shape {shape}, and which axis holds its channels is not certain; name it by the wrapper "
            f"as_picture:{name},layout=first or layout=last, or use it as numbers by as_numbers:{name}"
        )
    if layout is not Layout.NONE:
        return Picture(space, layout, name, say)
    if len(shape) > 1:
        raise UnfitError(
            f"has shape {shape}, and numbers must lie along one axis; the wrapper as_numbers:{name} lays them so, "
            f"as_picture:{name} makes a picture of them{', drop_history takes the first axis off' if shape[0] == 1 else ''}"
        )
    return Numbers(space, name, say, seen)


class Numbers:
    """Numbers along one axis, or a single one."""

    def __init__(self, space: gym.spaces.Box, name: str, say: Say, seen: bool = True):
        shape = tuple(space.shape or (1,))
        with np.errstate(over="ignore"):  # a bound beyond float32's is infinite
            low, high = (np.broadcast_to(side, shape).astype(np.float32) for side in (space.low, space.high))
        self.box = gym.spaces.Box(low, high, shape, np.float32)
        self._name, self._say, self._shape, self._seen, self._told = name, say, shape, seen, False

    def __call__(self, value: Any) -> np.ndarray:
        if type(value) is not np.ndarray or value.shape != self._shape or value.dtype.kind not in "fiub":
            value = _shaped(_numeric(value), self._shape)
        if not float(np.abs(value).max(initial=0)) <= EXACT:  # which float16 does not reach
            self._look(value)
        return value.astype(np.float32)

    def _look(self, value: np.ndarray) -> None:
        """Raises UnfitError where float32 does not hold the values, and says the first time that it rounds them."""
        if not np.isfinite(value).all():
            raise UnfitError("is not finite (NaN or infinite)")
        if np.abs(value.astype(np.float64)).max() > np.finfo(np.float32).max:
            raise UnfitError(f"reaches {np.abs(value.astype(np.float64)).max():.3g}, which is infinite in float32; give it in another unit")
        with np.errstate(invalid="ignore"):  # of the greatest int64, which float32 rounds up
            if (value.astype(np.float32).astype(value.dtype) == value).all():
                return
        most = float(np.abs(value.astype(np.float64)).max())
        if value.dtype.kind in "iu" and self._seen:
            raise UnfitError(f"reaches {most:.0f}, and float32 holds whole numbers up to {EXACT:.0f}; give it in another unit, or split it")
        if self._told:
            return
        self._told = True
        self._say(
            f"{self._name or 'it'} reaches {most:.9g}, of which float32 keeps seven digits; subtract an offset, such as the start's time"
        )


class Choices:
    """Whole numbers that stand for choices: as 0 or 1 where there are two, one-hot where there are more."""

    def __init__(self, space: gym.spaces.Discrete | gym.spaces.MultiDiscrete | gym.spaces.MultiBinary):
        self._space = space
        if isinstance(space, gym.spaces.Discrete):
            counts, starts = np.array([space.n]), np.array([space.start])
        elif isinstance(space, gym.spaces.MultiDiscrete):
            counts, starts = np.ravel(space.nvec), np.ravel(space.start)
        else:
            counts = np.full(math.prod(space.shape), 2)
            starts = np.zeros_like(counts)
        if (counts > MOST_CHOICES).any():
            raise UnfitError(f"is a choice among {counts.max():,}, too many to be numbers of their own")
        widths = np.where(counts == 2, 1, counts)
        self._counts, self._starts = counts.astype(np.int64), starts.astype(np.int64)
        self._places = np.cumsum(widths) - widths  # where each one's numbers begin
        self.box = gym.spaces.Box(0.0, 1.0, (int(widths.sum()),), np.float32)

    def __call__(self, value: Any) -> np.ndarray:
        given = np.ravel(_shaped(_numeric(value), tuple(self._space.shape or ())))
        chosen = given.astype(np.int64) - self._starts if np.isfinite(given).all() else np.array(-1)
        if (chosen < 0).any() or (chosen >= self._counts).any() or (chosen + self._starts != given).any():
            raise UnfitError(f"is {np.asarray(value).tolist()!r:.80}, and its space is {self._space}")
        numbers = np.zeros(self.box.shape, np.float32)
        numbers[self._places + np.where(self._counts == 2, 0, chosen)] = np.where(self._counts == 2, chosen, 1)
        return numbers


class Picture:
    """A picture, or a stack of them."""

    def __init__(self, space: gym.spaces.Box, layout: Layout, name: str, say: Say):
        self._declared, self._name, self._say = space, name, say
        self._turned = layout is Layout.FIRST
        self.shape = last_shape(tuple(space.shape), layout)
        self.box = gym.spaces.Box(0, WHITE, self.shape, np.uint8)
        self._white, self._confirmed = self._declared_white(), False

    def __call__(self, value: Any) -> np.ndarray:
        if type(value) is np.ndarray and value.dtype == np.uint8 and value.shape == self.shape:
            return value.copy()
        array = _numeric(value)
        if array.shape != self.shape:
            array = self._laid_out(array)
        white = self._white_of(array)
        try:
            picture = np.ascontiguousarray(as_bytes(array, white))
        except ValueError as error:
            if not np.isfinite(array).all():
                raise UnfitError("is not finite (NaN or infinite)") from None
            raise UnfitError(
                f"{error}; give it as uint8, or name its range by the wrapper as_picture:{self._name},black={_number(array.min())},"
                f"white={_number(array.max())}"
            ) from None
        if not self._confirmed and white is not None:
            self._confirm(array, white)
        return picture

    def _declared_white(self) -> float | None:
        """What is white by the declared bounds. Raises UnfitError where they say nothing, or what no picture has."""
        box, dtype = self._declared, self._declared.dtype
        if dtype == np.uint8:
            return None
        low, high = float(box.low.min()), float(box.high.max())
        if low >= 0 and (high <= 1 if dtype.kind == "f" else high == 1):
            return 1.0
        if low >= 0 and high <= WHITE:
            return float(WHITE)
        bounds = "no bounds" if not (np.isfinite(low) and np.isfinite(high)) else f"bounds of {_number(low)} and {_number(high)}"
        black, white = ("BLACK", "WHITE") if bounds == "no bounds" else (_number(low), _number(high))
        raise UnfitError(
            f"has the shape of a picture, {tuple(box.shape)}, numbers of {dtype} and {bounds}; declare it as uint8 from 0 to 255 or as "
            f"floats from 0 to 1, name its range by the wrapper as_picture:{self._name},black={black},white={white}, or use it as "
            f"numbers by as_numbers:{self._name}"
        )

    def _laid_out(self, array: np.ndarray) -> np.ndarray:
        """The array in the shape that is expected, where it is one of the two layouts of it."""
        turned = channels_last(array) if array.ndim >= 3 else array
        if turned.shape == self.shape:
            if not self._turned:
                self._say(f"{self._name or 'the picture'} is declared with its channels last and comes with them first; it is turned")
            return turned
        if array.ndim + 1 == len(self.shape) and (*array.shape, 1) == self.shape:
            return array[..., None]
        raise UnfitError(f"has shape {array.shape}, and its space says {tuple(self._declared.shape)}")

    def _white_of(self, array: np.ndarray) -> float | None:
        """What is white in a picture that came. Raises UnfitError where the first that is not black contradicts what is declared."""
        if array.dtype == np.uint8:
            return None
        if self._confirmed:
            return self._white
        found = white_of(array)
        if self._white == WHITE and found == 1.0 and (array != np.rint(array)).any():
            raise UnfitError(
                f"runs from {_number(array.min())} to {_number(array.max())}, and its space from 0 to {WHITE}; declare it from 0 to 1, "
                f"or name its range by the wrapper as_picture:{self._name},white=1"
            )
        return None if found is None else self._white or found

    def _confirm(self, array: np.ndarray, white: float) -> None:
        """Keeps what is white by the first picture that is not black."""
        self._confirmed = True
        if self._white is None:
            self._white = white
            self._say(
                f"{self._name or 'the picture'} is declared as uint8 and comes as {array.dtype} up to {_number(array.max())}; "
                f"it is taken as running from 0 to {white:g}"
            )


def _numeric(value: Any) -> np.ndarray:
    """What was given as an array of numbers. Raises UnfitError."""
    array = as_array(value)
    if array.dtype.kind not in "fiub":
        raise UnfitError(f"is {value!r:.60}, and numbers are needed" if value is not None else "is None, and numbers are needed")
    return array


def _shaped(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The array in a shape that differs by axes of length 1 alone. Raises UnfitError for any other."""
    if array.shape == shape:
        return array
    if [side for side in array.shape if side != 1] != [side for side in shape if side != 1]:
        raise UnfitError(f"has shape {array.shape}, and its space says {shape}")
    return array.reshape(shape)


def _number(value: Any) -> str:
    return f"{float(value):.6g}"
