"""Who acts, the policy or a hand that takes over, and who ends an episode: the one rule for the control loop and for recording.

A hand is an `Intervener` beside the environment (a device of `actor/teleop`, the teacher of `actor/intervention/teacher.py`), or sits in
the environment itself, which says so in the info of its steps:

    intervene_action                    HIL-SERL: was taken in the policy's place, in the environment's units
    is_intervention, teleop_action      gym-hil, LeRobot: the same, where the first is true; action_intervention is an older name
    next.success, rerecord_episode      gym-hil: the person's word on the episode
    rerecord_episode, terminate_episode LeRobot: the same
"""

from __future__ import annotations

import contextlib
import enum
import logging
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from ...data.errors import EnvironmentFault, WarmloopError
from ...data.reward import RewardConfig, return_bounds
from ...data.transition import PyTree
from ..bridge.info import is_true, key_of_persons_action
from ..environment.environment import Environment, StepResult

log = logging.getLogger(__name__)


class Signal(enum.Enum):
    """A person's word on the episode, which ends with the step that is taken next."""

    SUCCESS = "success"
    FAILURE = "failure"
    DISCARD = "discard"  # it is not to be kept
    RERECORD = "rerecord"  # nor this one; the same start comes again

    @property
    def unwanted(self) -> bool:
        """Whether the episode is not to be kept."""
        return self in (Signal.DISCARD, Signal.RERECORD)


class Command(NamedTuple):
    """What a hand wants at this step.

    Attributes:
        action: `[A]` in [-1, 1], in the policy's place; None while the policy acts.
        signal: its word on the episode; None for it to go on.
    """

    action: np.ndarray | None = None
    signal: Signal | None = None


class Intervener(Protocol):
    """A person's device or a scripted teacher. A call returns at once: what must be waited for is read on a thread of its own.

    Where it cannot go on, as with a device that was unplugged, it raises EnvironmentFault: nobody else may act in its place, so the episode
    ends. A method `ready()`, where it has one, is called before every reset, and raises while there still is no device.
    """

    def begin(self, seed: int) -> None:
        """An episode begins, whose randomness `seed` decides; what was said before it does not count."""
        ...

    def __call__(self, observation: PyTree, action: np.ndarray, step: int) -> Command:
        """What to do at step `step`, given its observation and the policy's action `[A]`."""
        ...

    def close(self) -> None:
        """Lets the device go."""
        ...


class Taken(NamedTuple):
    """One step that was taken.

    Attributes:
        action: `[A]` float32 in [-1, 1], the one that was executed.
        result: what it gave; success and the episode's end as the person has it.
        intervened: the action was not the policy's.
        signal: the person's word that ended the episode.
    """

    action: np.ndarray
    result: StepResult
    intervened: bool
    signal: Signal | None


