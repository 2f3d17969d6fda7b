"""DreamerV3's recurrent state-space model.

    h_t  = f(h_{t−1}, z_{t−1}, a_{t−1})        a GRU in blocks
    z_t ~ q(z | h_t, o_t)                      the posterior, where the observation is known
    ẑ_t ~ p(z | h_t)                           the prior, where it is imagined

z is G groups of C classes, each one-hot. Of every distribution 1 % is uniform, so that no logarithm runs off. A sample passes its gradient
straight to the probabilities. Where an episode begins, h, z and a are zeros. Source: Hafner et al. 2023, as the authors have it in 2025.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import struct

from .normed_layers import EPSILON, FAN_IN, BlockLinear, NormedLayer

BLOCKS = 8
UNIFORM = 0.01


class Latent(struct.PyTreeNode):
    """A state of the model: `deter` is h `[..., D]`, and `stoch` z `[..., G, C]`."""

    deter: jax.Array
    stoch: jax.Array

    @property
    def features(self) -> jax.Array:
        """What the heads see, `[..., D + G·C]`."""
        return jnp.concatenate([self.deter, self.stoch.reshape(*self.stoch.shape[:-2], -1)], axis=-1)


class RSSM(nn.Module):
    """The recurrent step, prior and posterior, with h of `deter` numbers and z of `groups` × `classes`."""

    deter: int
    units: int
    groups: int
    classes: int

    def setup(self):
        self.of_deter, self.of_stoch, self.of_action = (NormedLayer(self.units) for _ in range(3))
        self.mixed, self.mixed_norm = BlockLinear(self.deter // BLOCKS), nn.RMSNorm(epsilon=EPSILON)
        self.gates = BlockLinear(3 * self.deter // BLOCKS)
        self.prior_layers = [NormedLayer(self.units) for _ in range(2)]
        self.posterior_layer = NormedLayer(self.units)
        self.prior_logits, self.posterior_logits = (nn.Dense(self.groups * self.classes, kernel_init=FAN_IN) for _ in range(2))

    def __call__(self, latent: Latent, action: jax.Array, tokens: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Logits of the prior and of the posterior after one step; every parameter is used."""
        deter = self.recur(latent, action)
        return self.prior(deter), self.posterior(deter, tokens)

    def start(self, *lead: int) -> Latent:
        """The state before an episode's first observation, `[*lead, ...]`."""
        return Latent(jnp.zeros((*lead, self.deter)), jnp.zeros((*lead, self.groups, self.classes)))

    def recur(self, latent: Latent, action: jax.Array) -> jax.Array:
        """h_t `[..., D]`, after the action `[..., A]`."""
        action = action / jax.lax.stop_gradient(jnp.maximum(1.0, jnp.abs(action)))
        stoch = latent.stoch.reshape(*latent.stoch.shape[:-2], -1)
        seen = jnp.concatenate([self.of_deter(latent.deter), self.of_stoch(stoch), self.of_action(action)], axis=-1)
        blocks = latent.deter.reshape(*latent.deter.shape[:-1], BLOCKS, -1)  # [..., 8, D/8]
        seen = jnp.broadcast_to(seen[..., None, :], (*blocks.shape[:-1], seen.shape[-1]))
        mixed = self.mixed(jnp.concatenate([blocks, seen], axis=-1)).reshape(latent.deter.shape)
        mixed = nn.silu(self.mixed_norm(mixed)).reshape(blocks.shape)
        reset, candidate, update = jnp.split(self.gates(mixed), 3, axis=-1)  # [..., 8, D/8] each
        update = nn.sigmoid(update - 1.0)
        deter = update * jnp.tanh(nn.sigmoid(reset) * candidate) + (1.0 - update) * blocks
        return deter.reshape(latent.deter.shape)

    def prior(self, deter: jax.Array) -> jax.Array:
        """log p(z | h) `[..., G, C]`."""
        for layer in self.prior_layers:
            deter = layer(deter)
        return self._log_probs(self.prior_logits(deter))

    def posterior(self, deter: jax.Array, tokens: jax.Array) -> jax.Array:
        """log q(z | h, o) `[..., G, C]`, o as tokens `[..., E]`."""
        return self._log_probs(self.posterior_logits(self.posterior_layer(jnp.concatenate([deter, tokens], axis=-1))))

    def observe(self, latent: Latent, action: jax.Array, tokens: jax.Array, first: jax.Array) -> tuple[jax.Array, jax.Array]:
        """h_t and the posterior's log probabilities; where `first` `[...]`, an episode begins, and what was before is dropped."""
        kept = jax.tree.map(lambda x: jnp.where(first.reshape(first.shape + (1,) * (x.ndim - first.ndim)), 0.0, x), (latent, action))
        deter = self.recur(*kept)
        return deter, self.posterior(deter, tokens)

    def imagine(self, latent: Latent, action: jax.Array) -> tuple[jax.Array, jax.Array]:
        """h_t and the prior's log probabilities."""
        deter = self.recur(latent, action)
        return deter, self.prior(deter)

    def _log_probs(self, logits: jax.Array) -> jax.Array:
        return with_uniform(logits.reshape(*logits.shape[:-1], self.groups, self.classes))


def with_uniform(logits: jax.Array) -> jax.Array:
    """Log probabilities `[..., C]`, of which `UNIFORM` is spread evenly."""
    return jnp.log((1.0 - UNIFORM) * jax.nn.softmax(logits) + UNIFORM / logits.shape[-1])


def sample(key: jax.Array, log_probs: jax.Array) -> jax.Array:
    """One-hot samples `[..., G, C]`, whose gradient is the probabilities'.

    One uniform number for each is compared with the cumulative probabilities: Gumbel noise for each class costs C times as many.
    """
    reached = jnp.exp(log_probs) @ jnp.triu(jnp.ones((log_probs.shape[-1],) * 2))  # [..., G, C]
    drawn = jax.random.uniform(key, log_probs.shape[:-1])[..., None] * reached[..., -1:]
    return straight_through((drawn >= reached).sum(axis=-1), log_probs)


def mode(log_probs: jax.Array) -> jax.Array:
    """The most probable classes, one-hot `[..., G, C]`."""
    return straight_through(log_probs.argmax(axis=-1), log_probs)


def straight_through(classes: jax.Array, log_probs: jax.Array) -> jax.Array:
    """Classes `[..., G]` as one-hot `[..., G, C]` with the gradient of the probabilities."""
    probs = jnp.exp(log_probs)
    chosen = jax.nn.one_hot(jnp.minimum(classes, log_probs.shape[-1] - 1), log_probs.shape[-1])
    return jax.lax.stop_gradient(chosen) + (probs - jax.lax.stop_gradient(probs))


def divergence(log_p: jax.Array, log_q: jax.Array) -> jax.Array:
    """KL(p ‖ q) `[...]` of log probabilities `[..., G, C]`, summed over the groups."""
    return (jnp.exp(log_p) * (log_p - log_q)).sum(axis=(-2, -1))


def balanced(posterior: jax.Array, prior: jax.Array, free_nats: float) -> tuple[jax.Array, jax.Array]:
    """The prior's and the posterior's loss, `[...]` each: max(free, KL(sg q ‖ p)) and max(free, KL(q ‖ sg p)), of log probabilities."""
    still = jax.lax.stop_gradient
    return (
        jnp.maximum(free_nats, divergence(still(posterior), prior)),
        jnp.maximum(free_nats, divergence(posterior, still(prior))),
    )
