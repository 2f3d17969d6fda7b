"""Values as histograms: a critic that has one number for each bin of the return, and learns by cross entropy (HL-Gauss).

    p_k(y) = [Φ((b_{k+1} − y)/σ) − Φ((b_k − y)/σ)] / [Φ((b_n − y)/σ) − Φ((b_0 − y)/σ)]
    L      = −Σ_k p_k(y) log softmax_k
    Q      = Σ_k softmax_k c_k

b_k are the edges of n bins of one width and c_k their centres; y and Q are held within the bounds of the return. There are bins beyond
both bounds, as far as the Gaussian about a bound reaches. Cut off at the bound, its mean would lie inside: a return of 0 would be read as
two thirds of a bin, and bootstrapping would raise that to two bins. Source: Farebrother et al. 2024, after Imani and White 2018.
"""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr

from .bounds import bounded

REACH = 4.0  # deviations of the Gaussian that have bins beyond a bound
DOUBT = 1e-3  # share of an untrained critic's histogram that lies on all bins alike, so that none is out of reach


@dataclasses.dataclass(frozen=True)
class Bins:
    """Bins of returns between two finite bounds, and beyond them.

    Attributes:
        low, high: the least and the greatest return.
        count: bins between them.
        sigma: σ in widths of a bin.
    """

    low: float
    high: float
    count: int = 51
    sigma: float = 0.75

    @property
    def beyond(self) -> int:
        """Bins beyond each bound."""
        return math.ceil(REACH * self.sigma)

    @property
    def width(self) -> float:
        """Of a bin, in units of the return."""
        return (self.high - self.low) / self.count

    @property
    def edges(self) -> np.ndarray:
        """b `[n + 1]`, where n is `count` and what lies beyond."""
        return self.low + self.width * np.arange(-self.beyond, self.count + self.beyond + 1)

    @property
    def centres(self) -> np.ndarray:
        """c `[n]`."""
        return 0.5 * (self.edges[1:] + self.edges[:-1])

    def clip(self, value: jax.Array) -> jax.Array:
        """Targets held within the bounds."""
        return jnp.clip(value, self.low, self.high)

    def probabilities(self, value: jax.Array) -> jax.Array:
        """p `[..., n]` of targets `[...]` within the bounds."""
        edges = jnp.asarray(self.edges, jnp.float32).reshape(*(1,) * value.ndim, -1)
        below = ndtr((edges - value[..., None]) / (self.sigma * self.width))  # [..., n + 1]
        return (below[..., 1:] - below[..., :-1]) / (below[..., -1:] - below[..., :1])

    def cross_entropy(self, logits: jax.Array, value: jax.Array) -> jax.Array:
        """L `[...]` of logits `[..., n]` against targets `[...]` within the bounds."""
        return -jnp.sum(self.probabilities(value) * jax.nn.log_softmax(logits), axis=-1)

    def mean(self, logits: jax.Array) -> jax.Array:
        """Q `[...]` of logits `[..., n]`, within the bounds; its gradient never leads further out."""
        return bounded(jax.nn.softmax(logits) @ jnp.asarray(self.centres, jnp.float32), self.low, self.high)

    def untrained(self) -> jax.Array:
        """Logits `[n]` with which a critic begins, so that it thinks little of what it has not seen: those of the low bound."""
        certain = self.probabilities(jnp.asarray(self.low, jnp.float32))
        return jnp.log((1.0 - DOUBT) * certain + DOUBT / certain.size)
