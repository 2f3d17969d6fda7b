"""How many checkpoints a warm-up keeps, and how long FQE compares them, in proportion to the warm-up and to its data."""

from __future__ import annotations

import math

from .fqe import FQEConfig

MOST_CHECKPOINTS, UPDATES_APART = 10, 200
MOST_STEPS, PASSES = 3_000, 100
SHARE = 8  # an FQE step of one policy costs about a tenth of a gradient step of a warm-up


def checkpoints(updates: int) -> int:
    """Of a warm-up of so many updates: one for every 200, at least 1 and at most 10."""
    return min(MOST_CHECKPOINTS, max(1, updates // UPDATES_APART))


def fqe_steps(config: FQEConfig, rows: int, candidates: int, gradient_steps: int) -> int:
    """Steps of fitted Q evaluation for each policy: a hundred passes over the data, at most 3,000, and for all policies together no more
    than eight times the warm-up's own gradient steps."""
    return max(1, min(MOST_STEPS, math.ceil(PASSES * rows / config.batch_size), SHARE * gradient_steps // max(candidates, 1)))
