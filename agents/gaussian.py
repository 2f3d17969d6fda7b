"""The Gaussian of IQL and AWAC: a tanh mean, a deviation that does not depend on the state, and no squashing of the samples.

Its density is finite at the edge of the action range, where recorded actions often lie and a squashed Gaussian's is not.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from ..data.errors import WarmloopError
from .base import WarmStart
from .networks import HEAD_INIT, hidden_layers
from .offline import adam_moments, gaussian_policy


class GaussianPolicy(nn.Module):
    """`observation [..., D]` gives the mean, within ±1, and the log standard deviation, `[..., A]` each."""

    action_dim: int
    hidden: tuple[int, ...] = (256, 256)
    layer_norm: bool = False
    activation: str = "relu"
    dropout: float = 0.0
    log_std_min: float = -5.0
    log_std_max: float = 2.0

    @nn.compact
    def __call__(self, observation: jax.Array) -> tuple[jax.Array, jax.Array]:
        mean = jnp.tanh(nn.Dense(self.action_dim, kernel_init=HEAD_INIT, name="mean")(hidden_layers(self, observation)))
        log_std = self.param("log_std", nn.initializers.zeros, (self.action_dim,))
        return mean, jnp.broadcast_to(jnp.clip(log_std, self.log_std_min, self.log_std_max), mean.shape)


def log_density(action: jax.Array, mean: jax.Array, log_std: jax.Array) -> jax.Array:
    """log π `[...]` of actions `[..., A]`."""
    standardised = (action - mean) * jnp.exp(-log_std)
    return (-0.5 * jnp.square(standardised) - log_std - 0.5 * jnp.log(2 * jnp.pi)).sum(axis=-1)


def sample(key: jax.Array, mean: jax.Array, log_std: jax.Array) -> jax.Array:
    """Actions `[..., A]`, clipped to the range that critics have seen and robots take."""
    return jnp.clip(mean + jnp.exp(log_std) * jax.random.normal(key, mean.shape), -1.0, 1.0)


def warm_start(state: Any, config: Any) -> WarmStart:
    """What `sac` goes on from: the critics with their optimizer, and a policy that has the same mode.

    Raises:
        WarmloopError: the critics value scaled rewards, which SAC would not see.
    """
    if config.normalise_rewards:
        raise WarmloopError(
            "The critics were warmed up on normalised rewards and do not fit another algorithm's: "
            "warm up with warmup_agent.normalise_rewards=False, or go on with the same algorithm."
        )
    return WarmStart(
        actor=squashed(state.actor, config.log_std_min, config.log_std_max),
        critic=state.critic,
        target_critic=state.target_critic,
        critic_optimizer=adam_moments(state.critic_optimizer),
        normaliser=state.normaliser,
        key=state.key,
        updates=state.updates,
    )


def squashed(actor: Any, log_std_min: float, log_std_max: float) -> Any:
    """The parameters of `networks.Policy` whose mode is this Gaussian's mean, exactly, in every state.

    Its deviation is this one's before the tanh: the same to first order where the mean is 0, narrower towards ±1.
    """
    layers = dict(actor["params"])
    deviation = jnp.exp(jnp.clip(layers.pop("log_std"), log_std_min, log_std_max))
    return gaussian_policy({"params": layers}, deviation)
