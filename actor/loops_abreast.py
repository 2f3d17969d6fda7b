"""An actor with several simulators: an `ActorLoop` for each, whose policy acts in all of them by one call.

Each simulator has a client and a stream of rows of its own, so that nothing of one episode is ever mixed with another's. They share the
numbers of the episodes, the policy and the evaluations.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ..agents.base import Agent
from ..data.episode import Episode
from ..data.transition import PyTree
from .config import ActorConfig
from .control_loop import PAUSE_SECONDS, ActorLoop
from .course import Beside, Course, EpisodeStream, Move
from .delivery.client import Client
from .endings.success import check_unattended
from .environment.environment import Environment, StepResult
from .episodes.abreast import Abreast, check_several
from .episodes.episode_lines import EpisodeLines
from .episodes.rollout import evaluate_abreast
from .policies.shared_policy import Ask, SharedPolicy
from .watchdog import Interrupted, Watchdog

log = logging.getLogger(__name__)


class LoopsAbreast:
    """See the module.

    Args:
        environments: N simulators of one kind.
        clients: N, the first of which fetches the weights for all.

    Raises:
        WarmloopError: the environments may be robots; or it is to evaluate, and only a person could tell a success.
    """

    def __init__(
        self,
        environments: Sequence[Environment],
        agent: Agent,
        clients: Sequence[Client],
        config: ActorConfig,
        stream: EpisodeStream | None = None,
        quarantine: Path | None = None,
    ):
        check_several(environments[0], len(environments))
        if config.evaluate_every:
            check_unattended(environments[0].config.success, f"actor.evaluate_every={config.evaluate_every}")
        stream = stream or EpisodeStream()
        self._client, self._config, self._seed = clients[0], config, stream.seed
        self._course = stream.course or Course(stream.progress)
        self._lines = self._course.lines = EpisodeLines(log, clients[0].actor_id)
        version, params = clients[0].wait_for_weights(config.patience)
        self._shared = SharedPolicy(agent, len(environments), config.deterministic)
        self._judge = SharedPolicy(agent, len(environments), deterministic=True)
        for policy in (self._shared, self._judge):
            policy.load(params, version)
        self._watchdog = Watchdog(clients[0], config)
        self._evaluated = Abreast(environments, self._judge.seats, self._judge.look)
        own, stream = dataclasses.replace(config, evaluate_every=0), dataclasses.replace(stream, course=self._course)
        self.loops = [
            ActorLoop(environment, agent, client, own, stream, Beside(quarantine=quarantine, seat=seat))
            for environment, client, seat in zip(environments, clients, self._shared.seats, strict=True)
        ]

    def run(self) -> None:
        """Acts until the learner says stop."""
        for _ in self.rounds():
            pass

    def rounds(self) -> Iterator[None]:
        """Yields after every round, in which each environment took a step or waited."""
        with contextlib.suppress(Interrupted), contextlib.ExitStack() as stack:
            for loop in self.loops:
                stack.enter_context(loop.guard)
            moves = [stack.enter_context(contextlib.closing(loop.moves())) for loop in self.loops]
            stands = dict.fromkeys(range(len(self.loops)), Move.WAITS)
            while stands:
                self._evaluate_where_due(stands)
                for place in list(stands):
                    self._advance(place, moves[place], stands)
                self._shared.look(self._asks(stands))
                if all(move is Move.WAITS for move in stands.values()):
                    time.sleep(PAUSE_SECONDS)
                yield

    @staticmethod
    def _advance(place: int, moves: Iterator[Move], stands: dict[int, Move]) -> None:
        """Lets a loop go on to where it acts or waits next, or to its end."""
        for move in moves:
            if move is not Move.STEPPED:
                stands[place] = move
                return
        del stands[place]

    def _asks(self, stands: dict[int, Move]) -> dict[int, Ask]:
        acting = (place for place, move in stands.items() if move is Move.ACTS)
        return {place: ask for place in acting if (ask := self.loops[place].ask) is not None}

    def _evaluate_where_due(self, stands: dict[int, Move]) -> None:
        """Evaluates in all environments, once the episodes that run have ended."""
        course, every = self._course, self._config.evaluate_every
        if not every or course.steps_taken < course.evaluate_at or self._client.stopped:
            return
        course.evaluating = True
        if any(move is Move.ACTS or not self.loops[place].at_boundary for place, move in stands.items()):
            return
        self._evaluate()
        course.evaluate_at += every
        course.evaluating = False

    def _evaluate(self) -> None:
        """The deterministic policy on the evaluation stream's seeds; its steps are not learnt from."""
        began, newest = time.monotonic(), self._client.newest_weights()
        if newest is not None:
            self._judge.load(newest[1], newest[0])
        version = self._judge.versions[0]

        def watch(step: int, result: StepResult, observation: PyTree, action: np.ndarray) -> None:
            self._watchdog.check(version)

        def over(episode: Episode) -> None:
            if self._client.interrupted:
                raise Interrupted

        shown = evaluate_abreast(self._evaluated, self._seed, self._config.evaluation_episodes, over, watch)
        about = {"evaluation/environment_steps": float(self._course.steps_taken), "evaluation/policy_version": float(version)}
        self._client.report(shown.scalars() | about)
        self._lines.evaluated(self._course.steps_taken, shown.scalars(), version, time.monotonic() - began)
