"""Numbers of any size as distributions over bins: two-hot in symmetric logarithms.

    symlog(x) = sign(x) log(1 + |x|)        b_k: n bins, evenly from −L to L
    p(x): weight on the two bins about symlog(x), in proportion to its distance from the other one
    x(p) = symexp(Σ_k p_k b_k)              CE(l, x) = −Σ_k p_k(x) log softmax(l)_k

So a loss has one scale whatever the rewards are, and no gradient is larger than 1. Source: DreamerV3 (Hafner et al. 2023); as TD-MPC2 has
it (Hansen et al. 2024).
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from ..symlog import symexp, symlog


@dataclasses.dataclass(frozen=True)
class TwoHot:
    """`bins` bins over [−limit, limit] in symlog; numbers beyond count as the nearest end."""

    bins: int = 101
    limit: float = 10.0

    def encode(self, x: jax.Array) -> jax.Array:
        """p `[..., n]` of numbers `[...]`."""
        place = (jnp.clip(symlog(x), -self.limit, self.limit) + self.limit) * ((self.bins - 1) / (2.0 * self.limit))
        distance = jnp.abs(place[..., None] - jnp.arange(self.bins, dtype=jnp.float32).reshape((1,) * x.ndim + (-1,)))
        return jnp.maximum(1.0 - distance, 0.0)

    def decode(self, logits: jax.Array) -> jax.Array:
        """The number `[...]` of logits `[..., n]`; of equal logits exactly 0."""
        return self.mean(jax.nn.softmax(logits, axis=-1))

    def mean(self, p: jax.Array) -> jax.Array:
        """The number `[...]` of a distribution `[..., n]`. Bins of opposite sign are paired, so that a symmetric one gives exactly 0."""
        half = np.linspace(-self.limit, self.limit, self.bins, dtype=np.float32) / 2
        return symexp((p - jnp.flip(p, axis=-1)) @ half)

    def cross_entropy(self, logits: jax.Array, x: jax.Array) -> jax.Array:
        """CE `[...]` of logits `[..., n]` against numbers `[...]`."""
        return -jnp.sum(self.encode(x) * jax.nn.log_softmax(logits, axis=-1), axis=-1)
