"""Pendulum that writes every step down by itself, so that a learner's rows can be compared with what environments gave.

As a configuration, `--config=told_pendulum.py`; its environment's id is `told_pendulum:Told/Pendulum-v1`.
"""

import os
from pathlib import Path

import gymnasium as gym
import numpy as np
from gymnasium.envs.classic_control.pendulum import PendulumEnv

ROW = 6  # float32: observation and next observation


class ToldPendulum(PendulumEnv):
    """Appends each step to `told-PID.rows` in the working directory, past all buffers; one that is only made leaves no file."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.file, self.seen = -1, np.zeros(3, np.float32)

    def reset(self, *, seed=None, options=None):
        self.seen, info = super().reset(seed=seed, options=options)
        return self.seen, info

    def step(self, u):
        result = super().step(u)
        if self.file < 0:
            self.file = os.open(f"told-{os.getpid()}.rows", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(self.file, np.concatenate([self.seen, result[0]]).astype(np.float32).tobytes())
        self.seen = result[0]
        return result


def told(folder: Path) -> dict[int, np.ndarray]:
    """The steps `[N, 6]` of each process, in order."""
    files = {int(path.stem.partition("-")[2]): path.read_bytes() for path in folder.glob("told-*.rows")}
    return {pid: np.frombuffer(data, np.float32).reshape(-1, ROW) for pid, data in files.items() if data}


def get_config():
    """Pendulum of the package, with this environment."""
    from warmloop.configs import load

    return load("configs/classic.py:pendulum").replace(environment={"id": "told_pendulum:Told/Pendulum-v1"}, actor={"evaluate_every": 0})


gym.register("Told/Pendulum-v1", ToldPendulum, max_episode_steps=200)
