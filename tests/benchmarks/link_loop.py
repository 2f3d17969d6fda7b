"""The control loop's step time, at 100 steps a second, with a learner that is up, slow, or gone."""

import multiprocessing
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

import gymnasium as gym
import jax
import numpy as np
from actors import spooling_client
from learners import LearnerProcess
from marked_rows import AGENT, SCHEMA

from warmloop.actor.config import ActorConfig
from warmloop.actor.control_loop import ActorLoop
from warmloop.actor.environment.environment import EnvironmentConfig, make_environment
from warmloop.data.reward import RewardConfig

ROUNDS = 3
PERIOD = 0.01
WARM_STEPS = 200


class Still(gym.Env):
    """An environment that costs nothing: all that takes time is the loop."""

    observation_space = gym.spaces.Box(-1.0, 1.0, (39,), np.float32)
    action_space = gym.spaces.Box(-1.0, 1.0, (28,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        return np.zeros(39, np.float32), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        return np.zeros(39, np.float32), 0.0, False, False, {}


def step_times(process: LearnerProcess, seconds: float) -> dict[str, float]:
    """The step's 99th percentile in ms under each condition: the best of a few rounds, which take turns."""
    context = multiprocessing.get_context("spawn")
    ask, answers = context.Queue(), context.Queue()
    actor = context.Process(target=_act, args=(process.port, ask, answers))
    actor.start()
    answers.get(timeout=120)
    seen: dict[str, list[float]] = {"up": [], "slow": [], "gone": []}
    for _ in range(ROUNDS):
        for condition, times in seen.items():
            if condition == "gone":
                process.kill()
            ask.put(seconds / ROUNDS)
            while answers.empty():
                if condition == "slow":
                    _stutter(process)
                time.sleep(0.05)
            times.append(answers.get())
        process.start()
        time.sleep(3.0)  # the actor finds it again
    ask.put(None)
    actor.join(60)
    return {condition: min(times) for condition, times in seen.items()}


def _stutter(process: LearnerProcess) -> None:
    """The learner hangs for half a second."""
    process.process.send_signal(signal.SIGSTOP)
    time.sleep(0.5)
    process.process.send_signal(signal.SIGCONT)


def _act(port: int, ask: Any, answers: Any) -> None:
    jax.config.update("jax_cpu_enable_async_dispatch", False)  # as train_rlpd --actor does
    gym.register(SCHEMA.env_id, Still)
    environment = make_environment(EnvironmentConfig(SCHEMA.env_id, horizon=200, success="reward>=1"), RewardConfig())
    with tempfile.TemporaryDirectory() as folder:
        config = ActorConfig(patience=600.0)
        with spooling_client(port, "actor-0", Path(folder), config) as (client, _):
            steps = ActorLoop(environment, AGENT, client, config).steps()
            for _ in range(WARM_STEPS):
                next(steps)
            answers.put("ready")
            while (seconds := ask.get()) is not None:
                answers.put(_p99(steps, seconds))
            client.stop()


def _p99(steps: Any, seconds: float) -> float:
    durations, due = [], time.perf_counter()
    for _ in range(int(seconds / PERIOD)):
        start = time.perf_counter()
        next(steps)
        durations.append(time.perf_counter() - start)
        due += PERIOD
        time.sleep(max(0.0, due - time.perf_counter()))
    return float(np.percentile(durations, 99) * 1e3)
