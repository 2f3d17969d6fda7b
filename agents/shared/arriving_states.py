"""Windows of rows as the states that arrive one after the other: each with the action before it, and the reward that came with it.

A row has what follows its observation, so that T rows of an episode make T + 1 states. What came before the first one is known only where
the episode begins with it: nothing.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from ...data.mixing import StretchBatch
from ...data.transition import PyTree


class ArrivingStates(struct.PyTreeNode):
    """States `[B, T + 1]` of windows.

    Attributes:
        observation: `[B, T + 1, *]`.
        action: `[B, T + 1, A]`, done before it; zeros before the first.
        reward, mask: `[B, T + 1]`, that came with it; 0 and 1 with the first.
        there: `[B, T + 1]` bool, the window reaches it.
        known: `[B, T + 1]` bool, it is there, and so is what came before it or nothing came before it.
        followed: `[B, T + 1]` bool, it is there, and so is the next one.
    """

    observation: PyTree
    action: jax.Array
    reward: jax.Array
    mask: jax.Array
    there: jax.Array
    known: jax.Array
    followed: jax.Array


def arriving(batch: StretchBatch) -> ArrivingStates:
    """The states of sequences, leaves `[B, T, ...]`."""
    valid = batch.valid
    first = jnp.ones_like(valid[:, :1])

    def then(first: jax.Array, rest: jax.Array) -> jax.Array:
        return jnp.concatenate([first, rest], axis=1)

    return ArrivingStates(
        observation=jax.tree.map(lambda here, after: then(here[:, :1], after), batch.observation, batch.next_observation),
        action=then(jnp.zeros_like(batch.action[:, :1]), batch.action),
        reward=then(jnp.zeros_like(batch.reward[:, :1]), batch.reward),
        mask=then(jnp.ones_like(batch.mask[:, :1]), batch.mask),
        there=then(first, valid),
        known=then(batch.step[:, :1] == 0, valid),
        followed=then(valid, ~first),
    )
