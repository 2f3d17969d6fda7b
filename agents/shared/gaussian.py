"""The Gaussian of IQL and AWAC, and their regression: a tanh mean, a deviation that does not depend on the state, and no squashing of
the samples.

Its density is finite at the edge of the action range, where recorded actions often lie and a squashed Gaussian's is not.
"""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from flax import linen as nn

from ...data.transition import Batch, PyTree
from ..base import Actor, Metrics, Params, WarmStart
from ..networks.bounds import bounded
from ..networks.networks import HEAD_INIT, apply, hidden_layers
from .actor_critic import ActorCritic
from .offline import ActorCriticConfig, actor_widths, adam_moments, check, gaussian_policy


@dataclasses.dataclass(frozen=True)
class GaussianConfig(ActorCriticConfig):
    """Settings of the algorithms whose policy is this Gaussian.

    Attributes:
        weight_limit: greatest weight of a row in the policy's regression.
        log_std_min, log_std_max: bounds of the policy's log standard deviation.
    """

    weight_limit: float = 100.0
    log_std_min: float = -5.0
    log_std_max: float = 2.0

    def __post_init__(self):
        super().__post_init__()
        check(self, ("weight_limit",), 1)


GaussianT = TypeVar("GaussianT", bound=GaussianConfig)


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


def log_density(action: jax.Array, mean: jax.Array, log_std: jax.Array) -> jax.Array:
    """log π `[...]` of actions `[..., A]`."""
    return log_densities(action, mean, log_std).sum(axis=-1)


def log_densities(action: jax.Array, mean: jax.Array, log_std: jax.Array) -> jax.Array:
    """log π of each dimension of actions, `[..., A]`."""
    standardised = (action - mean) * jnp.exp(-log_std)
    return -0.5 * jnp.square(standardised) - log_std - 0.5 * jnp.log(2 * jnp.pi)


def sample(key: jax.Array, mean: jax.Array, log_std: jax.Array) -> jax.Array:
    """Actions `[..., A]`, clipped to the range that critics have seen and robots take."""
    return jnp.clip(mean + jnp.exp(log_std) * jax.random.normal(key, mean.shape), -1.0, 1.0)


class GaussianActorCritic(ActorCritic[GaussianT]):
    """An offline algorithm with this Gaussian as its policy, learnt by weighted regression; its state has the field `actor` too."""

    @property
    def policy(self) -> GaussianPolicy:
        """The policy's module."""
        config = self.config
        return GaussianPolicy(
            self.spec.action_dim,
            actor_widths(config),
            config.actor_layer_norm,
            config.activation,
            config.actor_dropout,
            config.log_std_min,
            config.log_std_max,
            config.actor_network,
        )

    def regression_loss(self, actor: Params, batch: Batch, log_weight: jax.Array, dropout: jax.Array) -> tuple[jax.Array, Metrics]:
        """Negative log likelihood of the recorded actions, each times min(exp(log_weight `[B]`), limit)."""
        weight = jnp.minimum(jnp.exp(log_weight), self.config.weight_limit)
        mean, log_std = apply(self.policy, actor, batch.observation, dropout=dropout)
        loss = -jnp.mean(batch.actor_weight * weight * log_density(batch.action, mean, log_std))
        return loss, {"actor/loss": loss, "actor/weight": weight.mean(), "actor/deviation": jnp.exp(log_std).mean()}

    def actor_params(self, state: Any) -> Actor:
        return Actor(state.actor, state.normaliser)

    def act(
        self, actor: Actor, observation: PyTree, key: jax.Array, carry: PyTree, deterministic: bool = False
    ) -> tuple[jax.Array, PyTree]:
        mean, log_std = apply(self.policy, actor.params, actor.normaliser(observation))
        return (mean if deterministic else sample(key, mean, log_std)), carry

    def log_prob(self, actor: Actor, observation: PyTree, action: jax.Array) -> jax.Array:
        return log_density(action, *apply(self.policy, actor.params, actor.normaliser(observation)))

    def hand_over(self, state: Any) -> WarmStart:
        """Critics with their optimizer, and SAC's policy with the same mode."""
        self.refuse_scaled_rewards()
        return WarmStart(
            actor=squashed(state.actor, self.config.log_std_min, self.config.log_std_max),
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
    deviation = jnp.exp(bounded(layers.pop("log_std"), log_std_min, log_std_max))
    return gaussian_policy({"params": layers}, deviation)
