"""An environment that declares any spaces and says any observations, rewards and infos; it records the actions that it gets."""

from typing import Any

import gymnasium as gym
import numpy as np

from warmloop.actor.environment.environment import Environment, EnvironmentConfig
from warmloop.data.reward import RewardConfig

ARM = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)
STATE = gym.spaces.Box(-np.inf, np.inf, (3,), np.float32)
RAW = RewardConfig(signal="environment", terminate_on_success=False)


class Scripted(gym.Env):
    """Gives `observations` one after the other, the last one for ever, and of each step `returned`: reward, terminated, truncated, info."""

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012

    def __init__(self, observation_space: Any = STATE, observations: Any = None, action_space: Any = ARM, returned: Any = None):
        if observation_space is not None:
            self.observation_space = observation_space
        if action_space is not None:
            self.action_space = action_space
        self.observations = observations if observations is not None else [np.zeros(3, np.float32)]
        self.returned, self.received, self.count = returned or (0.0, False, False, {}), [], 0

    def reset(self, *, seed=None, options=None):
        return self._observation(), {}

    def step(self, action) -> Any:  # also what no step may return
        self.received.append(action)
        return (self._observation(), *self.returned)

    def _observation(self):
        self.count += 1
        return self.observations[min(self.count, len(self.observations)) - 1]


def environment(scripted: gym.Env, reward: RewardConfig = RAW, **config: Any) -> Environment:
    """The project's environment around one that is there."""
    return Environment(scripted, EnvironmentConfig("lab", **config), reward)
