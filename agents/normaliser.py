"""Normalisation of observations and rewards by the offline data's statistics, which are part of the agent's state.

    s ← (s − mean) / (std + 1e-3)      r ← r / std(r)

They are taken once, from the rows that `Agent.init` sees, and travel with the state: through checkpoints, into the agent that
goes on after the warm-up and, for observations, over the wire to the actors. Acting therefore uses the same ones.
Source: TD3+BC (Fujimoto and Gu 2021, sec. 5) for the observations.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from ..data.transition import Batch, PyTree, Transition, flatten_observation

EPSILON = 1e-3
LIMIT = 10.0


class Normaliser(struct.PyTreeNode):
    """Centre and scale of flat observations, `[D]` each; part of the agent's state, so that acting uses the same."""

    mean: jax.Array
    scale: jax.Array

    def __call__(self, observation: PyTree) -> jax.Array:
        """Flat, centred and scaled observations `[..., D]`, without images, within ±10."""
        flat = flatten_observation(observation)
        shape = (1,) * (flat.ndim - 1) + self.mean.shape
        return jnp.clip((flat - self.mean.reshape(shape)) * self.scale.reshape(shape), -LIMIT, LIMIT)

    @classmethod
    def of(cls, example: Transition, enabled: bool, softening: float = EPSILON) -> Normaliser:
        """Statistics of example rows `[N]`; the identity where not `enabled` or where N is 1. `softening` is added to the deviation.

        A dimension that hardly varies in the example is centred and not scaled: it may vary online.
        """
        flat = jnp.asarray(flatten_observation(example.observation))
        if not enabled or flat.shape[0] < 2:
            return cls(jnp.zeros(flat.shape[-1]), jnp.ones(flat.shape[-1]))
        deviation = flat.std(axis=0)
        return cls(flat.mean(axis=0), jnp.where(deviation > EPSILON, 1.0 / (jnp.maximum(deviation, EPSILON) + softening), 1.0))


def reward_scale(example: Transition, enabled: bool) -> jax.Array:
    """`[]` factor that gives the example's rewards `[N]` a standard deviation of 1; 1 where not `enabled`, or where they hardly vary.

    Rewards are scaled and not centred: a shift would change what the end of an episode is worth.
    """
    deviation = jnp.asarray(example.reward).std()
    return jnp.where(enabled & (deviation > EPSILON), 1.0 / jnp.maximum(deviation, EPSILON), 1.0)


def as_learnt(batch: Batch, normaliser: Normaliser, scale: jax.Array, noise: float, key: jax.Array) -> Batch:
    """A block `[K, B]` as the losses see it: flat, normalised observations `[K, B, D]`, scaled rewards.

    With `noise`, Gaussian noise of that standard deviation, in normalised units, is added to `observation` and
    `next_observation` (S4RL, Sinha et al. 2021). `mc_return` is left in the reward's own units.
    """
    here, after = normaliser(batch.observation), normaliser(batch.next_observation)
    if noise > 0:
        here_key, after_key = jax.random.split(key)
        here = here + noise * jax.random.normal(here_key, here.shape)
        after = after + noise * jax.random.normal(after_key, after.shape)
    return batch.replace(observation=here, next_observation=after, reward=batch.reward * scale)
