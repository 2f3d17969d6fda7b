"""What an environment says the data should be like: its spaces, its time limit, and rewards of random play in it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import gymnasium as gym
import numpy as np

from ..episode import Episode
from ..transition import Spec
from .columns import as_numbers
from .episode_facts import EpisodeFacts, View

RIDGE = 1.0
NEAR = 0.99  # rows nearer to random play than this quantile of its own rows are compared
FEWEST_ROWS = 100


class Agreement:
    """Sums over the rows of one file that are near random play: recorded reward against the environment's."""

    def __init__(self, first: EpisodeFacts):
        self.first, self.step, self.rows = first, None, 0
        self.sums = np.zeros(5)  # Σp, Σr, Σp², Σr², Σpr

    def add(self, facts_step: int, predicted: np.ndarray, reward: np.ndarray) -> None:
        """Takes in rows `[n]` of an episode, the first of them at a step."""
        if self.step is None:
            self.step = facts_step
        self.rows += len(reward)
        self.sums += [predicted.sum(), reward.sum(), (predicted**2).sum(), (reward**2).sum(), (predicted * reward).sum()]

    @property
    def correlation(self) -> float:
        """Between recorded and predicted rewards; NaN for fewer than 100 rows, or where either never changes."""
        if self.rows < FEWEST_ROWS:
            return float("nan")
        p, r, pp, rr, pr = self.sums / self.rows
        variances = (pp - p * p) * (rr - r * r)
        return float((pr - p * r) / np.sqrt(variances)) if variances > 1e-18 else float("nan")


@dataclasses.dataclass(frozen=True)
class RewardModel:
    """The environment's reward as a linear function of the observation after the step, good near the rows it was fitted on.

    Attributes:
        mean, scale: `[D]` of those rows; a column that never changes has scale inf, and so no say.
        weights: `[D + 1]`, the last one a constant.
        reach: mean squared standardised distance up to which it holds.
    """

    mean: np.ndarray
    scale: np.ndarray
    weights: np.ndarray
    reach: float

    @classmethod
    def fit(cls, following: np.ndarray, reward: np.ndarray) -> RewardModel:
        """From observations after each step `[N, D]` and rewards `[N]`, by ridge regression."""
        rows = following.astype(np.float64)
        std = rows.std(axis=0)
        mean, scale = rows.mean(axis=0), np.where(std > 1e-9, std, np.inf)
        inputs = np.concatenate([(rows - mean) / scale, np.ones((len(rows), 1))], axis=1)
        weights = np.linalg.solve(inputs.T @ inputs + RIDGE * np.eye(inputs.shape[1]), inputs.T @ reward.astype(np.float64))
        return cls(mean, scale, weights, float(np.quantile(np.square(inputs[:, :-1]).mean(axis=1), NEAR)))

    def __call__(self, following: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Predicted rewards `[T]`, and whether each row is near enough for that."""
        inputs = (following.astype(np.float64) - self.mean) / self.scale
        return inputs @ self.weights[:-1] + self.weights[-1], np.square(inputs).mean(axis=1) < self.reach


@dataclasses.dataclass(frozen=True)
class Reference:
    """What data is compared with.

    Attributes:
        name: the environment.
        spec: shapes of its observations and actions.
        low, high: `[D]` bounds of its observation; infinite where it has none.
        action_low, action_high: `[A]` bounds of its own actions; recorded ones are scaled to [-1, 1].
        horizon: steps until it truncates; None for no limit.
        rewards: fitted on random play; None where there was none, or its rewards never change.
    """

    name: str
    spec: Spec
    low: np.ndarray
    high: np.ndarray
    action_low: np.ndarray
    action_high: np.ndarray
    horizon: int | None
    rewards: RewardModel | None

    @classmethod
    def of(cls, name: str, observation: gym.Space, action: gym.spaces.Box, horizon: int | None, play: Sequence[Episode] = ()) -> Reference:
        """From an environment's spaces and time limit, and episodes of random play in it with its own rewards."""
        parts = _boxes(observation)
        spec = Spec.from_spaces(gym.spaces.Dict(parts) if set(parts) != {""} else observation, action)
        low, high = [_flat({key: getattr(space, side)[None] for key, space in parts.items()}) for side in ("low", "high")]
        model = None
        if play:
            following = np.concatenate([as_numbers(episode.steps.next_observation)[1] for episode in play])
            reward = np.concatenate([episode.steps.reward for episode in play])
            model = RewardModel.fit(following, reward) if reward.std() > 0 else None
        return cls(name, spec, low, high, action.low, action.high, horizon, model)

    def compare(self, view: View, agreement: Agreement) -> None:
        """Adds an episode's rows that are near random play to the file's agreement."""
        if self.rewards is None or view.following.shape[1] != len(self.rewards.mean):
            return
        with np.errstate(invalid="ignore"):
            predicted, near = self.rewards(view.following)
        near &= np.isfinite(predicted) & np.isfinite(view.reward)
        if near.any():
            agreement.add(int(near.argmax()), predicted[near], view.reward[near].astype(np.float64))


def _boxes(space: gym.Space, prefix: str = "") -> dict[str, gym.Space]:
    """The parts of a nested Dict side by side, named `outer.inner`, as the actor names them; a bare space is named ""."""
    if not isinstance(space, gym.spaces.Dict):
        return {prefix: space}
    parts: dict[str, gym.Space] = {}
    for name, part in space.spaces.items():
        parts |= _boxes(part, f"{prefix}.{name}" if prefix else str(name))
    return parts


def _flat(parts: dict[str, np.ndarray]) -> np.ndarray:
    return as_numbers(parts[""] if set(parts) == {""} else parts)[1][0].astype(np.float64)
