"""A line to walk on, hands that do as they are told, and an actor's loop with its learner's end in the same process."""

import itertools
from collections.abc import Mapping

import gymnasium as gym
import jax
import numpy as np

from warmloop.actor.config import ActorConfig
from warmloop.actor.control_loop import ActorLoop, Beside, EpisodeStream
from warmloop.actor.delivery.client import Client, Introduction
from warmloop.actor.environment.environment import EnvironmentConfig, make_environment
from warmloop.actor.intervention import Command
from warmloop.agents import SAC, SACConfig
from warmloop.data.reward import RewardConfig
from warmloop.data.transition import concatenate, example
from warmloop.data.wire.direct import DirectStub
from warmloop.data.wire.row_schema import Schema
from warmloop.learner.receiving.intake import Intake
from warmloop.learner.receiving.service import Servicer

LINE = "WarmloopTest/Line-v0"
STEPS = 8  # of an episode


class Line(gym.Env):
    """The first action, in [0, 4] with 2 for standing still, moves along a line; at 4 or beyond is success. The second does nothing.

    `said` are infos that it adds, by the step; those under -1 at every step. `ends` is whether success terminates it, `signals` whether
    its info has success at all.
    """

    observation_space = gym.spaces.Box(-np.inf, np.inf, (3,), np.float32)
    action_space = gym.spaces.Box(np.array([0, -1], np.float32), np.array([4, 1], np.float32))

    def __init__(self, said=None, ends=False, signals=True, terminates_at=-1):
        self.said, self.ends, self.signals, self.terminates_at = said or {}, ends, signals, terminates_at

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.count = float(self.np_random.uniform(-1, 0)), 0
        return self._observation(), {}

    def step(self, action):
        self.place += 0.5 * (float(action[0]) - 2.0)
        success = self.place >= 4.0
        info = ({"success": success} if self.signals else {}) | self.said.get(-1, {}) | self.said.get(self.count, {})
        self.count += 1
        return self._observation(), 1.0, (success and self.ends) or self.count == self.terminates_at, False, info

    def _observation(self):
        return np.array([self.place, self.count, 0.0], np.float32)


gym.register(LINE, lambda **kwargs: Line(**kwargs), max_episode_steps=STEPS)


class Told:
    """An intervener with a command for some of the steps of each episode, the last list of commands for all further ones."""

    def __init__(self, *episodes: Mapping[int, Command]):
        self.episodes, self.seeds, self.seen = episodes, list[int](), list[np.ndarray]()

    def begin(self, seed):
        self.seeds.append(seed)

    def __call__(self, observation, action, step):
        self.seen.append(np.array(action))
        return self.episodes[min(len(self.seeds), len(self.episodes)) - 1].get(step, Command())

    def close(self):
        pass


class LockStep:
    """An actor's loop with the real client, and the learner's intake, in turn."""

    def __init__(
        self, config=None, intervener=None, reward=None, settings=None, environment=None, seed=0, quarantine=None, agent=None, desk=None
    ):
        self.environment = make_environment(environment or EnvironmentConfig(LINE, settings or {}), reward or RewardConfig())
        spec = self.environment.spec
        agent = agent or SAC(SACConfig(hidden=(8,), ensemble=2, utd=1, batch_size=4), spec)
        schema = Schema.of(spec, self.environment.config.id)
        self.intake = Intake(schema)
        self.intake.publish(0, agent.actor_params(agent.init(jax.random.key(0), example(spec))))
        introduction = Introduction(schema, agent, "actor-0")
        self.client = Client(DirectStub(Servicer(self.intake)), introduction, config or ActorConfig(), background=False)
        beside = Beside(intervener, quarantine=quarantine, desk=desk)
        self.loop = ActorLoop(self.environment, agent, self.client, config or ActorConfig(), EpisodeStream(seed), beside)
        self.waiting = list[int]()  # rows that had come, after each step

    def run(self, episodes):
        """Runs so many episodes, discarded ones counted too, and returns the rows `[T]` of each that came, and the reports."""
        steps, rows, ended = self.loop.steps(), [], 0
        while ended < episodes:
            next(steps)
            ended += self.loop.at_boundary
            rows += [chunk.rows for chunk in self.intake.take(10_000)]
            self.waiting.append(sum(len(part.reward) for part in rows))
        steps.close()
        return self.split(rows), [dict(report.scalars) for report in self.intake.reports()]

    @staticmethod
    def split(parts):
        """The rows of each episode, in the order they came."""
        if not parts:
            return []
        rows = concatenate(parts)
        starts = [*np.flatnonzero(rows.step == 0), len(rows.reward)]
        return [jax.tree.map(lambda leaf, a=a, b=b: leaf[a:b], rows) for a, b in itertools.pairwise(starts)]
