"""Normalisation of observations and rewards by the offline data's statistics, which are part of the agent's state.

    z = (s − mean) / std       z ← sign(z) (b − (b/2)² / |z|)  where |z| > b/2       r ← r / std(r)

They are taken once, from the rows that `Agent.init` sees, and travel with the state: through checkpoints, into the agent that
goes on after the warm-up and, for observations, over the wire to the actors. Acting therefore uses the same ones.

A number far from the data is bent towards the bound b and not cut, so that no two values look the same to the networks. What no statistics
were taken of (training from nothing, or without normalising) is neither scaled nor bounded.
Source: TD3+BC (Fujimoto and Gu 2021, sec. 5) for the observations; its absolute 1e-3 beside the deviation would hide small units.
"""

from __future__ import annotations

from typing import Protocol, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from ...data.transition import Batch, PyTree, Transition, flatten_observation

BatchT = TypeVar("BatchT", bound=Batch)
BOUND = 20.0  # deviations
NOISE = 5e-7  # of a number's size: what float32 rounding makes of a constant
STILL = 1e-7  # of the largest deviation: what is computed as nearly 0
LEAST = float(np.finfo(np.float32).tiny)  # the inverse of what is smaller is infinite
ROWS_AT_ONCE = 1 << 16


class Normalising(Protocol):
    """The settings of an agent that say how observations are normalised."""

    @property
    def normalise_observations(self) -> bool: ...

    @property
    def observation_bound(self) -> float: ...

    @property
    def observation_floor(self) -> float: ...


class Normaliser(struct.PyTreeNode):
    """Centre and scale of flat observations, `[D]` each; part of the agent's state, so that acting uses the same.

    Where `mean` is 0 and `scale` 1 a number is passed on as it came. All others lie within ±`bound` (0: without bounds).
    """

    mean: jax.Array
    scale: jax.Array
    bound: float = struct.field(pytree_node=False, default=BOUND)

    def __call__(self, observation: PyTree) -> jax.Array:
        """Flat, centred and scaled observations `[..., D]`, without images."""
        scaled = self.scaled(observation)
        if not self.bound:
            return scaled
        half = 0.5 * self.bound
        bent = jnp.sign(scaled) * (self.bound - half * half / jnp.maximum(jnp.abs(scaled), half))
        return jnp.where(self._is_far(scaled), bent, scaled)

    def scaled(self, observation: PyTree) -> jax.Array:
        """The same without bounds."""
        flat = flatten_observation(observation)
        return (flat - _along(self.mean, flat)) * _along(self.scale, flat)

    def clipped_share(self, observation: PyTree) -> jax.Array:
        """`[]` share of the numbers of observations that the bound changes."""
        scaled = self.scaled(observation)
        return jnp.mean(self._is_far(scaled)) if self.bound and scaled.size else jnp.zeros(())

    def _is_far(self, scaled: jax.Array) -> jax.Array:
        known = (self.mean != 0) | (self.scale != 1)
        return _along(known, scaled) & (jnp.abs(scaled) > 0.5 * self.bound)

    @classmethod
    def asked(cls, example: Transition, config: Normalising) -> Normaliser:
        """The statistics that an agent's settings ask for."""
        return cls.of(example, config.normalise_observations, config.observation_bound, config.observation_floor)

    @classmethod
    def of(cls, example: Transition, enabled: bool, bound: float = BOUND, floor: float = 0.0) -> Normaliser:
        """Statistics of example rows `[N]` on the host; the identity where not `enabled` or where N is 1.

        A number that is constant in the example, up to rounding, may vary online in a range that nobody knows: it is centred and divided by
        its own size or by the other numbers' usual deviation, whichever is larger. One that varies less than `floor` times that usual
        deviation is divided by so much: a simulator's drift of 1e-5, divided by itself, would be as large as all that matters.
        """
        with jax.ensure_compile_time_eval():  # the rows are there also where only the shapes of what is made of them are asked for
            flat = flatten_observation(example.observation)
        if not enabled or flat.shape[0] < 2:
            return cls(jnp.zeros(flat.shape[-1]), jnp.ones(flat.shape[-1]), bound)
        mean, deviation, size = _moments(np.asarray(flat))
        varies = (deviation > NOISE * size) & (deviation > STILL * deviation.max(initial=0.0)) & (deviation > LEAST)
        usual = np.median(deviation[varies]) if varies.any() else 1.0
        scale = 1.0 / np.where(varies, np.maximum(deviation, floor * usual), np.maximum(size, usual))
        return cls(jnp.asarray(mean, jnp.float32), jnp.asarray(scale, jnp.float32), bound)


