"""Seeds of episodes: every stream of experience has its own, so that evaluation never meets a start it was trained on."""

from __future__ import annotations

import numpy as np

EVALUATION_STREAM = -1
COLLECTION_STREAM = -2
VIDEO_STREAM = -3
SELECTION_STREAM = 2**31 - 1  # a kind of training: a checkpoint is not judged by the starts that it was chosen by

HASHES = 2**29


def episode_seed(seed: int, stream: int, episode: int, tasks: int = 1) -> int:
    """The 31-bit seed of one episode, the same on every machine and in every version of this package.

    Args:
        seed: the run's seed.
        stream: 0 and up for a training actor's number, or one of the `*_STREAM` constants.
        episode: the episode's number within the stream.
        tasks: how many tasks there are; a stream's episodes go through them in turn (`task_of_seed`).

    The top two bits tell training, evaluation, collection and video apart, so that these four can never share a seed,
    not even between runs of different seeds; the other 29 are a hash, but for the task.
    """
    kind, tasks = -stream if stream < 0 else 0, max(tasks, 1)
    mixed = int(np.random.SeedSequence([seed, stream % 2**32, episode]).generate_state(1)[0])
    return kind << 29 | mixed % (HASHES // tasks) * tasks + episode % tasks


def task_of_seed(seed: int, tasks: int) -> int:
    """Which of `tasks` tasks the episode of a seed is of; uniform over any other seeds."""
    return seed % HASHES % tasks
