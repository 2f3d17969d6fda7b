"""The control loop: act, step, record. Everything slow (network, weights) is the client's, on its own thread."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping

import numpy as np

from ..agents.base import Agent
from ..data.transition import PyTree, Source, Transition
from .client import Client
from .config import ActorConfig
from .environment import Environment, StepResult
from .policy import AgentPolicy
from .rollout import evaluate
from .seeds import episode_seed
from .watchdog import Watchdog

log = logging.getLogger(__name__)


class ActorLoop:
    """Runs episodes with the newest policy and hands every step to the client.

    Args:
        seed, stream: together with an episode's number they decide that episode.
        progress: what `progress` gave when an earlier run of this stream stopped.

    Attributes:
        episode: number of the episode that runs or comes next.
        steps_taken: environment steps so far, evaluation not counted.
        at_boundary: no episode is under way.
    """

    def __init__(
        self,
        environment: Environment,
        agent: Agent,
        client: Client,
        config: ActorConfig,
        seed: int,
        stream: int,
        progress: Mapping[str, int] | None = None,
    ):
        self.environment, self.client, self.config, self.seed, self.stream = environment, client, config, seed, stream
        progress = progress or {}
        self.episode, self.steps_taken, self.at_boundary = progress.get("episode", 0), progress.get("steps_taken", 0), True
        self._evaluate_at = progress.get("evaluate_at", 0)
        self._watchdog = Watchdog(environment, client, config)
        version, params = client.wait_for_weights(config.patience)
        self.policy = AgentPolicy(agent, params, version=version)
        self.judge = AgentPolicy(agent, params, deterministic=True, version=version)

    @property
    def progress(self) -> dict[str, int]:
        """Where this stream stands, for a run that goes on from here; true at a boundary."""
        return {"episode": self.episode, "steps_taken": self.steps_taken, "evaluate_at": self._evaluate_at}

    def run(self) -> None:
        """Acts until the learner says stop."""
        for _ in self.steps():
            pass

    def steps(self) -> Iterator[None]:
        """Yields after every environment step, so that a lock-step run can interleave the learner.

        However this ends, other than by the learner's wish, the environment is brought to a safe stop.
        """
        with self._watchdog.guarding(lambda: not self.at_boundary):
            yield from self._episodes()

    def _episodes(self) -> Iterator[None]:
        while not self.client.stopped:
            self._swap()
            if self.config.evaluate_every and self.steps_taken >= self._evaluate_at:
                self._evaluate_at += self.config.evaluate_every
                self._evaluate()
            if self.client.paused and not self.config.simulator:
                log.warning("The robot waits: the learner does not save its rows, or the spool's disk fails.")
            while self.client.paused:
                if self.client.stopped:
                    return
                time.sleep(0.02)
            yield from self._episode()

    def _episode(self) -> Iterator[None]:
        seed = episode_seed(self.seed, self.stream, self.episode, len(self.environment.tasks))
        self.policy.begin(seed)
        observation, over, step = self.environment.reset(seed), False, 0
        succeeded, total = False, 0.0
        while not over:
            self._watchdog.check(self.policy.version)
            action = self.policy(observation, step)
            result = self.environment.step(action)
            over, step = result.terminated or result.truncated, step + 1
            succeeded, total = succeeded or result.success, total + result.raw_reward
            self.steps_taken += 1
            self.at_boundary = over
            self.client.record(self._row(observation, action, result, step - 1))
            if over:
                self.episode += 1
                self._report(succeeded, total, step)
            observation = result.next_observation
            if self.config.swap == "step" and not over:
                self._swap()
            yield

    def _report(self, succeeded: bool, total: float, steps: int) -> None:
        """What the learner's metrics shall know of an episode that has ended."""
        shown = {"actor/success_rate": float(succeeded), "actor/episode_return": total}
        if self.environment.task:
            shown |= {f"{name}/{self.environment.task}": value for name, value in shown.items()}
        self.client.report(
            shown
            | {
                "actor/episode_length": float(steps),
                "actor/intervention_rate": 0.0,
                "actor/policy_lag": float(self.client.newest_version - self.policy.version),
                "actor/spool_rows": float(self.client.statistics()["held"]),
            }
        )

    def _row(self, observation: PyTree, action: np.ndarray, result: StepResult, step: int) -> Transition:
        """One step as the learner stores it, leaves without a leading axis."""
        return Transition(
            observation=observation,
            action=action,
            reward=np.float32(result.learner_reward),
            mask=np.float32(not result.terminated),
            next_observation=result.next_observation,
            truncated=np.bool_(result.truncated),
            mc_return=np.float32(-np.inf),
            quality=np.float32(1.0),
            source=np.int32(Source.ONLINE),
            intervened=np.bool_(False),
            policy_version=np.int32(self.policy.version),
            episode=np.int32(self.episode),
            step=np.int32(step),
        )

    def _swap(self) -> None:
        newest = self.client.newest_weights()
        if newest is not None and newest[0] != self.policy.version:
            self.policy.load(newest[1], newest[0])

    def _evaluate(self) -> None:
        """The deterministic policy on the evaluation stream's seeds; its steps are not learnt from."""
        newest = self.client.newest_weights()
        if newest is not None:
            self.judge.load(newest[1], newest[0])

        def watch(*_: object) -> None:
            self._watchdog.check(self.judge.version)

        shown = evaluate(self.environment, self.judge, self.seed, self.config.evaluation_episodes, on_step=watch)
        self.client.report(shown.scalars() | {"evaluation/environment_steps": float(self.steps_taken)})
