"""The policy of IQL and AWAC, and its regression: a Gaussian with a tanh mean, a deviation that does not depend on the state, and samples
that are clipped and not squashed.

    L_π = −mean w_π W log π(a|s)

Its density is finite at the edge of the action range, where recorded actions often lie and a squashed Gaussian's is not.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from ...data.transition import Batch, PyTree, Spec
from ..base import Actor, Metrics, Params, WarmStart
from ..networks.bounds import bounded
from ..networks.networks import HEAD_INIT, apply, hidden_layers, initialise
from .agent_settings import CriticSettings, ScaledRewardSettings, setting
from .handing_over import squashed, warm_start


@dataclasses.dataclass(frozen=True)
class RegressionSettings(ScaledRewardSettings, CriticSettings):
    """What the algorithms have that learn this policy, beside critics."""

    weight_limit: float = setting(100.0, "greatest weight of a row in the policy's regression", least=1)
    log_std_min: float = setting(-5.0, "least log standard deviation of the policy")
    log_std_max: float = setting(2.0, "greatest log standard deviation of the policy")


class GaussianPolicy(nn.Module):
    """`observation [..., D]` gives the mean, within ±1, and the log standard deviation, `[..., A]` each."""

    action_dim: int
    hidden: tuple[int, ...] = (256, 256)
    layer_norm: bool = False
    activation: str = "relu"
    dropout: float = 0.0
    log_std_min: float = -5.0
    log_std_max: float = 2.0
    network: str = ""

    @nn.compact
    def __call__(self, observation: jax.Array) -> tuple[jax.Array, jax.Array]:
        mean = jnp.tanh(nn.Dense(self.action_dim, kernel_init=HEAD_INIT, name="mean")(hidden_layers(self, observation)))
        log_std = self.param("log_std", nn.initializers.zeros, (self.action_dim,))
        return mean, jnp.broadcast_to(bounded(log_std, self.log_std_min, self.log_std_max), mean.shape)


@dataclasses.dataclass(frozen=True)
class Regression:
    """The policy that the settings want, its loss, and acting by it. States have the field `actor`."""

    config: RegressionSettings
    spec: Spec

    @property
    def policy(self) -> GaussianPolicy:
        """The policy's module."""
        c = self.config
        bounds = (c.log_std_min, c.log_std_max)
        return GaussianPolicy(
            self.spec.action_dim, c.actor_widths, c.actor_layer_norm, c.activation, c.actor_dropout, *bounds, c.actor_network
        )

    def init(self, key: jax.Array) -> Params:
        return initialise(self.policy, key, jnp.zeros((1, self.spec.observation_dim)))

    def limited(self, log_weight: jax.Array) -> jax.Array:
        """W = min(exp(log_weight), limit)."""
        return jnp.minimum(jnp.exp(log_weight), self.config.weight_limit)

    def loss(self, actor: Params, batch: Batch, weight: jax.Array, dropout: jax.Array) -> tuple[jax.Array, Metrics]:
        """Negative log likelihood of the recorded actions, each times its W in `weight` `[B]`."""
        mean, log_std = apply(self.policy, actor, batch.observation, dropout=dropout)
        loss = -jnp.mean(batch.actor_weight * weight * log_density(batch.action, mean, log_std))
        return loss, {"actor/loss": loss, "actor/weight": weight.mean(), "actor/deviation": jnp.exp(log_std).mean()}

    def act(self, actor: Actor, observation: PyTree, key: jax.Array, deterministic: bool) -> jax.Array:
        """The action `[A]` for one observation."""
        mean, log_std = apply(self.policy, actor.params, actor.normaliser(observation))
        return mean if deterministic else sample(key, mean, log_std)

    def log_prob(self, actor: Actor, observation: PyTree, action: jax.Array) -> jax.Array:
        """log π `[B]` of actions `[B, A]`."""
        return log_density(action, *apply(self.policy, actor.params, actor.normaliser(observation)))

    def hand_over(self, state: Any) -> WarmStart:
        """Critics with their optimizer, and SAC's policy with the same mode."""
        return warm_start(self.config, state, squashed(state.actor, self.config.log_std_min, self.config.log_std_max))


def log_density(action: jax.Array, mean: jax.Array, log_std: jax.Array) -> jax.Array:
    """log π `[...]` of actions `[..., A]`."""
    return log_densities(action, mean, log_std).sum(axis=-1)


def log_densities(action: jax.Array, mean: jax.Array, log_std: jax.Array) -> jax.Array:
    """log π of each dimension of actions, `[..., A]`."""
    standardised = (action - mean) * jnp.exp(-log_std)
    return -0.5 * jnp.square(standardised) - log_std - 0.5 * jnp.log(2 * jnp.pi)


def sample(key: jax.Array, mean: jax.Array, log_std: jax.Array) -> jax.Array:
    """Actions `[..., A]`, clipped to the range that critics have seen and robots take."""
    return explore(key, mean, jnp.exp(log_std))


def explore(key: jax.Array, action: jax.Array, deviation: float | jax.Array) -> jax.Array:
    """Actions `[..., A]` with Gaussian noise, within ±1."""
    return jnp.clip(action + deviation * jax.random.normal(key, action.shape), -1.0, 1.0)
