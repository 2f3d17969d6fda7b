"""One pass over all episodes: what the checks of the whole data set look at."""

from __future__ import annotations

import dataclasses

import numpy as np

from ..episode import Episode
from ..outcome import SETTING
from ..transition import Source, Spec
from .camera_facts import CameraStatistics, is_picture
from .columns import BRIGHTNESS, ColumnStatistics, leaves
from .episode_facts import SATURATED, EpisodeFacts, View
from .reference import Agreement, Reference

UNRELATED = 0.05  # successive actions that correlate less than so, over all episodes, are drawn at random


class Survey:
    """What is known of all episodes that `add` was given.

    Attributes:
        facts: one record for each episode.
        observations, actions, rewards: statistics of the columns; from the first episode on.
        spec: shapes of the first episode.
        saturated: `[A]` steps on which each action is at a limit.
        cameras: statistics of the pictures, by the observation's name.
        kinds: the kinds of data that the episodes say they are.
        agreement: how each file's rewards agree with the reference's; empty without a reference.
        unread: by file, the names of what is not read of it.
    """

    def __init__(self, reference: Reference | None, kinds_are_known: bool):
        self.reference, self.kinds_are_known = reference, kinds_are_known
        self.facts: list[EpisodeFacts] = []
        self.kinds: set[Source] = set()
        self.cameras: dict[str, CameraStatistics] = {}
        self.agreement: dict[str, Agreement] = {}
        self.unread: dict[str, tuple[str, ...]] = {}

    def add(self, view: View) -> EpisodeFacts:
        """Takes in one episode, whose shapes are those of the first."""
        facts = view.facts()
        if not self.facts:
            self.spec = Spec.of(view.episode.steps)
            self.observations = ColumnStatistics(view.names, "observation")
            self.actions = ColumnStatistics([f"action[{index}]" for index in range(view.action.shape[1])], "action")
            self.rewards = ColumnStatistics(["reward"], "reward")
            self.saturated = np.zeros(view.action.shape[1])
        self.facts.append(facts)
        self.unread.setdefault(facts.file, view.recorded.unread)
        self.kinds.add(Source(view.episode.source))
        self.observations.add(view.observation)
        self.actions.add(view.action)
        self.rewards.add(view.reward[:, None])
        self._look(view)
        self.saturated += (np.abs(view.action) >= SATURATED).sum(axis=0)
        if self.reference is not None:
            agreement = self.agreement.setdefault(facts.file, Agreement(facts))
            self.reference.compare(view, agreement)
        return facts

    def _look(self, view: View) -> None:
        """Takes in the pictures of an episode."""
        pictures = {name: leaf for name, leaf in leaves(view.episode.steps.observation).items() if is_picture(leaf)}
        if not pictures:
            return
        numbers = [index for index, name in enumerate(view.names) if not name.endswith(BRIGHTNESS)]
        moving = (view.change[:, numbers] > 0).any(axis=1) if numbers else (view.action[:-1] != 0).any(axis=1)
        for name, frames in pictures.items():
            camera = self.cameras.setdefault(name, CameraStatistics(name, frames.shape[1:], frames.dtype))
            camera.add(frames, np.asarray(moving), len(self.facts) - 1, view.episode.number)

    def difference(self, episode: Episode) -> str | None:
        """How the shapes of an episode differ from those of the first; None where they do not."""
        if not self.facts:
            return None
        return self.spec.difference(Spec.of(episode.steps), self.facts[0].file, f"episode {episode.number} of {episode.origin}")

    @property
    def random_play(self) -> bool:
        """Whether the actions look drawn at random: successive ones have nothing to do with each other."""
        repeats = np.array([facts.action_repeat for facts in self.facts])
        repeats = repeats[np.isfinite(repeats)]
        return len(repeats) > 0 and bool(abs(repeats.mean()) < UNRELATED)

    @property
    def saturated_share(self) -> np.ndarray:
        """`[A]` share of the steps on which each action is at a limit."""
        return self.saturated / self.lengths.sum()

    @property
    def lengths(self) -> np.ndarray:
        """`[E]` steps of each episode."""
        return np.array([facts.length for facts in self.facts])

    @property
    def success_reward(self) -> tuple[float, float]:
        """Mean reward of the steps flagged as successful and of the others; NaN where there are none."""
        won = [facts.success_reward for facts in self.facts if np.isfinite(facts.success_reward)]
        lost = [facts.other_reward for facts in self.facts if np.isfinite(facts.other_reward)]
        return float(np.median(won)) if won else float("nan"), float(np.median(lost)) if lost else float("nan")


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How an episode's success was told, counted over the survey."""

    successes: int
    at_the_end: int
    steps_after: int
    definition: str


def outcome(survey: Survey) -> Outcome:
    """Successes, and by which definition they are counted."""
    flagged = sum(facts.flagged for facts in survey.facts)
    rules = {facts.success_by for facts in survey.facts if facts.flagged}
    told = " or ".join(f"a step with {rule}" if ">=" in rule else f"`{rule}`" for rule in sorted(rules - {""}))
    by_flag = f"{told} (the file has no success flag)" if told else "the file's success flag at any step"
    if told and "" in rules:
        by_flag = f"the file's success flag at any step, or where it has none {told}"
    by_reward = f"terminated with a positive last reward (there is no success flag; --success, in training {SETTING}, says which steps are)"
    definition = by_flag if flagged == len(survey.facts) else by_reward
    if 0 < flagged < len(survey.facts):
        definition = f"{by_flag}; {len(survey.facts) - flagged} episodes without one: terminated with a positive last reward"
    successes = sum(facts.success for facts in survey.facts)
    at_the_end, after = (sum(getattr(facts, name) for facts in survey.facts) for name in ("success_at_the_end", "after_success"))
    return Outcome(successes, at_the_end, after, definition)
