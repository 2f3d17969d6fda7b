"""What is kept of each episode once its rows are gone, and the view of it that the checks are given."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from ..episode import Episode
from ..files.digest import of_arrays
from ..quality import steps_to_success
from .columns import as_numbers, leaves
from .findings import Severity
from .reading import Recorded

SATURATED = 0.999
START_ROWS = 10  # so many first rows that agree bit for bit mean the same recording
PROBES = 8  # actions spread over an episode that its signature holds
SUSTAINED = 5  # steps for which a reward must stay high before it looks like a success


@dataclasses.dataclass(frozen=True)
class Fault:
    """What a check yields: a finding without its check's name, in episode `at`.

    Without `at`, it is in the episode being looked at, or, from a check of all episodes, in the data set as a `whole`; one that names
    an example of the latter says so.
    """

    severity: Severity
    what: str
    advice: str
    step: int | None = None
    at: EpisodeFacts | None = None
    whole: bool = False


@dataclasses.dataclass(frozen=True)
class EpisodeFacts:
    """An episode in numbers of a fixed size; D columns of observations, A of actions.

    Attributes:
        flagged: whether it carries a success flag at all.
        success_by: the rule by which that was told without a flag; "" for the file's own.
        after_success: how many of its steps come after its first success.
        digest: of every observation, action and reward; equal for duplicates.
        start_digest: of the first rows, where the robot moves in them and there are enough; else empty.
        signature: `[2D + A * (1 + PROBES)]` means and samples that nearly agree for near-duplicates.
        first: `[D]` its first observation.
        stuck, stuck_step: `[D]` longest run of steps on which each column keeps its value, and where that begins.
        success_reward, other_reward: mean rewards of its successful and its other steps, NaN without any.
        top_reward, top_step: the reward that it reaches on `SUSTAINED` steps without a success flag, and the first of them.
        spike, spike_step: its greatest absolute reward on steps without a success flag.
        cut_by_time: its last row is marked as cut by a time limit (None: the file does not say).
        action_repeat: correlation of successive actions, near 0 for actions drawn at random; NaN where they never change.
    """

    file: str
    number: int
    length: int
    undiscounted_return: float
    success: bool
    flagged: bool
    success_by: str
    success_at_the_end: bool
    steps_to_success: int
    after_success: int
    terminated: bool
    cut_by_time: bool | None
    jerk: float
    saturation: float
    action_std: float
    action_repeat: float
    digest: bytes
    start_digest: bytes
    signature: np.ndarray
    first: np.ndarray
    stuck: np.ndarray
    stuck_step: np.ndarray
    success_reward: float
    other_reward: float
    top_reward: float
    top_step: int
    spike: float
    spike_step: int


class View:
    """An episode as the checks look at it: its rows, and its observations as numbers.

    Attributes:
        names: `[D]` of the observation's numbers.
        observation, following: `[T, D]` float32, before and after each step.
        timeouts, times: as `Recorded` has them.
    """

    def __init__(self, recorded: Recorded):
        self.recorded, self.episode = recorded, recorded.episode
        steps = self.episode.steps
        self.names, self.observation = as_numbers(steps.observation)
        _, self.following = as_numbers(steps.next_observation)
        self.action, self.reward = np.asarray(steps.action), np.asarray(steps.reward)
        self.terminated = np.asarray(steps.mask) == 0
        self.timeouts, self.times = recorded.timeouts, recorded.times

    def __len__(self) -> int:
        return len(self.reward)

    @functools.cached_property
    def broken(self) -> np.ndarray:
        """`[T - 1]` bool, rows whose next observation is not the following row's observation."""
        steps = self.episode.steps
        before, after = leaves(steps.observation), leaves(steps.next_observation)
        broken = np.zeros(len(self) - 1, bool)
        for name, leaf in before.items():
            differs = (after[name][:-1] != leaf[1:]) & ~_both_nan(after[name][:-1], leaf[1:])
            broken |= differs.any(axis=tuple(range(1, differs.ndim)))
        return broken

    @functools.cached_property
    def change(self) -> np.ndarray:
        """`[T - 1, D]` absolute changes of the observation from step to step."""
        with np.errstate(invalid="ignore"):
            return np.abs(np.diff(self.observation.astype(np.float64), axis=0))

    @functools.cached_property
    def usual_change(self) -> np.ndarray:
        """`[D]` the change that 19 of 20 steps stay below."""
        return np.quantile(self.change, 0.95, axis=0) if len(self) > 1 else np.zeros(len(self.names))

    def facts(self) -> EpisodeFacts:
        """What is kept of it."""
        episode, action = self.episode, np.where(np.isfinite(self.action), self.action, 0).astype(np.float64)
        flag = np.zeros(len(self), bool) if episode.success is None else np.asarray(episode.success, bool)
        plain = np.where(flag | ~np.isfinite(self.reward), -np.inf, self.reward)
        top = float(np.sort(plain)[-min(SUSTAINED, len(self))])
        stuck, stuck_step = longest_runs(self.change == 0)
        tail = np.abs(np.where(flag | ~np.isfinite(self.reward), 0, self.reward))
        return EpisodeFacts(
            file=episode.origin,
            number=episode.number,
            length=len(self),
            undiscounted_return=episode.undiscounted_return,
            success=episode.succeeded,
            flagged=episode.success is not None,
            success_by=self.recorded.success_by,
            success_at_the_end=bool(flag[-1]) if episode.success is not None else episode.succeeded,
            steps_to_success=steps_to_success(episode),
            after_success=len(self) - 1 - int(np.argmax(flag)) if flag.any() else 0,
            terminated=bool(self.terminated[-1]),
            cut_by_time=None if self.timeouts is None else bool(self.timeouts[-1]),
            jerk=float(np.abs(np.diff(action, 2, axis=0)).mean()) if len(self) > 2 else 0.0,
            saturation=float((np.abs(action) >= SATURATED).mean()),
            action_std=float(action.std()),
            action_repeat=_repeat(action),
            digest=_digest(episode, len(self)),
            start_digest=_digest(episode, START_ROWS) if len(self) > START_ROWS and action[:START_ROWS].any() else b"",
            signature=self._signature(),
            first=self.observation[0],
            stuck=stuck,
            stuck_step=stuck_step,
            success_reward=_mean(self.reward[flag]),
            other_reward=_mean(self.reward[~flag]),
            top_reward=top,
            top_step=int(np.argmax(plain >= top)),
            spike=float(tail.max()),
            spike_step=int(tail.argmax()),
        )

    def _signature(self) -> np.ndarray:
        probes = self.action[np.linspace(0, len(self) - 1, PROBES).astype(int)]
        with np.errstate(invalid="ignore", over="ignore"):  # of values that are not finite, which another check names
            parts = [self.observation.mean(axis=0), self.observation.std(axis=0), self.action.mean(axis=0), probes.ravel()]
            return np.concatenate(parts).astype(np.float32)


def longest_runs(flags: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Length and start `[D]` of the longest run of True in each column of `[T, D]`."""
    if not len(flags):
        return np.zeros(flags.shape[1], np.int64), np.zeros(flags.shape[1], np.int64)
    row = np.arange(len(flags))[:, None]  # [T, 1]
    last_false = np.maximum.accumulate(np.where(flags, -1, row), axis=0)  # [T, D]
    length = row - last_false
    end = length.argmax(axis=0)
    longest = length.max(axis=0)
    return longest, end - longest + 1


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _both_nan(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.isnan(a) & np.isnan(b) if a.dtype.kind == "f" else np.zeros(a.shape, bool)


def _repeat(action: np.ndarray) -> float:
    centred = action - action.mean(axis=0)
    power = np.square(centred).sum()
    return float((centred[1:] * centred[:-1]).sum() / power) if power > 0 else float("nan")


def _digest(episode: Episode, rows: int) -> bytes:
    """A hash of the first `rows` steps."""
    steps = episode.steps
    return of_arrays(leaf[:rows] for leaf in [*leaves(steps.observation).values(), steps.action, steps.reward])
