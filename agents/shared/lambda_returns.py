"""λ-returns along a sequence, and the spread of returns by which advantages are divided (DreamerV3).

R_t = r_{t+1} + c_{t+1} ((1 − λ_{t+1}) V_{t+1} + λ_{t+1} R_{t+1}),  R_T = V_T
S   = max(1, high − low),  low, high: moving averages of the 5th and the 95th percentile of R
"""

from __future__ import annotations

import jax
import jax.numpy as jnp


def lambda_return(reward: jax.Array, going: jax.Array, value: jax.Array, trace: jax.Array | float) -> jax.Array:
    """R_0 … R_{T−1} `[T, ...]` from r, c, V and λ of the steps 1 … T, `[T, ...]` each."""
    trace = jnp.broadcast_to(trace, value.shape)

    def back(following: jax.Array, inputs: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
        reward, going, value, trace = inputs
        here = reward + going * ((1.0 - trace) * value + trace * following)
        return here, here

    return jax.lax.scan(back, value[-1], (reward, going, value, trace), reverse=True)[1]


def spread(
    returns: jax.Array, there: jax.Array, before: tuple[jax.Array, jax.Array], rate: float
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    """S `[]`, and the moving averages (low, high) after returns `[H, N]`, of which those `there` `[N]` count."""
    counted = jnp.where(there[None], returns, jnp.nan)
    found = jnp.nanquantile(counted, jnp.array([0.05, 0.95]))
    low, high = (old + rate * (new - old) for old, new in zip(before, found, strict=True))
    return jnp.maximum(1.0, high - low), (low, high)
