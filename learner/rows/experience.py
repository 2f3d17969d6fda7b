"""What a fine-tuning has seen, as recorded episodes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from ...data.episode import Episode
from ...data.replay.frames import as_seen
from ...data.reward import RewardConfig
from ...data.transition import Source, take
from ..state import LearnerState


def experience(state: LearnerState, reward: RewardConfig, origin: str) -> list[Episode]:
    """The whole episodes in the online pool of a learner that one actor filled, oldest first.

    Rewards are those that the learner was given, without their scale and bias: the environment's own, or 1 at a success. An episode
    that was broken off, or whose first rows are overwritten, is left out.
    """
    pool = state.online
    inserted = int(pool.inserted)
    order = np.arange(max(0, inserted - pool.capacity), inserted) % pool.capacity
    rows = as_seen(state.frames, take(pool.rows, order))
    rows = rows.replace(reward=(rows.reward - np.float32(reward.bias)) / np.float32(reward.scale))
    bounds = [*np.flatnonzero(rows.step == 0), len(order)]
    parts = [take(rows, slice(low, high)) for low, high in pairwise(bounds)]
    whole = [part for part in parts if part.mask[-1] == 0 or part.truncated[-1]]
    succeeded = [part.reward > 0 for part in whole] if reward.signal == "success" else [None] * len(whole)
    pairs = enumerate(zip(whole, succeeded, strict=True))
    return [Episode(steps, success, origin, number, Source.ONLINE) for number, (steps, success) in pairs]
