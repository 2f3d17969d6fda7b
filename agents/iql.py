"""Implicit Q-learning: values of recorded actions only, and a policy by advantage-weighted regression.

    u    = min_i Q̄_i(s, a) − V(s)
    L_V  = mean w |τ − 1(u < 0)| u²
    L_π  = −mean w_π min(exp(β u), 100) log π(a|s)          with the new V
    L_Q  = mean_{E×B} w (Q_i(s, a) − r − γ m V(s'))²        with the new V

Every minibatch of a block does all of it, in this order, and then a Polyak step of the targets. π is a Gaussian with a tanh mean
and a deviation that does not depend on the state. Source: Kostrikov et al. 2022, and its reference implementation.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import optax
from flax import struct

from ..data.errors import WarmloopError
from ..data.transition import Batch, PyTree, Transition
from .base import Metrics, Params
from .networks.networks import apply, initialise
from .networks.normaliser import Normaliser
from .shared.gaussian import GaussianActorCritic, GaussianConfig
from .shared.gradients import descend
from .shared.offline import check


@dataclasses.dataclass(frozen=True)
class IQLConfig(GaussianConfig):
    """Settings of IQL beside those that offline algorithms share; `utd` counts whole updates, V's network is a critic's.

    Attributes:
        expectile: τ of the value's regression; 0.5 is the mean, towards 1 the best of the recorded actions.
        inverse_temperature: β; 0 clones, large values follow the advantage.
        value_lr: Adam step size of V.
        cosine_decay: whether the policy's step size falls to 0 along a cosine, offline, over the whole warm-up. A longer one that goes on
            from its end begins where the longer cosine is.
        actor_decay_updates: minibatches until it is 0; 0 keeps it constant (set from the warm-up's length, and 0 online).
    """

    expectile: float = 0.7
    inverse_temperature: float = 3.0
    value_lr: float = 3e-4
    cosine_decay: bool = True
    actor_decay_updates: int = 0

    def __post_init__(self):
        super().__post_init__()
        if not 0 < self.expectile < 1:
            raise WarmloopError(f"agent.expectile is {self.expectile}; it must lie between 0 and 1.")
        check(self, ("inverse_temperature", "actor_decay_updates"), 0)


class IQLState(struct.PyTreeNode):
    """Everything that IQL learns. Critic leaves are `[E, ...]`; `updates` counts minibatches."""

    actor: Params
    critic: Params
    target_critic: Params
    value: Params
    actor_optimizer: optax.OptState
    critic_optimizer: optax.OptState
    value_optimizer: optax.OptState
    normaliser: Normaliser
    reward_scale: jax.Array
    key: jax.Array
    updates: jax.Array


class IQL(GaussianActorCritic[IQLConfig]):
    """The algorithm. See `agents.base.Agent` for the methods' contracts."""

    name: ClassVar[str] = "iql"

    def init(self, key: jax.Array, example: Transition) -> IQLState:
        actor_key, critic_key, value_key, key = jax.random.split(key, 4)
        observation = jnp.zeros((1, self.spec.observation_dim))
        value = initialise(self.critic(1), value_key, observation, _no_action(observation))
        begun = self.beginning(initialise(self.policy, actor_key, observation), critic_key, key, example)
        return IQLState(**begun, value=value, value_optimizer=self.optimizer(self.config.value_lr).init(value))

    def value(self, params: Params, observation: jax.Array, dropout: jax.Array | None = None) -> jax.Array:
        """V `[B]`: a critic of no action."""
        return apply(self.critic(1), params, observation, _no_action(observation), dropout=dropout)[0]

    # Losses: scalar and what the caller logs.

    def value_loss(self, value: Params, batch: Batch, q: jax.Array, dropout: jax.Array) -> tuple[jax.Array, Metrics]:
        """Weighted expectile regression on min Q̄(s, a) `[B]`."""
        advantage = q - self.value(value, batch.observation, dropout)
        asymmetry = jnp.where(advantage < 0, 1.0 - self.config.expectile, self.config.expectile)
        loss = jnp.mean(batch.weight * asymmetry * jnp.square(advantage))
        return loss, {"value/loss": loss, "value/mean": jnp.mean(q - advantage)}

    def actor_loss(self, actor: Params, batch: Batch, advantage: jax.Array, dropout: jax.Array) -> tuple[jax.Array, Metrics]:
        """Negative log likelihood of the recorded actions, weighted by min Q̄(s, a) − V(s) `[B]`."""
        return self.regression_loss(actor, batch, self.config.inverse_temperature * advantage, dropout)

    def td_target(self, state: IQLState, batch: Batch, key: jax.Array) -> jax.Array:
        """y `[B]`; nothing in it is random."""
        return self.bootstrapped(batch, self.value(state.value, batch.next_observation))

    def bootstrapped(self, batch: Batch, after: jax.Array) -> jax.Array:
        """y `[B]` from V(s') `[B]`."""
        return batch.reward + self.config.discount * batch.mask * after

    # Updates.

    def step(self, state: IQLState, inputs: tuple[Batch, jax.Array]) -> tuple[IQLState, tuple[Metrics, jax.Array]]:
        """One gradient step each of V, π and the critics on one minibatch, and the targets after them."""
        batch, key = inputs
        value_key, actor_key, critic_key = jax.random.split(key, 3)
        q = apply(self.critic(self.config.ensemble), state.target_critic, batch.observation, batch.action).min(axis=0)  # [B]
        state, value_metrics = self.value_step(state, batch, q, value_key)
        here, after = jnp.split(self.value(state.value, jnp.concatenate([batch.observation, batch.next_observation])), 2)  # [B] each
        state, actor_metrics = self.actor_step(state, batch, q - here, actor_key)
        state, metrics, td_error = self.critic_step(state, batch, self.bootstrapped(batch, after), critic_key)
        targets = optax.incremental_update(state.critic, state.target_critic, self.config.tau)
        state = state.replace(target_critic=targets, updates=state.updates + 1)
        return state, (metrics | value_metrics | actor_metrics, td_error)

    def value_step(self, state: IQLState, batch: Batch, q: jax.Array, key: jax.Array) -> tuple[IQLState, Metrics]:
        value, moments, metrics = descend(
            lambda value: self.value_loss(value, batch, q, key),
            state.value,
            self.optimizer(self.config.value_lr),
            state.value_optimizer,
        )
        return state.replace(value=value, value_optimizer=moments), metrics

    def actor_step(self, state: IQLState, batch: Batch, advantage: jax.Array, key: jax.Array) -> tuple[IQLState, Metrics]:
        rate = self.actor_rate(state.updates)
        actor, moments, metrics = descend(
            lambda actor: self.actor_loss(actor, batch, advantage, key), state.actor, self.optimizer(rate), state.actor_optimizer
        )
        return state.replace(actor=actor, actor_optimizer=moments), metrics | {"actor/learning_rate": rate}

    def actor_rate(self, updates: jax.Array) -> jax.Array:
        """The policy's step size after a number of minibatches."""
        if not (self.config.cosine_decay and self.config.actor_decay_updates):
            return jnp.asarray(self.config.actor_lr)
        done = jnp.minimum(updates / self.config.actor_decay_updates, 1.0)
        return 0.5 * self.config.actor_lr * (1.0 + jnp.cos(jnp.pi * done))

    def take_over(self, state: PyTree) -> IQLState:
        raise WarmloopError(
            "iql cannot go on from another algorithm's warm-up, which has no V and no state-independent deviation: "
            "warm up with iql, or fine-tune with sac."
        )


def _no_action(observation: jax.Array) -> jax.Array:
    return jnp.zeros((*observation.shape[:-1], 0))
