"""Seeds of episodes: every stream of experience has its own, so that evaluation never meets a start it was trained on."""

from __future__ import annotations

import numpy as np

EVALUATION_STREAM = -1
COLLECTION_STREAM = -2
VIDEO_STREAM = -3


def episode_seed(seed: int, stream: int, episode: int) -> int:
    """The 31-bit seed of one episode, the same on every machine and in every version of this package.

    Args:
        seed: the run's seed.
        stream: 0 and up for a training actor's number, or one of the `*_STREAM` constants.
        episode: the episode's number within the stream.

    The top two bits tell training, evaluation, collection and video apart, so that these four can never share a seed,
    not even between runs of different seeds; the other 29 are a hash.
    """
    kind = -stream if stream < 0 else 0
    mixed = np.random.SeedSequence([seed, stream % 2**32, episode]).generate_state(1)[0]
    return kind << 29 | int(mixed) & (2**29 - 1)