class Control:
    """Takes the steps of an environment, each by the policy's action or by that of a hand.

    Attributes:
        intervened: of each of this episode's steps, whether a hand acted.
    """

    def __init__(self, environment: Environment, intervener: Intervener | None = None):
        self.environment, self.intervened = environment, list[bool]()
        self._intervener, self._said_clipped = intervener, False

    def begin(self, seed: int, episode: int = 0) -> PyTree:
        """Begins the episode that `seed` decides, as episode number `episode`; returns its first observation.

        A reset that fails is tried again, within the guard's budget of faults. Where twice it was the observation that was bad, one step of
        the action 0 follows, whose observation is the episode's first: some sensors are read anew by a step alone. Not where an episode's
        task is told by its reset, which gave nothing.
        """
        self.intervened, unseen = list[bool](), 0
        while True:
            try:
                return self._begun(seed, with_a_step=unseen > 1)
            except EnvironmentFault as fault:
                if self.environment.guard is None:
                    raise
                unseen += fault.observation is not None
                self.environment.guard.faults.meet(fault, episode, -1)

    def _begun(self, seed: int, with_a_step: bool) -> PyTree:
        ready = getattr(self._intervener, "ready", None)
        if ready is not None:  # before the robot moves
            ready()
        try:
            with self._watching("reset"):
                observation = self.environment.reset(seed)
        except EnvironmentFault as fault:
            if fault.observation is None or not with_a_step or self.environment.tasks.names:
                raise
            with self._watching("step"):
                result = self.environment.step(np.zeros(self.environment.spec.action_dim, np.float32))
            if result.terminated or result.truncated:
                raise
            observation = result.next_observation
        if self._intervener is not None:  # after the reset, which may take a robot a while
            self._intervener.begin(seed)
        return observation

    def _watching(self, what: str) -> contextlib.AbstractContextManager[None]:
        guard = self.environment.guard
        return contextlib.nullcontext() if guard is None else guard.watching(what)

    def step(self, observation: PyTree, action: np.ndarray, step: int) -> Taken:
        """Takes one step, by the policy's `action` `[A]` unless a hand has another.

        Raises:
            EnvironmentFault: the environment raised an exception, or a device is gone.
            WarmloopError: as `Environment.step` and the intervener, or the environment says that a hand acted, and not how.
        """
        command = Command() if self._intervener is None else self._intervener(observation, action, step)
        action = np.clip(np.asarray(action if command.action is None else command.action, np.float32), -1.0, 1.0)
        if command.action is not None:
            self.environment.drop_plan(action)
        with self._watching("step"):
            result = self.environment.step(action)
        if self.environment.guard is not None:
            self.environment.guard.faults.sound()
        replaced = self._replaced(result.info)
        result, said = _heard(result, self.environment.reward)
        signal = command.signal or said
        intervened = command.action is not None or replaced is not None
        self.intervened.append(intervened)
        return Taken(action if replaced is None else replaced, judged(result, signal, self.environment.reward), intervened, signal)

    def _replaced(self, info: Mapping[str, Any]) -> np.ndarray | None:
        """The action `[A]` in [-1, 1] that the environment took in the policy's place, if it did."""
        key = key_of_persons_action(info)
        return None if key is None else self._scaled(key, info)

    def _scaled(self, key: str, info: Mapping[str, Any]) -> np.ndarray:
        environment = self.environment
        name, count = f'Environment "{environment.config.id}"', environment.spec.action_dim
        try:
            given = np.asarray(info.get(key), np.float64)
        except (TypeError, ValueError):
            given = np.array(np.nan)
        if given.shape != (count,) or not np.isfinite(given).all():
            raise WarmloopError(
                f'{name} says that a person acted at step {environment.step_count}, and its info has as "{key}" {info.get(key)!r:.80}; '
                f"the {count} finite numbers of the action that was taken are needed, in the units of its action space."
            )
        scaled = environment.limits.scale(given)
        if not self._said_clipped and (np.abs(scaled) > 1.0 + 1e-6).any():
            self._said_clipped = True
            possible = (np.abs(environment.own_limits.scale(given)) <= 1.0 + 1e-6).all()
            log.warning(
                "%s: a person's action %s lies beyond the limits of the actions that are learnt, %s, and is recorded at them; %s.",
                *(name, given, environment.limits),
                "widen environment.action_low and action_high" if possible else "the action space ends there: let the device ask for less",
            )
        return np.clip(scaled, -1.0, 1.0).astype(np.float32)


def judged(result: StepResult, signal: Signal | None, reward: RewardConfig) -> StepResult:
    """The step as the person has it who gave `signal` with it.

    A success gets the reward of one and ends the episode: terminated where success does, truncated otherwise. A failure terminates it
    where no return is below 0, which is what the end is worth; else an early end would be something to strive for, and it is truncated.
    """
    if signal is None:
        return result
    if signal.unwanted:
        return result._replace(truncated=not result.terminated)
    success = signal is Signal.SUCCESS
    ends = reward.terminate_on_success if success else return_bounds(reward)[0] >= 0
    terminated = result.raw_terminated or ends
    paid = float(reward(result.raw_reward, success))
    return result._replace(success=success, terminated=terminated, truncated=not terminated, learner_reward=paid)


def takeovers(intervened: Sequence[bool] | np.ndarray) -> dict[str, float]:
    """What the metrics say of an episode's steps `[T]`: the share that a hand took, how often it began to, and the mean length."""
    flags = np.asarray(intervened, bool)
    begun = int(flags[:1].sum() + np.count_nonzero(flags[1:] & ~flags[:-1]))
    return {
        "actor/intervention_rate": float(flags.mean()) if len(flags) else 0.0,
        "actor/interventions": float(begun),
        "actor/intervention_length": float(flags.sum() / begun) if begun else 0.0,
    }


def _heard(result: StepResult, reward: RewardConfig) -> tuple[StepResult, Signal | None]:
    """What a person said at the environment's own device, and the step without the termination by which the environment passes it on."""
    info = result.info
    if is_true(info, "next.success"):
        return result, Signal.SUCCESS
    again = is_true(info, "rerecord_episode")
    over = ("next.success" in info and result.raw_terminated) or is_true(info, "terminate_episode")
    ended = "is_intervention" in info and over and not result.success
    if not (again or ended):
        return result, None
    own = result._replace(raw_terminated=False, terminated=result.success and reward.terminate_on_success)
    return own, Signal.RERECORD if again else Signal.FAILURE
