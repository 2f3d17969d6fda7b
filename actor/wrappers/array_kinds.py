"""What an array of an observation is, where its shape and its space do not say: a picture, or numbers."""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import numpy as np

from ...data.errors import WarmloopError
from ...data.pictures.picture_rule import CHANNELS, WHITE, Layout, as_bytes, channels_last, last_shape
from ..bridge.leaf_rules import UnfitError
from ..bridge.observations import called
from .leaves import at, leaf_named, leaves

LAYOUTS = {"first": Layout.FIRST, "last": Layout.LAST}


class AsPicture(gym.ObservationWrapper):
    """Makes a camera's picture uint8 `[H, W, C]`, by what its arguments say of it.

    Args:
        env: the environment.
        camera: the part of the observation, in full or by its last level; "" for an observation without parts.
        layout: first or last, where the channels are; "" for first where 1, 3 or 4 of them come first and not last, else last.
        black, white: the values that become 0 and 255; white is by default 1 for floats, and 255 for whole numbers.
    """

    def __init__(self, env: gym.Env, camera: str = "", layout: str = "", black: float = 0.0, white: float = math.nan):
        super().__init__(env)
        self._name = leaf_named(env.observation_space, camera, "as_picture")
        box: Any = leaves(env.observation_space)[self._name]
        shape = tuple(box.shape or ())
        if layout not in ("", *LAYOUTS) or not isinstance(box, gym.spaces.Box) or not 2 <= len(shape) <= 4:
            raise WarmloopError(
                f"The wrapper as_picture takes a Box of two to four axes and layout=first or last, and {called(self._name)} is {box} "
                f'(layout="{layout}").'
            )
        first = len(shape) > 2 and shape[-3] in CHANNELS and shape[-1] not in CHANNELS
        self._layout = LAYOUTS.get(layout, Layout.FIRST if first else Layout.LAST)
        self._black, self._white = black, (1.0 if box.dtype.kind == "f" else float(WHITE)) if math.isnan(white) else white
        if self._white <= black:
            raise WarmloopError(f"The wrapper as_picture takes a white above black, not black={black:g} and white={self._white:g}.")
        self._shape, self._turned = shape, last_shape(shape, self._layout)
        self.observation_space = at(env.observation_space, self._name, lambda _: gym.spaces.Box(0, WHITE, self._turned, np.uint8))

    def observation(self, observation: Any) -> Any:
        return at(observation, self._name, self._picture)

    def _picture(self, value: Any) -> np.ndarray:
        array = np.asarray(value)
        if array.shape != self._shape:
            raise UnfitError(f"{called(self._name)} that has shape {array.shape}, and its space says {self._shape}")
        try:
            picture = as_bytes(array, self._white, self._black)
        except ValueError as error:
            raise UnfitError(f"{called(self._name)} that {error}") from None
        return channels_last(picture) if self._layout is Layout.FIRST and picture.ndim > 2 else picture


class AsNumbers(gym.ObservationWrapper):
    """Lays the numbers of a part of the observation along one axis, row by row: a matrix, a history of states, a small depth image.

    Args:
        env: the environment.
        part: of the observation, in full or by its last level; "" for an observation without parts.
    """

    def __init__(self, env: gym.Env, part: str = ""):
        super().__init__(env)
        self._name = leaf_named(env.observation_space, part, "as_numbers")
        box: Any = leaves(env.observation_space)[self._name]
        if not isinstance(box, gym.spaces.Box):
            raise WarmloopError(f"The wrapper as_numbers takes a Box, and {called(self._name)} is {box}.")
        dtype = np.float32 if box.dtype == np.uint8 else box.dtype  # along one axis uint8 would be numbers too; this says so
        self._shape = tuple(box.shape or ())
        self.observation_space = at(
            env.observation_space, self._name, lambda box: gym.spaces.Box(np.ravel(box.low), np.ravel(box.high), dtype=dtype)
        )

    def observation(self, observation: Any) -> Any:
        return at(observation, self._name, self._along_one_axis)

    def _along_one_axis(self, value: Any) -> np.ndarray:
        array = np.asarray(value)
        if array.shape != self._shape:
            raise UnfitError(f"{called(self._name)} that has shape {array.shape}, and its space says {self._shape}")
        return np.ravel(array)
