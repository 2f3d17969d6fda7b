"""Rows of the model: rollouts of a policy from states of the data, kept in a ring on the device."""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import struct

from ....data.transition import Batch, Source
from ...base import Params
from .dynamics import Dynamics, Scales

OVER = 0.5  # chance of an end from which on a rollout is over


class Imagined(struct.PyTreeNode):
    """Steps in the model, leaves `[N, ...]`, observations flat; as in a `Transition`. `uncertainty` is the largest norm of the members'
    deviations, in the data's units."""

    observation: jax.Array
    action: jax.Array
    reward: jax.Array
    mask: jax.Array
    next_observation: jax.Array
    uncertainty: jax.Array


class Ring(struct.PyTreeNode):
    """The newest model rows. `rows` has leaves `[R, ...]`; `written` counts all that were ever kept, `[]` int32."""

    rows: Imagined
    written: jax.Array

    @property
    def capacity(self) -> int:
        return self.rows.reward.shape[0]

    @classmethod
    def empty(cls, capacity: int, observation_dim: int, action_dim: int) -> Ring:
        state, number = jnp.zeros((capacity, observation_dim)), jnp.zeros(capacity)
        action, after = jnp.zeros((capacity, action_dim)), jnp.zeros((capacity, observation_dim))
        return cls(Imagined(state, action, number, jnp.zeros(capacity), after, jnp.zeros(capacity)), jnp.zeros((), jnp.int32))

    def insert(self, rows: Imagined, there: jax.Array) -> Ring:
        """With those of the rows `[N]` that are `there`, in place of the oldest."""
        rank = jnp.cumsum(there) - 1
        slot = jnp.where(there, (self.written + rank) % self.capacity, self.capacity)
        kept = jax.tree.map(lambda old, new: old.at[slot].set(new, mode="drop"), self.rows, rows)
        # Counted no further than needed: what has been full once stays full.
        count = self.written + there.sum(dtype=jnp.int32)
        return Ring(kept, jnp.where(count >= 2 * self.capacity, self.capacity + count % self.capacity, count))

    def draw(self, key: jax.Array, shape: tuple[int, ...]) -> Imagined:
        """Rows drawn uniformly, leaves `[*shape, ...]`; zeros while there are none."""
        held = jnp.clip(self.written, 1, self.capacity)
        slot = jax.random.randint(key, (math.prod(shape),), 0, held)
        return jax.tree.map(lambda leaf: leaf[slot].reshape(*shape, *leaf.shape[1:]), self.rows)


def roll(
    dynamics: Dynamics,
    model: tuple[Params, Scales],
    policy: Callable[[jax.Array, jax.Array], jax.Array],
    start: jax.Array,
    key: jax.Array,
    length: int,
) -> tuple[Imagined, jax.Array]:
    """Rollouts of a policy from states `[S, D]`, each step by a member that is drawn for each row anew.

    Args:
        model: the members' weights, `[M, ...]`, and the units.
        policy: actions `[S, A]` of states `[S, D]` by a key.
        length: steps; a rollout ends before where the model says that the episode does.

    Returns:
        The steps `[length · S]`, and which of them are there: not those behind an end, nor what is not finite.
    """

    elites, scales = model

    def step(carry: tuple[jax.Array, jax.Array], key: jax.Array) -> tuple[tuple[jax.Array, jax.Array], tuple[Imagined, jax.Array]]:
        state, going = carry
        act_key, noise_key, member_key = jax.random.split(key, 3)
        action = policy(state, act_key)
        prediction = dynamics.predict(elites, scales, state, action)
        after, reward = dynamics.sample(prediction, scales, noise_key)
        member = jax.random.randint(member_key, (1, state.shape[0]), 0, reward.shape[0])
        after = jnp.take_along_axis(after, member[..., None], axis=0)[0]
        reward, ends = (jnp.take_along_axis(each, member, axis=0)[0] for each in (reward, prediction.ends))
        uncertainty = jnp.sqrt(jnp.square(prediction.deviation).sum(axis=-1)).max(axis=0)
        there = going & jnp.isfinite(after).all(axis=-1) & jnp.isfinite(reward) & jnp.isfinite(uncertainty)
        mask = jnp.where(ends > OVER, 0.0, 1.0)
        following = jnp.where(there[:, None], after, state)
        return (following, there & (mask > 0)), (Imagined(state, action, reward, mask, following, uncertainty), there)

    begin = start, jnp.ones(start.shape[0], bool)
    _, found = jax.lax.scan(step, begin, jax.random.split(key, length))
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), found)


def as_rows(imagined: Imagined, like: Batch, penalty: float = 0.0) -> Batch:
    """Model rows in the shape of a batch of flat rows: each of weight 1, of no episode, its return not known.

    Args:
        penalty: what the reward is lowered by, times the uncertainty (MOPO, Yu et al. 2020).
    """
    one, none = jnp.ones_like(like.weight), jnp.zeros_like(like.offline)
    return like.replace(
        observation=imagined.observation,
        action=imagined.action,
        reward=imagined.reward - penalty * imagined.uncertainty,
        mask=imagined.mask,
        next_observation=imagined.next_observation,
        truncated=none,
        mc_return=jnp.full_like(like.mc_return, -jnp.inf),
        quality=one,
        source=jnp.full_like(like.source, Source.ONLINE),
        intervened=none,
        weight=one,
        actor_weight=one,
        offline=none,
    )
