"""Bounds of what is learnt, from which it can always come back.

A plain clip has no gradient at and beyond its bound: what a few early steps push there stays, whatever the data say later. `bounded` has
the same values, and a gradient wherever a descent step leads back inside.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

# Below it Adam's ε, 1e-8, would swallow the gradient of a factor that is learnt by its logarithm.
LOG_FACTOR_MIN = math.log(1e-6)


@jax.custom_vjp
def bounded(x: jax.Array, low: float, high: float) -> jax.Array:
    """`x` held within [low, high]; only gradients that would lead further out are 0."""
    return jnp.clip(x, low, high)


def _forward(x: jax.Array, low: float, high: float) -> tuple[jax.Array, tuple[jax.Array, float, float]]:
    return jnp.clip(x, low, high), (x, low, high)


def _backward(saved: tuple[jax.Array, float, float], gradient: jax.Array) -> tuple[jax.Array, None, None]:
    x, low, high = saved
    outward = ((x < low) & (gradient > 0)) | ((x > high) & (gradient < 0))  # a descent step goes against the gradient
    return jnp.where(outward, 0.0, gradient), None, None


bounded.defvjp(_forward, _backward)


def factor(logarithm: jax.Array, greatest: float = math.inf) -> jax.Array:
    """A factor that is learnt by its logarithm, such as a temperature: `exp`, held within [1e-6, greatest]."""
    return jnp.exp(bounded(logarithm, LOG_FACTOR_MIN, math.log(greatest)))
