"""An axis of past steps that has no past in it."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from ...data.errors import WarmloopError
from .leaves import at, leaves


class DropHistory(gym.ObservationWrapper):
    """Takes off the first axis where it holds a single step, as HIL-SERL's ChunkingWrapper with obs_horizon=1 adds it.

    Numbers `[1, D]` become `[D]`, and images `[1, H, W, C]` uint8 become `[H, W, C]`; what has no such axis stays as it is.
    """

    def __init__(self, env: gym.Env):
        super().__init__(env)
        boxes = leaves(env.observation_space)
        stacked = [name for name, box in boxes.items() if len(box.shape or ()) == (4 if box.dtype == np.uint8 else 2)]
        odd = next((name for name in stacked or boxes if name not in stacked or (boxes[name].shape or ())[:1] != (1,)), None)
        if odd is not None:
            raise WarmloopError(
                f'The wrapper drop_history takes off an axis of a single step, and observation "{odd}" has shape {boxes[odd].shape}.'
            )
        self._names = stacked
        space = env.observation_space
        for name in self._names:
            space = at(space, name, lambda box: gym.spaces.Box(box.low[0], box.high[0], dtype=box.dtype))
        self.observation_space = space

    def observation(self, observation: Any) -> Any:
        for name in self._names:
            observation = at(observation, name, lambda leaf: np.asarray(leaf)[0])
        return observation
