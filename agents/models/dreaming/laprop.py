"""LaProp with adaptive gradient clipping, DreamerV3's optimizer.

    g ← g · min(1, c · max(1e-3, ‖w‖) / ‖g‖)                  of each array by itself: AGC
    v ← β₂ v + (1 − β₂) g²        u = g / (√(v / (1 − β₂ᵗ)) + ε)
    m ← β₁ m + (1 − β₁) u         w ← w − lr · m / (1 − β₁ᵗ)

Adam's momentum is of the gradient, LaProp's of the scaled gradient, so that a large step cannot follow from a momentum that is older than
its scale. `optax.adaptive_grad_clip` clips each column of a kernel by itself, which is another rule. Sources: Ziyin et al. 2020; Brock et
al. 2021; the authors' code of DreamerV3, by which a zero norm of the weights counts as 1e-3.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

LEAST_NORM = 1e-3
EPSILON = 1e-20
MOMENTUM, SCALE = 0.9, 0.999  # β₁, β₂


def clip_by_norm_ratio(ratio: float) -> optax.GradientTransformation:
    """AGC of whole arrays: no gradient is longer than `ratio` times its weights."""

    def clipped(gradient: jax.Array, weights: jax.Array) -> jax.Array:
        longest = ratio * jnp.maximum(LEAST_NORM, jnp.linalg.norm(weights.ravel()))
        return gradient / jnp.maximum(1.0, jnp.linalg.norm(gradient.ravel()) / longest)

    def update(updates: optax.Updates, state: optax.OptState, params: optax.Params | None = None) -> tuple[optax.Updates, optax.OptState]:
        return jax.tree.map(clipped, updates, params), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def laprop(learning_rate: float, warmup: int, ratio: float = 0.3) -> optax.GradientTransformation:
    """The optimizer; its step size grows from 0 to `learning_rate` over `warmup` steps."""
    rate = optax.linear_schedule(0.0, learning_rate, warmup) if warmup else learning_rate
    return optax.chain(
        clip_by_norm_ratio(ratio),
        optax.scale_by_rms(SCALE, EPSILON, eps_in_sqrt=False, bias_correction=True),
        optax.ema(MOMENTUM),
        optax.scale_by_learning_rate(rate),
    )
