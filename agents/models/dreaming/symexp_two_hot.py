"""Numbers of any size as distributions over bins that lie symlog-evenly: DreamerV3's rewards and values.

symlog x = sign x · log(1 + |x|)      symexp x = sign x · (exp |x| − 1)
bins     = symexp(−20 … 20), 255 of them
twohot y : the weights of the two bins around y, whose mean is y
loss     = −Σ_i twohot(y)_i log p_i,  p = softmax(logits)
mean     = Σ_i p_i b_i, summed from the middle outwards in pairs, so that even probabilities give exactly 0
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

BINS = 255
LARGEST = 20.0  # symlog of the outermost bin


def bins_of(count: int = BINS) -> np.ndarray:
    """So many bins, an odd number, `[count]` float32, in order; the lower half is the upper one's mirror to the bit."""
    half = np.expm1(np.linspace(0.0, LARGEST, count // 2 + 1)).astype(np.float32)
    return np.concatenate([-half[:0:-1], half])


def mean_of(logits: jax.Array) -> jax.Array:
    """`[...]` of logits `[..., 255]`."""
    weighted = jax.nn.softmax(logits) * _along(bins_of(logits.shape[-1]), logits)
    half = logits.shape[-1] // 2
    return (weighted[..., :half][..., ::-1] + weighted[..., half + 1 :]).sum(axis=-1)  # the middle bin is 0


def two_hot(values: jax.Array, bins: np.ndarray) -> jax.Array:
    """Weights `[..., N]` of bins `[N]` for values `[...]`; beyond the outermost bins, that one has all the weight."""
    edges, inside = _along(bins, values[..., None]), jnp.clip(values, bins[0], bins[-1])[..., None]
    above = jnp.clip((edges <= inside).sum(axis=-1), 1, len(bins) - 1)  # [...], the bin above the value
    low, high = jnp.asarray(bins)[above - 1], jnp.asarray(bins)[above]
    share = ((inside[..., 0] - low) / (high - low))[..., None]
    place, above = _along(np.arange(len(bins)), values[..., None]), above[..., None]
    return jnp.where(place == above, share, 0.0) + jnp.where(place == above - 1, 1.0 - share, 0.0)


def two_hot_loss(logits: jax.Array, values: jax.Array) -> jax.Array:
    """Cross-entropy `[...]` of logits `[..., 255]` to values `[...]`, without gradient to these."""
    target = two_hot(jax.lax.stop_gradient(values), bins_of(logits.shape[-1]))
    return -(target * jax.nn.log_softmax(logits)).sum(axis=-1)


def _along(each: np.ndarray, values: jax.Array) -> jax.Array:
    """`[N]` with as many axes as `values` `[..., N]` or `[..., 1]`."""
    return jnp.asarray(each).reshape((1,) * (values.ndim - 1) + each.shape)
