"""The control loop: act, step, record. Everything slow (network, weights) is the client's, on its own thread."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Generator, Iterator

import numpy as np

from ..agents.base import Agent
from ..data.episode import Episode
from ..data.errors import EnvironmentFault
from ..data.transition import PyTree, Source, Transition
from ..data.wire.episode_report import told
from .config import ActorConfig
from .course import Beside as Beside
from .course import Course, Move
from .course import EpisodeStream as EpisodeStream
from .delivery.client import Client
from .endings.success import check_unattended
from .environment.environment import Environment, StepResult
from .environment.guard import Guard
from .episodes.episode_lines import Ended, EpisodeLines
from .episodes.episode_rows import EpisodeRows
from .episodes.rollout import evaluate
from .films.clips import Clips
from .intervention.intervention import Control, Signal, Taken, takeovers
from .operating.actor_desk import BETWEEN, EVALUATING, PAUSED, WAITING, ActorDesk
from .policies.policy import AgentPolicy, RandomPolicy
from .policies.shared_policy import Ask
from .seeds import episode_seed
from .watchdog import Interrupted, Watchdog

PAUSE_SECONDS = 0.001  # before looking again whether the learner lets a simulator go on

log = logging.getLogger(__name__)


class ActorLoop:
    """Runs the episodes of a stream with the newest policy and hands every step to the client.

    Raises:
        WarmloopError: it is to evaluate, and only a person could tell a success.

    Attributes:
        episode: number of the episode that runs or comes next.
        steps_taken: environment steps so far, evaluation not counted.
        at_boundary: no episode is under way.
        ask: what the policy is asked next; None where it is not.
    """

    def __init__(
        self,
        environment: Environment,
        agent: Agent,
        client: Client,
        config: ActorConfig,
        stream: EpisodeStream | None = None,
        beside: Beside | None = None,
    ):
        stream, beside = stream or EpisodeStream(), beside or Beside()
        if config.evaluate_every:
            check_unattended(environment.config.success, f"actor.evaluate_every={config.evaluate_every}")
        self.environment, self.client, self.config = environment, client, config
        self.seed, self.stream, self._course = stream.seed, stream.number, stream.course or Course(stream.progress)
        self.episode, self.at_boundary = self._course.next_episode(), True
        self.ask: Ask | None = None
        self._held = config.simulator and not environment.can_rest
        self._watchdog = Watchdog(client, config)
        self.guard = Guard(environment, config, client.actor_id, beside.quarantine)
        self.guard.faults.check = self._watchdog.leave_if_told
        self._clips = beside.clips or Clips(environment)
        self._desk = beside.desk or ActorDesk()
        self._desk.attach(environment, client, config.hold_episodes, self._clips.last_frame)
        intervener = beside.intervener if beside.desk is None else self._desk.beside(beside.intervener)
        self._control, self._rows = Control(environment, intervener), EpisodeRows(client, config.hold_episodes)
        version, params = client.wait_for_weights(config.patience)
        self.policy = beside.seat or AgentPolicy(agent, params, config.deterministic, version)
        judges = config.evaluate_every or beside.desk is not None
        self.judge = AgentPolicy(agent, params, deterministic=True, version=version) if judges else None
        self._random = RandomPolicy(environment.spec.action_dim)
        self._lines = self._course.lines = self._course.lines or EpisodeLines(log, client.actor_id)
        self._began = 0.0  # when the episode did
        self._acted = -1  # the newest version that has acted in this episode; -1 where random actions did

    @property
    def progress(self) -> dict[str, int]:
        """Where this stream stands, for a run that goes on from here; true at a boundary."""
        return {"episode": self.episode, "steps_taken": self.steps_taken, "evaluate_at": self._course.evaluate_at}

    @property
    def steps_taken(self) -> int:
        return self._course.steps_taken

    @property
    def _random_now(self) -> bool:
        return self.steps_taken < self.config.random_steps and self.policy.version <= 0 and self.config.simulator

    def run(self) -> None:
        """Acts until the learner says stop."""
        for _ in self.steps():
            pass

    def steps(self) -> Iterator[None]:
        """Yields after every environment step, so that a lock-step run can interleave the learner.

        However this ends, the environment is brought to a safe stop.
        """
        with contextlib.suppress(Interrupted), self.guard:
            for move in self.moves():
                if move is Move.WAITS:
                    time.sleep(PAUSE_SECONDS)
                elif move is Move.STEPPED:
                    yield

    def moves(self) -> Generator[Move, None, None]:
        """The same by single moves, within the guard: yields before the policy is called, after a step, and while there is none to take."""
        try:
            yield from self._episodes()
        finally:
            self._rows.release()  # of an episode that was broken off; nobody has said that they are not wanted
            self._lines.flush()

    def _episodes(self) -> Iterator[Move]:
        course = self._course
        while not self.client.stopped:
            self._swap()
            if self.config.evaluate_every and course.steps_taken >= course.evaluate_at:
                self._evaluate(self.config.evaluation_episodes)
                course.evaluate_at += self.config.evaluate_every
            yield from self._as_the_page_says()
            if self.client.paused and not self.config.simulator:
                self.guard.rest("the learner does not save its rows, or the spool's disk fails, so the robot waits")
            while (self.client.paused or course.evaluating) and not self.client.stopped:
                self._desk.doing = WAITING
                yield Move.WAITS
            if not self.client.stopped:
                yield from self._episode()

    def _as_the_page_says(self) -> Iterator[Move]:
        """Pauses and evaluates for the person at the operator's page."""
        desk, began = self._desk, time.monotonic()
        while desk.words.paused and not self.client.stopped:
            if desk.doing != PAUSED:
                desk.doing = PAUSED
                log.info("%s pauses before episode %d, as the operator's page says.", self.client.actor_id, self.episode)
                self.guard.rest("a person at the operator's page pauses the run", logging.INFO)
            yield Move.WAITS
        if desk.doing == PAUSED:
            self._watchdog.stood(time.monotonic() - began)
        desk.doing = BETWEEN
        if (episodes := desk.words.evaluation()) and not self.client.stopped:
            self._evaluate(episodes)

    def _episode(self) -> Iterator[Move]:
        seed = episode_seed(self.seed, self.stream, self.episode, len(self.environment.tasks))
        self._began = time.monotonic()
        self.policy.begin(seed)
        self._random.begin(seed)
        observation, over, step = self._control.begin(seed, self.episode), False, 0
        self._clips.begin()
        self._desk.begun(self.episode)
        succeeded, total = False, 0.0
        while not over:
            self._watchdog.check(self.policy.version)
            random = self._random_now
            self.ask = None if random else Ask(observation, step)
            yield Move.ACTS
            action = (self._random if random else self.policy)(observation, step)
            self._acted = -1 if random or (step and self._acted < 0) else self.policy.version
            try:
                taken = self._control.step(observation, action, step)
            except EnvironmentFault as fault:
                self._break_off(fault, step, observation, action)
                return
            if taken.intervened:
                self.policy.drop_plan(taken.action)
            result = taken.result
            over, step = result.terminated or result.truncated, step + 1
            succeeded, total = succeeded or result.success, total + result.raw_reward
            self._course.steps_taken += 1
            self.at_boundary = over
            self._rows.add(self._row(observation, taken, step - 1))
            self._clips.add(result.next_observation, taken.intervened)
            self._desk.stepped(step, taken, self._acted)
            if over:
                self._end(taken.signal, succeeded and taken.signal is not Signal.FAILURE, total, step)
            observation = result.next_observation
            while self._held and not over and (self.client.paused or self.client.ahead) and not self.client.stopped:
                yield Move.WAITS
            if self.config.swap == "step" and not over:
                self._swap()
            yield Move.STEPPED
            if self._held and not over and self.client.spent:
                self.at_boundary = True
                return

    def _break_off(self, fault: EnvironmentFault, step: int, observation: PyTree, action: np.ndarray) -> None:
        """Ends an episode in which a fault came instead of step `step`. The rows before it stay: the learner closes them as truncated, with
        the bootstrap of the last one, when the next episode's come."""
        number, self.at_boundary = self.episode, True
        self._rows.release()
        self._clips.begin()
        if step > 0:
            self.episode = self._course.next_episode()
        self._desk.ended(number, "fault", None)
        self.client.report({"actor/faults": 1.0} | told(number, "fault", step))
        self.guard.faults.meet(fault, number, step, observation, action)

    def _end(self, signal: Signal | None, succeeded: bool, total: float, steps: int) -> None:
        """Hands an episode's rows over and tells of it, unless it is not wanted."""
        if signal is not None and signal.unwanted:
            if self.config.hold_episodes:
                self._rows.drop()
                log.info(
                    "%s episode %d: %s",
                    self.client.actor_id,
                    self.episode,
                    "discarded" if signal is Signal.DISCARD else "to be recorded again",
                )
                unwanted = "discarded" if signal is Signal.DISCARD else "recorded again"
                self._desk.ended(self.episode, unwanted, signal)
                self.client.report(told(self.episode, unwanted, steps))
                if signal is Signal.DISCARD:
                    self.episode = self._course.next_episode()
                return
            log.warning(
                "The episode stays, as a truncated one: its rows are with the learner. Set --config.actor.hold_episodes to discard."
            )
        self._rows.release()
        self._clips.end_training(self.episode, succeeded)
        self._tell(succeeded, total, steps)
        outcome, number = "success" if succeeded else "failure" if signal is Signal.FAILURE else "no success", self.episode
        self._desk.ended(number, outcome, signal)
        self.episode = self._course.next_episode()
        self._report(succeeded, total, steps, told(number, outcome, steps))

    def _tell(self, succeeded: bool, total: float, steps: int) -> None:
        """Says the episode that has ended."""
        hand = takeovers(self._control.intervened)
        begun, by_hand = int(hand["actor/interventions"]), round(hand["actor/intervention_rate"] * steps)
        seconds = time.monotonic() - self._began
        self._lines.ended(Ended(self.episode, succeeded, total, steps, begun, by_hand, self._acted, seconds))

    def _report(self, succeeded: bool, total: float, steps: int, episode: dict[str, float]) -> None:
        """What the learner's metrics shall know of an episode that has ended, and its own line."""
        shown = {"actor/success_rate": float(succeeded), "actor/episode_return": total}
        if self.environment.task:
            shown |= {f"{name}/{self.environment.task}": value for name, value in shown.items()}
        self.client.report(
            shown
            | takeovers(self._control.intervened)
            | {
                "actor/episode_length": float(steps),
                "actor/faults": 0.0,
                "actor/policy_lag": float(max(self.client.newest_version - self.policy.version, 0)),  # older ones may act again
                "actor/policy_version": float(self._acted),
                "actor/weights_age": self.client.weights_age,
                "actor/spool_rows": float(self.client.statistics()["held"]),
            }
            | episode
        )

    def _row(self, observation: PyTree, taken: Taken, step: int) -> Transition:
        """One step as the learner stores it, leaves without a leading axis."""
        result = taken.result
        return Transition(
            observation=observation,
            action=taken.action,
            reward=np.float32(result.learner_reward),
            mask=np.float32(not result.terminated),
            next_observation=result.next_observation,
            truncated=np.bool_(result.truncated),
            mc_return=np.float32(-np.inf),
            quality=np.float32(1.0),
            source=np.int32(Source.INTERVENTION if taken.intervened else Source.ONLINE),
            intervened=np.bool_(taken.intervened),
            policy_version=np.int32(self.policy.version),
            episode=np.int32(self.episode),
            step=np.int32(step),
        )

    def _swap(self) -> None:
        newest = self.client.newest_weights()
        if newest is not None and newest[0] != self.policy.version:
            self.policy.load(newest[1], newest[0])

    def _evaluate(self, episodes: int) -> None:
        """The deterministic policy on the evaluation stream's seeds; its steps are not learnt from. Raises Interrupted where a signal came:
        a run that goes on from here evaluates anew."""
        began, newest, judge = time.monotonic(), self.client.newest_weights(), self.judge
        assert judge is not None, "there is one where evaluations are wanted"
        self._desk.doing = EVALUATING
        if newest is not None:
            judge.load(newest[1], newest[0])

        def watch(step: int, result: StepResult, observation: PyTree, action: np.ndarray) -> None:
            self._watchdog.check(judge.version)
            if step == 0:  # of an episode that a fault had broken off, too
                self._clips.begin()
            self._clips.add(result.next_observation)
            self._desk.saw()

        def over(episode: Episode) -> None:
            self._clips.end_evaluation(self.steps_taken, episode.number, episode.succeeded)
            if self.client.interrupted:
                raise Interrupted

        shown = evaluate(self.environment, judge, self.seed, episodes, over, watch)
        about = {"evaluation/environment_steps": float(self.steps_taken), "evaluation/policy_version": float(judge.version)}
        self.client.report(shown.scalars() | about)
        self._desk.doing = BETWEEN
        self._lines.evaluated(self.steps_taken, shown.scalars(), judge.version, time.monotonic() - began)