def bounded(state: PyTree, bound: float) -> PyTree:
    """A state with another bound in its normalisers: the statistics are the data's, and the bound is the configuration's."""

    def is_normaliser(node: PyTree) -> bool:
        return isinstance(node, Normaliser)

    nodes = jax.tree.leaves(state, is_leaf=is_normaliser)
    if not any(is_normaliser(node) and node.bound != bound for node in nodes):
        return state
    return jax.tree.map(lambda node: node.replace(bound=bound) if is_normaliser(node) else node, state, is_leaf=is_normaliser)


def reward_scale(example: Transition, enabled: bool) -> jax.Array:
    """`[]` factor that gives the example's rewards `[N]` a standard deviation of 1; 1 where not `enabled`, or where they are constant.

    Rewards are scaled and not centred: a shift would change what the end of an episode is worth.
    """
    if not enabled or np.shape(example.reward)[0] < 2:
        return jnp.ones(())
    _, deviation, size = _moments(np.asarray(example.reward)[:, None])
    return jnp.asarray(1.0 / deviation[0] if deviation[0] > max(NOISE * size[0], LEAST) else 1.0, jnp.float32)


def _moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, standard deviation and largest magnitude of columns `[N, D]`, in float64: two passes over a part of the rows at a time."""
    parts = [values[low : low + ROWS_AT_ONCE] for low in range(0, len(values), ROWS_AT_ONCE)]
    mean = np.sum([part.sum(axis=0, dtype=np.float64) for part in parts], axis=0) / len(values)
    variance = np.sum([np.square(part - mean).sum(axis=0) for part in parts], axis=0) / len(values)
    return mean, np.sqrt(variance), np.max([np.abs(part).max(axis=0) for part in parts], axis=0)


def _along(each: jax.Array, values: jax.Array) -> jax.Array:
    """`[D]` as a factor of `[..., D]`."""
    return each.reshape((1,) * (values.ndim - 1) + each.shape)


def return_scale(example: Transition, span: float) -> jax.Array:
    """`[]` factor that makes the returns of the example's episodes, rows `[N]` in order, span `span` from the least to the greatest;
    1 where they are all alike. Source: IQL's locomotion (Kostrikov et al. 2022), with a span of 1,000."""
    step, episode, reward = (jnp.asarray(x) for x in (example.step, example.episode, example.reward))
    new = jnp.concatenate([jnp.ones(1, bool), (step[1:] != step[:-1] + 1) | (episode[1:] != episode[:-1])])
    number = jnp.cumsum(new) - 1
    returns = jax.ops.segment_sum(reward, number, num_segments=reward.shape[0])
    there = jnp.arange(reward.shape[0]) <= number[-1]
    found = jnp.max(returns, initial=-jnp.inf, where=there) - jnp.min(returns, initial=jnp.inf, where=there)
    return jnp.where(found > 0, span / jnp.where(found > 0, found, 1.0), 1.0)


def as_learnt(batch: Batch, normaliser: Normaliser, scale: jax.Array, noise: float, key: jax.Array) -> Batch:
    """A block `[K, B]` as the losses see it: flat, normalised observations `[K, B, D]`, scaled rewards.

    Their noise is `blurred`'s. `mc_return` is left in the reward's own units.
    """
    seen = blurred(batch, normaliser, noise, key)
    here, after = normaliser(seen.observation), normaliser(seen.next_observation)
    return batch.replace(observation=here, next_observation=after, reward=batch.reward * scale)


def blurred(batch: BatchT, normaliser: Normaliser, noise: float, key: jax.Array) -> BatchT:
    """A batch with Gaussian noise on `observation` and `next_observation`, which it makes flat: S4RL (Sinha et al. 2021).

    Args:
        noise: its standard deviation, in normalised units; at 0 the batch stays as it is.
    """
    if noise == 0:
        return batch

    def noisy(observation: PyTree, key: jax.Array) -> jax.Array:
        flat = flatten_observation(observation)
        return flat + noise / _along(normaliser.scale, flat) * jax.random.normal(key, flat.shape)

    here_key, after_key = jax.random.split(key)
    return batch.replace(observation=noisy(batch.observation, here_key), next_observation=noisy(batch.next_observation, after_key))
