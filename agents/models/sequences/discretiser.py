"""Numbers as tokens: N bins for each number of a step, taken once from data.

    token(x) = the last i with threshold_i ≤ x, within 0 … N − 1        value(i) = ½ (threshold_i + threshold_{i+1})
    E[x]     = Σ_i p_i value(i)

Quantile bins hold equally many rows each. A value that many rows have takes several thresholds, and the bins between these stay empty.
Uniform bins are equally wide. What lies outside the data is in the outermost bin. Source: Trajectory Transformer (Janner et al. 2021,
sec. 3).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

SPACINGS = ("quantile", "uniform")


class Discretiser(struct.PyTreeNode):
    """The bins of D numbers: `thresholds` `[N + 1, D]`, rising."""

    thresholds: jax.Array

    @classmethod
    def of(cls, rows: np.ndarray, bins: int, spacing: str) -> Discretiser:
        """The bins of the columns of `rows` `[n, D]`, whose numbers that are not finite do not count; [-1, 1] where there are none."""
        return cls(jnp.asarray(np.stack([_thresholds(column, bins, spacing) for column in rows.T], axis=1), jnp.float32))

    @property
    def bins(self) -> int:
        """N."""
        return self.thresholds.shape[0] - 1

    def part(self, columns: slice) -> Discretiser:
        """The bins of some of the numbers."""
        return Discretiser(self.thresholds[:, columns])

    def tokens(self, values: jax.Array) -> jax.Array:
        """Tokens `[..., D]` int32 of values `[..., D]`."""
        thresholds = self.thresholds.reshape((1,) * (values.ndim - 1) + self.thresholds.shape)  # [..., N + 1, D]
        reached = jnp.sum(values[..., None, :] >= thresholds, axis=-2, dtype=jnp.int32)
        return jnp.clip(reached - 1, 0, self.bins - 1)

    def values(self, tokens: jax.Array) -> jax.Array:
        """The middles `[..., D]` of the bins of tokens `[..., D]`; the last bin's of what is above it."""
        own = jnp.arange(self.thresholds.shape[1]).reshape((1,) * (tokens.ndim - 1) + (-1,))
        return self.middles[jnp.minimum(tokens, self.bins - 1), own]

    def expected(self, probabilities: jax.Array) -> jax.Array:
        """E[x] `[..., D]` from the probabilities `[..., D, N]` of the bins, which may sum to less than 1."""
        return jnp.einsum("...dn,nd->...d", probabilities, self.middles)

    @property
    def middles(self) -> jax.Array:
        """`[N, D]`."""
        return 0.5 * (self.thresholds[:-1] + self.thresholds[1:])


def _thresholds(column: np.ndarray, bins: int, spacing: str) -> np.ndarray:
    """`[N + 1]` of one number."""
    known = np.sort(column[np.isfinite(column)])
    if not known.size:
        return np.linspace(-1.0, 1.0, bins + 1)
    if spacing == "uniform":
        return np.linspace(known[0], known[-1], bins + 1)
    return known[np.linspace(0, known.size - 1, bins + 1).round().astype(int)]
