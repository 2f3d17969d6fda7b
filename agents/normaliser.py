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

    Their noise is `blurred`'s. `mc_return` is left in the reward's own units.
    """
    seen = blurred(batch, normaliser, noise, key)
    here, after = normaliser(seen.observation), normaliser(seen.next_observation)
    return batch.replace(observation=here, next_observation=after, reward=batch.reward * scale)


def blurred(batch: Batch, normaliser: Normaliser, noise: float, key: jax.Array) -> Batch:
    """A batch with Gaussian noise on `observation` and `next_observation`, which it makes flat: S4RL (Sinha et al. 2021).

    Args:
        noise: its standard deviation, in normalised units; at 0 the batch stays as it is.
    """
    if noise == 0:
        return batch

    def noisy(observation: PyTree, key: jax.Array) -> jax.Array:
        flat = flatten_observation(observation)
        scale = normaliser.scale.reshape((1,) * (flat.ndim - 1) + normaliser.scale.shape)
        return flat + noise / scale * jax.random.normal(key, flat.shape)

    here_key, after_key = jax.random.split(key)
    return batch.replace(observation=noisy(batch.observation, here_key), next_observation=noisy(batch.next_observation, after_key))
