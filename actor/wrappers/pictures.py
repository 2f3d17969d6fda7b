"""Wrappers of camera images: stacks of the last ones, and other sizes."""

from __future__ import annotations

from collections import deque
from typing import Any

import gymnasium as gym
import numpy as np
from PIL import Image

from ...data.errors import WarmloopError
from .leaves import at, images, leaves


class FrameStack(gym.Wrapper):
    """Gives the last `count` images of each camera, `[count, H, W, C]`, the newest last; at a reset the first one, repeated.

    What is no image stays as it is.
    """

    def __init__(self, env: gym.Env, count: int):
        super().__init__(env)
        if count < 1:
            raise WarmloopError(f"The wrapper frame_stack takes a count of at least 1, not {count}.")
        space = env.observation_space
        self._last = {name: deque(maxlen=count) for name in images(space, "", "frame_stack")}
        for name in self._last:
            space = at(space, name, lambda box: gym.spaces.Box(np.stack([box.low] * count), np.stack([box.high] * count), dtype=np.uint8))
        self.observation_space = space

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        observation, info = self.env.reset(seed=seed, options=options)
        for last in self._last.values():
            last.clear()
        return self._stacked(observation), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        return self._stacked(observation), reward, terminated, truncated, info

    def _stacked(self, observation: Any) -> Any:
        for name, last in self._last.items():
            observation = at(observation, name, lambda image, last=last: _push(last, image))
        return observation


class Resize(gym.ObservationWrapper):
    """Brings every camera's images, or those of `camera`, to `height` × `width` (square by default), by averages over areas."""

    def __init__(self, env: gym.Env, height: int, width: int = 0, camera: str = ""):
        super().__init__(env)
        self._size = (width or height, height)
        if min(self._size) < 1:
            raise WarmloopError(f"The wrapper resize takes a height and a width of at least 1, not {height} and {width}.")
        self._names = images(env.observation_space, camera, "resize")
        self.observation_space = _sized(env.observation_space, self._names, height, width or height)

    def observation(self, observation: Any) -> Any:
        for name in self._names:
            observation = at(observation, name, self._resized)
        return observation

    def _resized(self, image: np.ndarray) -> np.ndarray:
        picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
        return np.asarray(picture.resize(self._size, Image.Resampling.BOX)).reshape(*self._size[::-1], -1)


class Crop(gym.ObservationWrapper):
    """Cuts `height` × `width` pixels, from `top` and `left` on, out of every camera's images, or those of `camera`."""

    def __init__(self, env: gym.Env, top: int, left: int, height: int, width: int, camera: str = ""):
        super().__init__(env)
        self._names = images(env.observation_space, camera, "crop")
        self._window = slice(top, top + height), slice(left, left + width)
        for name in self._names:
            shape: Any = leaves(env.observation_space)[name].shape
            if min(top, left) < 0 or min(height, width) < 1 or top + height > shape[0] or left + width > shape[1]:
                window = f"rows {top} to {top + height} and columns {left} to {left + width}"
                raise WarmloopError(f'The wrapper crop cannot cut {window} out of camera "{name}", whose images are {shape}.')
        self.observation_space = _sized(env.observation_space, self._names, height, width)

    def observation(self, observation: Any) -> Any:
        for name in self._names:
            observation = at(observation, name, lambda image: image[self._window])
        return observation


def _push(last: deque, image: np.ndarray) -> np.ndarray:
    image = np.array(image)  # a camera may reuse its buffer
    last.extend([image] * (1 if last else last.maxlen or 1))
    return np.stack(list(last))


def _sized(space: gym.Space, names: list[str], height: int, width: int) -> gym.Space:
    for name in names:
        space = at(space, name, lambda box: gym.spaces.Box(0, 255, (height, width, box.shape[-1]), np.uint8))
    return space
