"""Whole episodes of a policy in an environment: to record them, and to evaluate."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import jax
import numpy as np

from ..data.episode import Episode, make_steps
from ..data.errors import WarmloopError
from ..data.transition import PyTree, Source
from .environment import Environment, StepResult
from .policy import Policy
from .seeds import EVALUATION_STREAM, episode_seed

OnStep = Callable[[int, StepResult, PyTree, np.ndarray], None]


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What N episodes of a policy showed.

    Attributes:
        success: `[N]` bool, success at any step of the episode.
        final_success: `[N]` bool, success at its last step.
        returns: `[N]` float64, undiscounted sums of the environment's own reward.
        lengths: `[N]` int64, steps.
        tasks: `[N]` names of the episodes' tasks; "" where there is a single, nameless one.
    """

    success: np.ndarray
    final_success: np.ndarray
    returns: np.ndarray
    lengths: np.ndarray
    tasks: np.ndarray

    @property
    def success_rate(self) -> float:
        return float(self.success.mean())

    @property
    def final_success_rate(self) -> float:
        return float(self.final_success.mean())

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % Wilson interval of the success rate."""
        return wilson(int(self.success.sum()), len(self.success))

    @property
    def mean_return(self) -> float:
        return float(self.returns.mean())

    @property
    def mean_length(self) -> float:
        return float(self.lengths.mean())

    @property
    def by_task(self) -> dict[str, Evaluation]:
        """The same of each named task, in the order of their first episodes."""
        names = [name for name in dict.fromkeys(self.tasks.tolist()) if name]
        fields = dataclasses.fields(self)
        return {name: Evaluation(*(getattr(self, field.name)[self.tasks == name] for field in fields)) for name in names}

    def scalars(self) -> dict[str, float]:
        """The means as metrics, over all episodes and of each task: `evaluation/success_rate`, `evaluation/success_rate/TASK`, …"""
        low, high = self.interval
        shown = {
            "evaluation/success_rate": self.success_rate,
            "evaluation/success_low": low,
            "evaluation/success_high": high,
            "evaluation/episode_return": self.mean_return,
            "evaluation/episode_length": self.mean_length,
            "evaluation/episodes": float(len(self.success)),
        }
        for name, part in self.by_task.items():
            shown |= {f"evaluation/success_rate/{name}": part.success_rate, f"evaluation/episode_return/{name}": part.mean_return}
        return shown


def run_episode(
    environment: Environment,
    policy: Policy,
    seed: int,
    *,
    source: Source = Source.ONLINE,
    episode: int = 0,
    stop_at_success: bool = False,
    on_step: OnStep | None = None,
) -> Episode:
    """One episode, recorded as the environment gave it: its own rewards, mask 0 only where it terminated itself, and observations
    without the task's code, which the policy sees.

    `data.reward.apply_reward` makes the learner's rewards and endings of it, under any configuration.

    Args:
        seed: decides the episode, together with the policy's parameters.
        source: kind of data it is recorded as.
        episode: its number.
        stop_at_success: cut it after its first successful step.
        on_step: called after every step with its number, the result, the observation before it and the action.
    """
    policy.begin(seed)
    observation = environment.reset(seed)
    observations, actions, results = [observation], [], []
    over = False
    while not over:
        action = np.clip(policy(observation, len(actions)), -1.0, 1.0)
        result = environment.step(action)
        if on_step is not None:
            on_step(len(actions), result, observation, action)
        observation = result.next_observation
        observations.append(observation)
        actions.append(action)
        results.append(result)
        over = result.terminated or result.truncated or (stop_at_success and result.success)
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *map(environment.tasks.strip, observations))  # [T + 1, ...]
    steps = make_steps(
        jax.tree.map(lambda leaf: leaf[:-1], stacked),
        np.stack(actions),
        np.array([result.raw_reward for result in results], np.float32),
        jax.tree.map(lambda leaf: leaf[1:], stacked),
        np.array([result.raw_terminated for result in results]),
        source=source,
        episode=episode,
    )
    success = np.array([result.success for result in results]) if environment.signalled else None
    return Episode(steps, success, environment.config.id, episode, source, environment.task)


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
        WarmloopError: `episodes` is less than 1.
    """
    if episodes < 1:
        raise WarmloopError(f"An evaluation needs at least 1 episode, and {episodes} were asked for.")
    success, final_success, returns, lengths, tasks = [], [], [], [], []
    for number in range(episodes):
        chosen = episode_seed(seed, EVALUATION_STREAM, number, len(environment.tasks))
        episode = run_episode(environment, policy, chosen, episode=number, on_step=on_step)
        success.append(episode.succeeded)
        final_success.append(episode.succeeded if episode.success is None else bool(episode.success[-1]))
        returns.append(episode.undiscounted_return)
        lengths.append(len(episode))
        tasks.append(episode.task)
        if progress is not None:
            progress(episode)
    return Evaluation(*map(np.array, (success, final_success, returns, lengths, tasks)))


def wilson(successes: int, trials: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's score interval of a proportion (Wilson 1927); `z` 1.96 gives 95 %."""
    share, shrink = successes / trials, 1.0 + z * z / trials
    centre = (share + z * z / (2 * trials)) / shrink
    reach = z / shrink * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return max(0.0, centre - reach), min(1.0, centre + reach)
