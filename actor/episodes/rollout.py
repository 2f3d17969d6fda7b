"""Whole episodes of a policy in an environment: to record them, and to evaluate."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Callable, Generator, Iterator
from typing import NamedTuple, TypeVar

import jax
import numpy as np

from ...data.episode import Episode, make_steps
from ...data.errors import EnvironmentFault, WarmloopError
from ...data.transition import PyTree, Source, without
from ..endings.success import check_unattended
from ..environment.environment import Environment, StepResult
from ..environment.guard import guarded
from ..intervention.intervention import Control, Intervener, Signal, Taken
from ..policies.policy import Policy, drop_plan
from ..policies.shared_policy import Ask
from ..seeds import EVALUATION_STREAM, episode_seed
from .abreast import Abreast
from .evaluation import Evaluation as Evaluation
from .evaluation import Summary

log = logging.getLogger(__name__)

OnStep = Callable[[int, StepResult, PyTree, np.ndarray], None]
T = TypeVar("T")


class Recording(NamedTuple):
    """An episode, and the word of the person at the device that ended it, if one did."""

    episode: Episode
    signal: Signal | None


@dataclasses.dataclass(frozen=True)
class EpisodePlan:
    """As what an episode is recorded, and when it is cut.

    Attributes:
        number: of the episode.
        source: kind of data it is recorded as, but for the steps of an intervention.
        stop_at_success: cut it after its first successful step.
        after_success: cut it that many steps later; see `Ending`.
        unseen: record the parts of observations that the policy does not see, too.
    """

    number: int = 0
    source: Source = Source.ONLINE
    stop_at_success: bool = False
    after_success: int = 0
    unseen: bool = False


WHOLE = EpisodePlan()  # as an environment ends it


def run_episode(
    environment: Environment,
    policy: Policy,
    seed: int,
    plan: EpisodePlan = WHOLE,
    *,
    on_step: OnStep | None = None,
    intervener: Intervener | None = None,
) -> Episode:
    """One episode, recorded as `record_episode` does."""
    return record_episode(environment, policy, seed, plan, on_step=on_step, intervener=intervener).episode


def record_episode(
    environment: Environment,
    policy: Policy,
    seed: int,
    plan: EpisodePlan = WHOLE,
    *,
    on_step: OnStep | None = None,
    intervener: Intervener | None = None,
) -> Recording:
    """One episode, as `recording` records it, of an environment that is guarded meanwhile."""
    with guarded(environment):
        return played(recording(environment, policy, seed, plan, on_step=on_step, intervener=intervener))


def recording(
    environment: Environment,
    policy: Policy,
    seed: int,
    plan: EpisodePlan = WHOLE,
    *,
    on_step: OnStep | None = None,
    intervener: Intervener | None = None,
) -> Generator[Ask, None, Recording]:
    """One episode of a guarded environment, which yields before each call of the policy.

    It is recorded as the environment gave it: its own rewards, mask 0 only where it terminated itself, and observations without the task's
    code, which the policy sees. A person's failure is thus a truncation.

    A fault of the environment breaks the episode off, and it is repeated: a recording is whole, and an evaluation counts nothing else.

    `data.reward.apply_reward` makes the learner's rewards and endings of it, under any configuration.

    Args:
        seed: decides the episode, together with the policy's parameters.
        plan: as what it is recorded, and when it is cut.
        on_step: called after every step with its number, the result, the observation before it and the action.
        intervener: who may act in the policy's place.
    """
    control, guard = Control(environment, intervener), environment.guard
    assert guard is not None, "an environment is guarded while it is used"
    while True:
        attempt = _Attempt(control, policy, Ending(environment, plan.stop_at_success, plan.after_success), on_step)
        try:
            yield from attempt.run(seed, plan.number)
            break
        except EnvironmentFault as fault:
            guard.faults.meet(fault, plan.number, len(attempt.taken), attempt.observations[-1])
    kept = attempt.observations if plan.unseen else [without(whole, environment.config.unseen) for whole in attempt.observations]
    return Recording(_recorded(environment, kept, attempt.taken, plan.source, plan.number), attempt.taken[-1].signal)


def played(episode: Generator[Ask, None, T]) -> T:
    """What an episode gives that is played alone."""
    while True:
        try:
            next(episode)
        except StopIteration as end:
            return end.value


class _Attempt:
    """An episode while it is recorded: the steps `[T]` taken, and the whole observations `[T + 1]`."""

    def __init__(self, control: Control, policy: Policy, ending: Ending, on_step: OnStep | None):
        self._control, self._policy, self._ending, self._on_step = control, policy, ending, on_step
        self.taken, self.observations = list[Taken](), list[PyTree]()

    def run(self, seed: int, episode: int) -> Iterator[Ask]:
        self._policy.begin(seed)
        observation, over = self._control.begin(seed, episode), False
        self.observations.append(self._control.environment.whole)
        while not over:
            number = len(self.taken)
            yield Ask(observation, number)
            step, over = self._ending(self._control.step(observation, self._policy(observation, number), number))
            if step.intervened:
                drop_plan(self._policy, step.action)
            self.taken.append(step)
            if self._on_step is not None:
                self._on_step(number, step.result, observation, step.action)
            observation = step.result.next_observation
            self.observations.append(self._control.environment.whole)


class Ending:
    """When a recorded episode is over: where the environment or a person's word ends it, or at its first success where it is cut there.

    With `after_success` it goes on for that many steps, so that there are frames enough that show success. In them a person's failure
    and success keys say what the steps from there on show, and a simulator that terminated because of the success is stepped on.
    """

    def __init__(self, environment: Environment, stop_at_success: bool = False, after_success: int = 0):
        self._environment, self._cut, self._after = environment, stop_at_success, after_success
        self._left: int | None = None  # steps to come, once there was a success
        self._said: bool | None = None  # by a person, of the steps from there on

    def __call__(self, taken: Taken) -> tuple[Taken, bool]:
        """The step as it is recorded, and whether it is the last."""
        result, signal = taken.result, taken.signal
        first_word = self._left is None and signal is Signal.FAILURE
        if not self._after or first_word or (signal is not None and signal.unwanted):
            return taken, result.terminated or result.truncated or (self._cut and result.success)
        self._said = self._said if signal is None else signal is Signal.SUCCESS
        success = result.success if self._said is None else self._said
        if self._left is not None:
            self._left -= 1
        elif success:
            self._left = self._after
        over = self._left == 0 or (self._environment.over and not (success and result.raw_terminated))
        if not over and self._environment.over:
            self._environment.go_on()
            result = result._replace(raw_terminated=False)
        return taken._replace(result=result._replace(success=success)), over


def _recorded(environment: Environment, observations: list[PyTree], taken: list[Taken], source: Source, number: int) -> Episode:
    """The episode of steps `[T]` that were taken, and the observations `[T + 1]` before, between and after them."""
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *observations)
    intervened = np.array([step.intervened for step in taken])
    steps = make_steps(
        jax.tree.map(lambda leaf: leaf[:-1], stacked),
        np.stack([step.action for step in taken]),
        np.array([step.result.raw_reward for step in taken], np.float32),
        jax.tree.map(lambda leaf: leaf[1:], stacked),
        np.array([step.result.raw_terminated for step in taken]),
        source=source,
        episode=number,
        intervened=intervened,
    )
    steps = steps.replace(source=np.where(intervened, np.int32(Source.INTERVENTION), steps.source))
    signalled = environment.signalled or any(step.signal is not None for step in taken)
    success = np.array([step.result.success for step in taken]) if signalled else None
    return Episode(steps, success, environment.config.id, number, source, environment.task)


def evaluate(
    environment: Environment,
    policy: Policy,
    seed: int,
    episodes: int,
    progress: Callable[[Episode], None] | None = None,
    on_step: OnStep | None = None,
) -> Evaluation:
    """Runs `episodes` episodes from the evaluation stream of `seed`; `progress` is called after each one, `on_step` as by `run_episode`.

    Raises:
        WarmloopError: `episodes` is less than 1, or only a person could tell a success.
    """
    return evaluate_abreast(Abreast([environment], [policy]), seed, episodes, progress, on_step)


def evaluate_abreast(
    abreast: Abreast, seed: int, episodes: int, progress: Callable[[Episode], None] | None = None, on_step: OnStep | None = None
) -> Evaluation:
    """`evaluate` in several environments at once; `progress` and `on_step` are called as the episodes go on, in any order."""
    first = abreast.environments[0]
    check_unattended(first.config.success, "An evaluation")
    if episodes < 1:
        raise WarmloopError(f"An evaluation needs at least 1 episode, and {episodes} were asked for.")

    def episode(place: int, number: int) -> Generator[Ask, None, Episode]:
        environment, policy = abreast.environments[place], abreast.policies[place]
        chosen = episode_seed(seed, EVALUATION_STREAM, number, len(environment.tasks))
        recorded = yield from recording(environment, policy, chosen, EpisodePlan(number), on_step=on_step)
        return recorded.episode

    found = dict[int, Summary]()
    with contextlib.ExitStack() as guards:
        for environment in abreast.environments:
            guards.enter_context(guarded(environment))
        for number, one in abreast.play(range(episodes), episode):
            found[number] = _summary(one, number)
            if progress is not None:
                progress(one)
    return Evaluation(*map(np.array, zip(*(found[number] for number in range(episodes)), strict=True)))


def _summary(episode: Episode, number: int) -> Summary:
    if episode.steps.intervened.any():
        log.warning("In episode %d of an evaluation a hand acted in the environment: it does not show the policy alone.", number)
    final = episode.succeeded if episode.success is None else bool(episode.success[-1])
    return Summary(episode.succeeded, final, episode.undiscounted_return, len(episode), episode.task)
