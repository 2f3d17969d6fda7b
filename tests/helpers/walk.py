"""Walks whose lengths their seeds decide, and whose observations say whose they are."""

import gymnasium as gym
import numpy as np

from warmloop.actor.environment.environment import EnvironmentConfig

WALK = "WarmloopTest/Walk-v0"


class Walk(gym.Env):
    """A walk by the action whose length the seed decides; the observation has the seed's number, the place and the step."""

    observation_space = gym.spaces.Box(-np.inf, np.inf, (3,), np.float32)
    action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self, fails_at=-1):
        self.total, self.fails_at = 0, fails_at

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.own, self.length = float(self.np_random.uniform()), int(self.np_random.integers(3, 9))
        self.place, self.count = 0.0, 0
        return self._observation(), {}

    def step(self, action):
        self.total += 1
        if self.total == self.fails_at:
            raise RuntimeError("the simulator stumbled")
        self.place, self.count = self.place + float(action[0]), self.count + 1
        return self._observation(), self.place, self.count == self.length, False, {}

    def _observation(self):
        return np.array([self.own, self.place, self.count], np.float32)


gym.register(WALK, lambda **kwargs: Walk(**kwargs), max_episode_steps=20)
CONFIG = EnvironmentConfig(WALK, success="return>=1")
