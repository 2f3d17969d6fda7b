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

from ..data.transition import Batch, PyTree, Spec, Transition
from .base import Actor, Metrics, Params, Problem, WarmStart
from .networks.networks import initialise
from .networks.normaliser import Normaliser
from .shared.agent_settings import setting
from .shared.critics import Critics
from .shared.gaussian import Regression, RegressionSettings
from .shared.gradients import adam, descend
from .shared.scaled import scale_of, td_error_of, update_block


@dataclasses.dataclass(frozen=True)
class IQLConfig(RegressionSettings):
    """Settings of IQL; `utd` counts whole updates, V's network is a critic's."""

    expectile: float = setting(0.7, "τ of V's regression; 0.5 is the mean, towards 1 the best of the recorded actions", above=0, below=1)
    inverse_temperature: float = setting(3.0, "β; 0 clones, large values follow the advantage", least=0)
    value_lr: float = setting(3e-4, "Adam step size of V", least=0)
    cosine_decay: bool = setting(
        True, "the policy's step size falls to 0 along a cosine over the whole warm-up; one that is made longer begins where that one is"
    )


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


@dataclasses.dataclass(frozen=True)
class IQL:
    """The algorithm: settings and shapes. See `agents.base.Agent` for the methods' contracts."""

    config: IQLConfig
    spec: Spec
    problem: Problem = Problem()
    name: ClassVar[str] = "iql"

    @property
    def regression(self) -> Regression:
        """The policy and its regression."""
        return Regression(self.config, self.spec)

    @property
    def critics(self) -> Critics:
        return Critics(self.config, self.problem)

    @property
    def values(self) -> Critics:
        """What V is made of: a critic of a squared error, since an expectile is no mean of a histogram."""
        return Critics(dataclasses.replace(self.config, critic_loss="mse", unit_rows=False), self.problem)

    @property
    def actor_optimizer(self) -> optax.GradientTransformation:
        return adam(self.config.actor_lr, self.config.weight_decay)

    @property
    def value_optimizer(self) -> optax.GradientTransformation:
        return adam(self.config.value_lr, self.config.weight_decay)

    def init(self, key: jax.Array, example: Transition) -> IQLState:
        actor_key, critic_key, value_key, key = jax.random.split(key, 4)
        observation = jnp.zeros((1, self.spec.observation_dim))
        actor = self.regression.init(actor_key)
        value = initialise(self.values.module(1), value_key, observation, _no_action(observation))
        return IQLState(
            actor=actor,
            **self.critics.init(critic_key, self.spec.observation_dim, self.spec.action_dim),
            value=value,
            actor_optimizer=self.actor_optimizer.init(actor),
            value_optimizer=self.value_optimizer.init(value),
            normaliser=Normaliser.asked(example, self.config),
            reward_scale=scale_of(self.config, example),
            key=key,
            updates=jnp.zeros((), jnp.int32),
        )

    def value(self, params: Params, observation: jax.Array, dropout: jax.Array | None = None) -> jax.Array:
        """V `[B]`: a critic of no action."""
        return self.values(params, observation, _no_action(observation), dropout)[0]

    # Losses: scalar and what the caller logs.

    def value_loss(self, value: Params, batch: Batch, q: jax.Array, dropout: jax.Array) -> tuple[jax.Array, Metrics]:
        """Weighted expectile regression on min Q̄(s, a) `[B]`."""
        advantage = q - self.value(value, batch.observation, dropout)
        asymmetry = jnp.where(advantage < 0, 1.0 - self.config.expectile, self.config.expectile)
        loss = jnp.mean(batch.weight * asymmetry * jnp.square(advantage))
        return loss, {"value/loss": loss, "value/mean": jnp.mean(q - advantage)}

    def actor_loss(self, actor: Params, batch: Batch, advantage: jax.Array, dropout: jax.Array) -> tuple[jax.Array, Metrics]:
        """Negative log likelihood of the recorded actions, weighted by min Q̄(s, a) − V(s) `[B]`."""
        weight = self.regression.limited(self.config.inverse_temperature * advantage)
        return self.regression.loss(actor, batch, weight, dropout)

    def td_target(self, state: IQLState, batch: Batch, key: jax.Array) -> jax.Array:
        """y `[B]`; nothing in it is random."""
        return self.bootstrapped(batch, self.value(state.value, batch.next_observation))

    def bootstrapped(self, batch: Batch, after: jax.Array) -> jax.Array:
        """y `[B]` from V(s') `[B]`."""
        return batch.reward + self.problem.discount * batch.mask * after

    # Updates.

    def update(self, state: IQLState, batch: Batch) -> tuple[IQLState, Metrics, jax.Array]:
        return update_block(self.step, state, batch, self.config.observation_noise)

    def step(self, state: IQLState, inputs: tuple[Batch, jax.Array]) -> tuple[IQLState, tuple[Metrics, jax.Array]]:
        """One gradient step each of V, π and the critics on one minibatch, and the targets after them."""
        batch, key = inputs
        value_key, actor_key, critic_key = jax.random.split(key, 3)
        q = self.critics(state.target_critic, batch.observation, batch.action).min(axis=0)  # [B]
        state, value_metrics = self.value_step(state, batch, q, value_key)
        here, after = jnp.split(self.value(state.value, jnp.concatenate([batch.observation, batch.next_observation])), 2)  # [B] each
        state, actor_metrics = self.actor_step(state, batch, q - here, actor_key)
        state, metrics, td_error = self.critics.step(state, batch, self.bootstrapped(batch, after), critic_key)
        state = self.critics.follow(state)
        state = state.replace(updates=state.updates + 1)
        return state, (metrics | value_metrics | actor_metrics, td_error)

    def value_step(self, state: IQLState, batch: Batch, q: jax.Array, key: jax.Array) -> tuple[IQLState, Metrics]:
        value, moments, metrics = descend(
            lambda value: self.value_loss(value, batch, q, key),
            state.value,
            self.value_optimizer,
            state.value_optimizer,
        )
        return state.replace(value=value, value_optimizer=moments), metrics

    def actor_step(self, state: IQLState, batch: Batch, advantage: jax.Array, key: jax.Array) -> tuple[IQLState, Metrics]:
        rate = self.actor_rate(state.updates)
        optimizer = adam(rate, self.config.weight_decay)
        actor, moments, metrics = descend(
            lambda actor: self.actor_loss(actor, batch, advantage, key), state.actor, optimizer, state.actor_optimizer
        )
        return state.replace(actor=actor, actor_optimizer=moments), metrics | {"actor/learning_rate": rate}

    def actor_rate(self, updates: jax.Array) -> jax.Array:
        """The policy's step size after a number of minibatches."""
        if not (self.config.cosine_decay and self.problem.warmup_updates):
            return jnp.asarray(self.config.actor_lr)
        done = jnp.minimum(updates / self.problem.warmup_updates, 1.0)
        return 0.5 * self.config.actor_lr * (1.0 + jnp.cos(jnp.pi * done))

    # Acting, and passing the state on.

    def actor_params(self, state: IQLState) -> Actor:
        return Actor(state.actor, state.normaliser)

    def act(
        self, actor: Actor, observation: PyTree, key: jax.Array, carry: PyTree, deterministic: bool = False
    ) -> tuple[jax.Array, PyTree]:
        return self.regression.act(actor, observation, key, deterministic), carry

    def log_prob(self, actor: Actor, observation: PyTree, action: jax.Array) -> jax.Array:
        return self.regression.log_prob(actor, observation, action)

    def q_values(self, state: IQLState, observation: PyTree, action: jax.Array) -> jax.Array:
        """In the rewards' own units, as the returns are."""
        return self.critics(state.critic, state.normaliser(observation), action) / state.reward_scale

    def td_error(self, state: IQLState, batch: Batch, key: jax.Array) -> jax.Array:
        return td_error_of(self, self.td_target, state, batch, key)

    def hand_over(self, state: IQLState) -> WarmStart:
        return self.regression.hand_over(state)


def _no_action(observation: jax.Array) -> jax.Array:
    return jnp.zeros((*observation.shape[:-1], 0))
