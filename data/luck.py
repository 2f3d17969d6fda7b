"""Whether an episode's outcome was luck: then its return is no lower bound of what its first state is worth.

`monte_carlo_target`, `self_imitation` and Cal-QL take the recorded return of an episode as something that can be reached again. Where the
same start ends now in success and now in failure whatever is done, the best of several returns is above what any policy can expect
(docs/results.md has figures). Recorded data do not tell luck from skill for certain, but they show where to look: episodes that start alike
and end differently.

Two episodes start alike where no number of their first observations differs by more than a hundredth of what that number varies by over
all steps. Nothing is said where most episodes start as no other does. Observations of pictures alone are compared by their brightness.
"""

from __future__ import annotations

import dataclasses

import numpy as np

ALIKE = 0.01  # of a number's standard deviation over all steps
LEAST_PAIRS = 5  # of episodes that start alike, before anything is said
SHARED = 0.5  # of the episodes start as another does, at least
MIXED = 0.1  # of these, a share that ends differently
COMPARED = 1_000  # episodes at most, evenly spaced


@dataclasses.dataclass(frozen=True)
class MixedOutcomes:
    """Pairs of episodes that start alike, how many of them end differently, and one such pair."""

    pairs: int
    differing: int
    example: tuple[int, int]

    def __str__(self) -> str:
        return (
            f"{self.differing} of {self.pairs} pairs of episodes that start alike end differently, one in success and the other not: where "
            "that is luck, and not what was done, a recorded return is no bound on the value"
        )


def mixed_outcomes(first: np.ndarray, spread: np.ndarray, success: np.ndarray) -> MixedOutcomes | None:
    """What episodes that start alike show of luck; None where they end alike, or hardly any start alike.

    Args:
        first: `[E, D]` the first observations, as numbers; of one task.
        spread: `[D]` standard deviation of each number over all steps.
        success: `[E]` bool.
    """
    chosen = np.unique(np.linspace(0, len(first) - 1, min(len(first), COMPARED)).astype(int)) if len(first) else np.zeros(0, int)
    if not first.shape[1:] or first.shape[1] == 0 or len(chosen) < 2:
        return None
    values, won = np.asarray(first, np.float64)[chosen], np.asarray(success, bool)[chosen]
    partnered, margin = np.zeros(len(chosen), bool), ALIKE * np.asarray(spread, np.float64) + 1e-12
    pairs = differing = 0
    example = (0, 0)
    for index in range(len(chosen) - 1):
        alike = (np.abs(values[index + 1 :] - values[index]) <= margin).all(axis=1)
        partnered[index] |= alike.any()
        partnered[index + 1 :] |= alike
        other = alike & (won[index + 1 :] != won[index])
        pairs, differing = pairs + int(alike.sum()), differing + int(other.sum())
        if example == (0, 0) and other.any():
            example = int(chosen[index]), int(chosen[index + 1 + int(np.argmax(other))])
    if partnered.mean() < SHARED or pairs < LEAST_PAIRS or differing < MIXED * pairs:
        return None
    return MixedOutcomes(pairs, differing, example)
