"""RLPD's update, written anew from its published settings (Ball et al. 2023), in plain Flax and Optax, as a peer on one device.

Ten critics of two layers of 256 with layer norm, a target that is the minimum of two of them drawn by chance, a tanh-Gaussian policy, a
learnt temperature, and 20 critic steps of 256 rows for one step of the policy; half of the rows are offline data. As there, a NumPy memory
is drawn from by chance alone, and each update's rows go from the host to the device.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

CRITICS, SUBSET, UTD, BATCH, DISCOUNT, TAU, RATE = 10, 2, 20, 256, 0.99, 0.005, 3e-4
LEAST, MOST = -20.0, 2.0  # log standard deviation


class Layers(nn.Module):
    """Two layers and an output."""

    out: int
    norm: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for _ in range(2):
            x = nn.Dense(256)(x)
            x = nn.relu(nn.LayerNorm()(x) if self.norm else x)
        return nn.Dense(self.out)(x)


class Rlpd:
    """The update's program and its memory. `call()` draws on the host and makes one update."""

    def __init__(self, observation: int, action: int, rows: int, seed: int = 0):
        self._critic, self._policy, self._adam = Layers(1, True), Layers(2 * action, False), optax.adam(RATE)
        self._action, self._rng = action, np.random.default_rng(seed)
        keys = jax.random.split(jax.random.key(seed), CRITICS + 1)
        critic = jax.vmap(lambda key: self._critic.init(key, jnp.zeros(observation + action)))(keys[1:])
        policy, temperature = self._policy.init(keys[0], jnp.zeros(observation)), jnp.float32(0.0)
        parts = (critic, policy, temperature)
        self._state = (*parts, critic, *(self._adam.init(part) for part in parts), keys[0])
        draw = partial(self._rng.standard_normal, dtype=np.float32)
        one = {
            "seen": draw((rows, observation)),
            "then": draw((rows, observation)),
            "reward": draw(rows),
            "mask": np.ones(rows, np.float32),
        }
        one["action"] = self._rng.uniform(-1, 1, (rows, action)).astype(np.float32)
        self._memories = (one, {name: leaf.copy() for name, leaf in one.items()})
        self._update: Callable[..., Any] = jax.jit(self._block, donate_argnums=0)

    def call(self) -> jax.Array:
        """One update; its critics' newest loss."""
        half = UTD * BATCH // 2
        places = [self._rng.integers(len(memory["reward"]), size=half) for memory in self._memories]
        drawn = {
            name: np.concatenate([memory[name][place] for memory, place in zip(self._memories, places, strict=True)])
            for name in self._memories[0]
        }
        order = self._rng.permutation(2 * half)
        self._state, loss = self._update(
            self._state, {name: leaf[order].reshape(UTD, BATCH, *leaf.shape[1:]) for name, leaf in drawn.items()}
        )
        return loss

    def _act(self, policy: Any, seen: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Actions `[B, A]` and their log-likelihoods `[B]`."""
        mean, log_std = jnp.split(self._policy.apply(policy, seen), 2, axis=-1)
        log_std = jnp.clip(log_std, LEAST, MOST)
        before = mean + jnp.exp(log_std) * jax.random.normal(key, mean.shape)
        normal = -0.5 * jnp.square((before - mean) / jnp.exp(log_std)) - log_std - 0.5 * jnp.log(2 * jnp.pi)
        return jnp.tanh(before), (normal - 2 * (jnp.log(2.0) - before - jax.nn.softplus(-2 * before))).sum(axis=-1)

    def _values(self, critic: Any, seen: jax.Array, action: jax.Array) -> jax.Array:
        """`[E, B]`."""
        return jax.vmap(lambda one: self._critic.apply(one, jnp.concatenate([seen, action], axis=-1))[..., 0])(critic)

    def _block(self, state: tuple, batch: dict[str, jax.Array]) -> tuple[tuple, jax.Array]:
        critic, policy, temperature, target, critic_adam, policy_adam, temperature_adam, key = state
        key, scan_key, act_key = jax.random.split(key, 3)

        def critic_step(carry: tuple, given: tuple) -> tuple[tuple, jax.Array]:
            critic, target, adam = carry
            rows, key = given
            act_key, subset_key = jax.random.split(key)
            then, log_prob = self._act(policy, rows["then"], act_key)
            chosen = jax.random.choice(subset_key, CRITICS, (SUBSET,), replace=False)
            value = self._values(jax.tree.map(lambda leaf: leaf[chosen], target), rows["then"], then).min(axis=0)
            goal = rows["reward"] + DISCOUNT * rows["mask"] * (value - jnp.exp(temperature) * log_prob)
            loss, gradient = jax.value_and_grad(lambda one: jnp.square(self._values(one, rows["seen"], rows["action"]) - goal).mean())(
                critic
            )
            change, adam = self._adam.update(gradient, adam)
            critic = optax.apply_updates(critic, change)
            return (critic, optax.incremental_update(critic, target, TAU), adam), loss

        (critic, target, critic_adam), losses = jax.lax.scan(
            critic_step, (critic, target, critic_adam), (batch, jax.random.split(scan_key, UTD))
        )
        rows = jax.tree.map(lambda leaf: leaf[-1], batch)

        def policy_loss(policy: Any) -> tuple[jax.Array, jax.Array]:
            action, log_prob = self._act(policy, rows["seen"], act_key)
            return (jnp.exp(temperature) * log_prob - self._values(critic, rows["seen"], action).mean(axis=0)).mean(), log_prob

        gradient, log_prob = jax.grad(policy_loss, has_aux=True)(policy)
        change, policy_adam = self._adam.update(gradient, policy_adam)
        policy = optax.apply_updates(policy, change)
        entropy = -log_prob.mean() + self._action / 2
        gradient = jax.grad(lambda one: jnp.exp(one) * entropy)(temperature)
        change, temperature_adam = self._adam.update(gradient, temperature_adam)
        temperature = optax.apply_updates(temperature, change)
        return (critic, policy, temperature, target, critic_adam, policy_adam, temperature_adam, key), losses[-1]
