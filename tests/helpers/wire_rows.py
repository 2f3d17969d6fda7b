"""Rows of one stream that say their own number, and what came out at the learner's end."""

import numpy as np

from warmloop.agents import SAC, SACConfig
from warmloop.data.transition import Leaf, Spec, concatenate, example, take
from warmloop.data.wire.row_schema import Schema

SPEC = Spec((Leaf("", (3,), "float32"),), 2)
SCHEMA = Schema.of(SPEC, "Rows-v0")
EPISODE = 10  # steps, the last one truncated


def agent(width=8):
    return SAC(SACConfig(hidden=(width,), ensemble=2, utd=1, batch_size=4), SPEC)


def stream(count, first=0):
    """Rows `[count]` numbered from `first`, the number in `observation[:, 0]`, in episodes of `EPISODE` steps."""
    number = np.arange(first, first + count)
    rows = example(SPEC, count)
    return rows.replace(
        observation=np.repeat(number[:, None], 3, axis=1).astype(np.float32),
        next_observation=np.repeat(number[:, None] + 1, 3, axis=1).astype(np.float32),
        action=np.full((count, 2), 0.5, np.float32),
        episode=(number // EPISODE).astype(np.int32),
        step=(number % EPISODE).astype(np.int32),
        truncated=number % EPISODE == EPISODE - 1,
    )


def row(number):
    """One row, leaves without a leading axis."""
    return take(stream(1, number), 0)


def numbers(chunks):
    """The numbers of taken rows, checked against the chunks' own."""
    found = []
    for chunk in chunks:
        mine = chunk.rows.observation[:, 0].astype(int).tolist()
        assert mine == list(range(chunk.first, chunk.end))
        found += mine
    return found


def joined(chunks):
    """The chunks' rows, one after another."""
    return concatenate([chunk.rows for chunk in chunks])
