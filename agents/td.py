"""The critics' regression on a target, which IQL, AWAC and BCQ share."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ..data.transition import Batch
from .base import Metrics, Params, critic_metrics
from .networks import Critic, apply


def td_loss(
    critic: Params, module: Critic, batch: Batch, target: jax.Array, dropout: jax.Array
) -> tuple[jax.Array, tuple[Metrics, jax.Array]]:
    """Weighted squared error of every member against y `[B]`. Returns the loss and (metrics, |TD error| `[B]`, the mean over E)."""
    q = apply(module, critic, batch.observation, batch.action, dropout=dropout)  # [E, B]
    error = q - target[None]
    loss = jnp.mean(batch.weight[None] * jnp.square(error))
    return loss, (critic_metrics(loss, q, target), jnp.abs(error).mean(axis=0))
