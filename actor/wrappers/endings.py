"""Where an episode ends."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from ...data.errors import WarmloopError
from ..bridge.info import plain
from ..endings.success import KEYS, flag_of


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
            said = flag_of(words, self._keys)
            if said is None:
                raise WarmloopError(
                    f"The wrapper past_success finds no {' or '.join(self._keys)} in the info of the step that ends the episode "
                    f"(it has: {', '.join(words) or 'nothing'}); name the key of a success: past_success:KEY."
                )
            terminated = not said
        return observation, reward, terminated, truncated, info


class TimeLimitIsTruncation(gym.Wrapper):
    """Has an episode that terminates at its time limit, without success, count as cut, and not as over.

    The setting `environment.time_limit_is_truncation` does the same by the run's success rule; this wrapper is for one below the horizon.

    Args:
        env: the environment.
        steps: the limit; 0 for the environment's own.
        key: where `info` says that the step succeeded; by default the first of the usual names that it has.
    """

    def __init__(self, env: gym.Env, steps: int = 0, key: str = ""):
        super().__init__(env)
        self._limit = steps or (env.spec.max_episode_steps if env.spec else None) or 0
        if self._limit < 1:
            raise WarmloopError("The wrapper time_limit_is_truncation needs the steps of the limit, as in time_limit_is_truncation:100.")
        self._keys, self._step = (key,) if key else KEYS, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self._step = 0
        return self.env.reset(seed=seed, options=options)

    def step(self, action: np.ndarray) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._step += 1
        if terminated and self._step >= self._limit and not flag_of(plain(info), self._keys):
            terminated, truncated = False, True
        return observation, reward, terminated, truncated, info
