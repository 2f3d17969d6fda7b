"""Where an episode ends."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from ...data.errors import WarmloopError
from ..info import plain
from ..success import KEYS


class PastSuccess(gym.Wrapper):
    """Lets the episode go on where the environment ends it for its own success, so that a classifier sees more than the first frame of it.

    What `info` says stays; any other end, and the time limit, end the episode as before.

    Args:
        env: the environment.
        key: where `info` says that the step succeeded; by default the first of the usual names that it has.
    """

    def __init__(self, env: gym.Env, key: str = ""):
        super().__init__(env)
        self._keys = (key,) if key else KEYS

    def step(self, action: np.ndarray) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        if terminated:
            words = plain(info)
            said = next((words[key] for key in self._keys if key in words), None)
            if said is None:
                raise WarmloopError(
                    f"The wrapper past_success finds no {' or '.join(self._keys)} in the info of the step that ends the episode "
                    f"(it has: {', '.join(words) or 'nothing'}); name the key of a success: past_success:KEY."
                )
            terminated = not bool(said)
        return observation, reward, terminated, truncated, info
