"""How far a learnt model can be trusted, on recorded episodes.

    error(h)         mean over starts of the root mean square of ŝ_{t+h} − s_{t+h}, in deviations of the data's numbers; ŝ is the mean of
                     the members' predictions, each from its own, under the recorded actions
    guess(h)         the same of s_t + h (s_t − s_{t−1}), a constant velocity
    disagreement     the members' standard deviation about one predicted step, mean over the same units
    AUROC            the chance that it is larger off the data than on them

Off the data are the same numbers, each column shuffled by itself: each lies in its range, and together they were never seen.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from ....data.errors import WarmloopError
from ....data.statistics import spearman
from ....data.transition import PyTree, Transition, flatten_observation, length
from ...base import HasModel

LONGEST = 15  # steps
STARTS = 512


@dataclasses.dataclass(frozen=True)
class Quality:
    """What was measured: `[H]` errors of the model and of the guess after 1 to H steps, the disagreements `[N]` on and off the data, its
    AUROC, and the rank correlation of disagreement and error of one step on the data."""

    model_error: np.ndarray
    guess_error: np.ndarray
    on: np.ndarray
    off: np.ndarray
    auroc: float
    rank_correlation: float


@dataclasses.dataclass(frozen=True)
class Stretches:
    """Recorded stretches: the observation before each start `[N, D]`, those from it on `[N, H + 1, D]`, and the actions `[N, H, A]`."""

    before: np.ndarray
    observation: np.ndarray
    action: np.ndarray

    @classmethod
    def of(cls, episodes: Sequence[Transition], longest: int = LONGEST, most: int = STARTS) -> Stretches:
        """Evenly spaced ones of the episodes' steps `[T, ...]`; shorter than `longest` where no episode has so many steps.

        Raises:
            WarmloopError: no episode has two steps.
        """
        steps = min(longest, max(map(length, episodes), default=0) - 1)
        if steps < 1:
            raise WarmloopError("A model is judged by stretches of episodes, and none of these has two steps.")
        places = [(number, start) for number, each in enumerate(episodes) for start in range(1, length(each) - steps + 1)]
        chosen = [places[index] for index in np.unique(np.linspace(0, len(places) - 1, min(most, len(places))).astype(int))]
        flat = [(_flat(each.observation), _flat(each.next_observation), np.asarray(each.action)) for each in episodes]
        before = np.stack([flat[number][0][start - 1] for number, start in chosen])
        seen = [np.concatenate([flat[n][0][t : t + 1], flat[n][1][t : t + steps]]) for n, t in chosen]
        return cls(before, np.stack(seen), np.stack([flat[number][2][start : start + steps] for number, start in chosen]))


def quality_of(agent: HasModel, state: PyTree, episodes: Sequence[Transition], seed: int = 0) -> Quality:
    """The measures on episodes' steps `[T, ...]`, which the model had better not learnt from. Raises as `Stretches.of`."""
    stretches = Stretches.of(episodes)
    every = np.concatenate([_flat(each.observation) for each in episodes])
    deviation = every.std(axis=0)
    varies = deviation > 1e-6 * max(float(np.abs(every).max()), 1e-30)
    unit = np.where(varies, deviation, np.inf)
    predict = jax.jit(lambda observation, action: agent.predict(state, observation, action))
    start, truth = stretches.observation[:, 0], stretches.observation[:, 1:]
    model = open_loop(predict, start, stretches.action)  # [M, N, H, D]

    def error_of(guess: np.ndarray) -> np.ndarray:
        return np.sqrt(np.square((guess - truth) / unit).sum(axis=-1) / max(varies.sum(), 1))  # [N, H]

    steps = np.arange(1, truth.shape[1] + 1)[None, :, None]
    found = error_of(model.mean(axis=0))
    guess = error_of(start[:, None] + steps * (start - stretches.before)[:, None])
    rows = start, stretches.action[:, 0]
    on, off = (_disagreement(predict, one, other, unit) for one, other in (rows, _shuffled(rows, seed)))
    return Quality(found.mean(axis=0), guess.mean(axis=0), on, off, auroc(off, on), spearman(on, found[:, 0]))


def open_loop(predict: Callable[..., jax.Array], start: np.ndarray, actions: np.ndarray) -> np.ndarray:
    """`[M, N, H, D]`: what each member expects after each of the actions `[N, H, A]` from `[N, D]`, by its own predictions."""
    state, found = jnp.asarray(start), []
    for step in range(actions.shape[1]):
        state = predict(state, jnp.asarray(actions[:, step]))
        found.append(np.asarray(state))
    return np.stack(found, axis=2)


def auroc(higher: np.ndarray, lower: np.ndarray) -> float:
    """The chance that one of `higher` `[N]` is above one of `lower` `[K]`; an equal pair counts half."""
    below, equal_or_below = (np.searchsorted(np.sort(lower), higher, side=side) for side in ("left", "right"))
    return float((below + equal_or_below).mean() / (2 * len(lower)))


def _shuffled(rows: tuple[np.ndarray, np.ndarray], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Each column `[N]` of both by itself."""
    rng = np.random.default_rng(seed)
    return rng.permuted(rows[0], axis=0), rng.permuted(rows[1], axis=0)


def _disagreement(predict: Callable[..., jax.Array], observation: np.ndarray, action: np.ndarray, unit: np.ndarray) -> np.ndarray:
    found = np.asarray(predict(jnp.asarray(observation), jnp.asarray(action)))
    return (found.std(axis=0) / unit).mean(axis=-1)


def _flat(observation: PyTree) -> np.ndarray:
    return np.asarray(flatten_observation(observation), np.float32)
