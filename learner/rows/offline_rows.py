"""From recorded episodes to the rows of the offline pool."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from ...data.episode import Episode
from ...data.errors import WarmloopError
from ...data.files.digest import of_episode
from ...data.plausible import PlausibleConfig, believed_episodes
from ...data.quality import QualityConfig, weigh
from ...data.reward import RewardConfig, apply_reward, estimated_returns
from ...data.tasks import SINGLE, TaskConfig, shares, tasks_of
from ...data.transition import Spec, Transition, concatenate, length


@dataclasses.dataclass(frozen=True)
class OfflineData:
    """Recorded episodes, made ready.

    Attributes:
        recorded: as they were read.
        episodes: with the learner's rewards, endings, returns and quality weights, and their tasks' codes in the observations.
        tasks: the position of each episode's task in the config's `[E]`; all 0 for a single task.
        held: which episodes are held out `[E]`, to measure by.
        reward: the rule by which their rewards were made.
        behind: steps of pieces that lie behind their episode's success altogether, and are not among these.
    """

    recorded: list[Episode]
    episodes: list[Episode]
    tasks: np.ndarray
    held: np.ndarray
    reward: RewardConfig
    behind: int = 0

    @property
    def rows(self) -> Transition:
        """All their steps `[N]`, in order; joined anew at each call, so that what is in a pool need not be in memory twice."""
        return self.rows_of(np.ones(len(self.episodes), bool))

    @property
    def spec(self) -> Spec:
        """Shapes of the rows."""
        return Spec.of(self.episodes[0].steps)

    @property
    def returns(self) -> np.ndarray:
        """Discounted return to go of each row `[N]`, as far as it was recorded: an estimate, where `mc_return` is a bound."""
        return self.returns_of(np.ones(len(self.episodes), bool))

    @property
    def success_rate(self) -> float:
        """Share of successful episodes."""
        return float(np.mean([episode.succeeded for episode in self.episodes]))

    def summary(self, tasks: TaskConfig) -> list[str]:
        """What a person wants to know of the data, in a line for all and one for each task."""
        lengths = np.array([len(episode) for episode in self.episodes])
        left_out = self.behind + sum(len(whole) for whole in self.recorded) - lengths.sum()
        after = f"; {left_out} steps recorded after success are left out" if left_out else ""
        succeeded = np.array([episode.succeeded for episode in self.episodes])

        def line(label: str, which: np.ndarray) -> str:
            share = 100 * succeeded[which].mean() if which.any() else 0.0
            return f"{label}{which.sum()} episodes, {lengths[which].sum()} steps, {share:.0f} % successful"

        parts = [line(f"  {name}: ", self.tasks == number) for number, name in enumerate(tasks.names)]
        return [line("", np.ones(len(lengths), bool)) + after, *parts]

    @property
    def digests(self) -> list[str]:
        """What tells each recorded episode from others, whatever file it came from."""
        return [of_episode(episode) for episode in self.recorded]

    def hold_out(self, held: np.ndarray) -> OfflineData:
        """The same with these episodes held out."""
        return dataclasses.replace(self, held=held)

    def rows_of(self, chosen: np.ndarray) -> Transition:
        """The rows of some episodes, a mask `[E]` with at least one, joined anew at each call; each has its place as its number, since
        files may number theirs alike."""
        parts = [(index, self.episodes[index].steps) for index in np.flatnonzero(chosen)]
        return concatenate([steps.replace(episode=np.full(length(steps), index, np.int32)) for index, steps in parts])

    def returns_of(self, chosen: np.ndarray) -> np.ndarray:
        """As `returns`, of some episodes, a mask `[E]` with at least one."""
        return np.concatenate([estimated_returns(self.episodes[index], self.reward) for index in np.flatnonzero(chosen)])

    def per_episode(self, values: np.ndarray) -> list[np.ndarray]:
        """Values of the rows that are learnt from as one array per recorded episode; of an episode that is held out their mean, since
        nothing is known of it, and zero on steps that the reward's rule cut off."""
        learnt = self._by_row(~self.held)
        every = np.full(len(learnt), values.mean(), values.dtype)
        every[learnt] = values
        split = np.split(every, np.cumsum([len(episode) for episode in self.episodes])[:-1])
        return [np.pad(part, (0, len(whole) - len(part))) for part, whole in zip(split, self.recorded, strict=True)]

    def _by_row(self, values: np.ndarray) -> np.ndarray:
        return np.repeat(values, [len(episode) for episode in self.episodes])


def prepare(
    recorded: Sequence[Episode],
    reward: RewardConfig,
    quality: QualityConfig,
    tasks: TaskConfig = SINGLE,
    plausible: PlausibleConfig | None = None,
    skip_bad_episodes: bool = False,
) -> OfflineData:
    """Applies the reward's rule, the quality weights and the tasks' codes to recorded episodes (at least one).

    Pieces that lie behind their episode's first success, where that ends it, are left out.

    Raises:
        WarmloopError: an episode has no success signal and the reward needs one, or none of the tasks, or its observations take no code;
            or, where `plausible` is given, a value that cannot be, unless `skip_bad_episodes` leaves out the episode.
    """
    if plausible is not None:
        recorded = believed_episodes(recorded, plausible, reward, skip_bad_episodes)
    tasks.condition_spec(Spec.of(recorded[0].steps))
    pairs = [(episode, made) for episode in recorded if len(made := apply_reward(episode, reward))]
    if not pairs:
        raise WarmloopError("All of the data lie behind a success, where reward.terminate_on_success ends an episode; turn that off.")
    behind = sum(map(len, recorded)) - sum(len(episode) for episode, _ in pairs)
    recorded, episodes = map(list, zip(*pairs, strict=True))
    of_task = tasks_of(recorded, tasks)
    for task in np.unique(of_task):  # scores compare returns and lengths, which are no measure across tasks
        members = np.flatnonzero(of_task == task)
        for index, weighed in zip(members, weigh([episodes[index] for index in members], quality), strict=True):
            episodes[index] = weighed
    if tasks.balances:
        episodes = _balanced(episodes, of_task, len(tasks))
    if tasks.conditions:
        episodes = [_conditioned(episode, task, tasks) for episode, task in zip(episodes, of_task, strict=True)]
    return OfflineData(recorded, episodes, of_task, np.zeros(len(episodes), bool), reward, behind)


def _balanced(episodes: list[Episode], of_task: np.ndarray, count: int) -> list[Episode]:
    """The episodes with their rows' quality scaled by task, to one sum for every task: the mass by which rows are drawn before any TD
    error is known or, with replay.quality_in=loss, the weight of what is drawn."""
    mass = np.array([episode.steps.quality.sum(dtype=np.float64) for episode in episodes])
    factor = shares(np.bincount(of_task, weights=mass, minlength=count)).astype(np.float32)
    return [
        dataclasses.replace(episode, steps=episode.steps.replace(quality=episode.steps.quality * factor[task]))
        for episode, task in zip(episodes, of_task, strict=True)
    ]


def _conditioned(episode: Episode, task: int, tasks: TaskConfig) -> Episode:
    of_row, steps = np.full(len(episode), task), episode.steps
    observation, following = (tasks.condition(part, of_row) for part in (steps.observation, steps.next_observation))
    return dataclasses.replace(episode, steps=steps.replace(observation=observation, next_observation=following))
