"""From recorded episodes to the rows of the offline pool."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import jax
import numpy as np

from ..data.episode import Episode
from ..data.quality import QualityConfig, weigh
from ..data.reward import RewardConfig, apply_reward
from ..data.transition import Spec, Transition, concatenate


@dataclasses.dataclass(frozen=True)
class OfflineData:
    """Recorded episodes, made ready.

    Attributes:
        recorded: as they were read.
        episodes: with the learner's rewards, endings, returns and quality weights.
        rows: all their steps `[N]`, in order.
    """

    recorded: list[Episode]
    episodes: list[Episode]
    rows: Transition

    @property
    def spec(self) -> Spec:
        """Shapes of the rows."""
        return Spec.of(self.rows)

    @property
    def success_rate(self) -> float:
        """Share of successful episodes."""
        return float(np.mean([episode.succeeded for episode in self.episodes]))

    def per_episode(self, values: np.ndarray) -> list[np.ndarray]:
        """Values of rows `[N]` as one array per recorded episode, zero on steps that the reward's rule cut off."""
        split = np.split(values, np.cumsum([len(episode) for episode in self.episodes])[:-1])
        return [np.pad(part, (0, len(whole) - len(part))) for part, whole in zip(split, self.recorded, strict=True)]


def prepare(recorded: Sequence[Episode], reward: RewardConfig, quality: QualityConfig) -> OfflineData:
    """Applies the reward's rule and the quality weights to recorded episodes (at least one)."""
    episodes = weigh([apply_reward(episode, reward) for episode in recorded], quality)
    rows = concatenate([episode.steps for episode in episodes])
    return OfflineData(list(recorded), episodes, jax.tree.map(np.asarray, rows))
