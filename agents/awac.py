"""Advantage-weighted actor-critic: SAC's critics without entropy, and a policy by advantage-weighted regression.

    y    = r + γ m min_i Q̄_i(s', a'),  a' ~ π(·|s')
    L_Q  = mean_{E×B} w (Q_i(s, a) − y)²
    A    = min_i Q_i(s, a) − min_i Q_i(s, a_π),  a_π ~ π(·|s)          with the new critics
    L_π  = −mean w_π min(exp(A/λ), 100) log π(a|s)

Every minibatch of a block does all of it, in this order, and then a Polyak step of the targets. π is a Gaussian with a tanh mean
and a deviation that does not depend on the state; its samples are clipped to the action range. Source: Nair et al. 2020.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import optax
from flax import struct

from ..data.errors import WarmloopError
from ..data.transition import Batch, PyTree, Spec, Transition
from .base import Actor, Metrics, Params, WarmStart, run_block
from .gaussian import GaussianPolicy, log_density, sample, warm_start
from .gradients import descend
from .networks import Critic, apply, initialise
from .normaliser import Normaliser, as_learnt, reward_scale
from .offline import ActorCriticConfig, check, optimizer
from .td import td_loss


@dataclasses.dataclass(frozen=True)
class AWACConfig(ActorCriticConfig):
    """Settings of AWAC beside those that offline algorithms share; `utd` counts whole updates.

    Attributes:
        temperature: λ; large values clone, small ones follow the advantage.
        weight_limit: greatest weight of a row in the policy's regression.
        log_std_min, log_std_max: bounds of the policy's log standard deviation.
    """

    temperature: float = 0.333
    weight_limit: float = 100.0
    log_std_min: float = -6.0
    log_std_max: float = 0.0

    def __post_init__(self):
        super().__post_init__()
        check(self, ("temperature",), 1e-6)
        check(self, ("weight_limit",), 1)


class AWACState(struct.PyTreeNode):
    """Everything that AWAC learns. Critic leaves are `[E, ...]`; `updates` counts minibatches."""

    actor: Params
    critic: Params
    target_critic: Params
    actor_optimizer: optax.OptState
    critic_optimizer: optax.OptState
    normaliser: Normaliser
    reward_scale: jax.Array
    key: jax.Array
    updates: jax.Array


@dataclasses.dataclass(frozen=True)
class AWAC:
    """The algorithm: settings and shapes. See `agents.base.Agent` for the methods' contracts.

    The losses take batches as they are learnt from: flat, normalised observations and scaled rewards (`as_learnt`).
    """

    config: AWACConfig
    spec: Spec
    name: ClassVar[str] = "awac"

    @property
    def policy(self) -> GaussianPolicy:
        """The policy's module."""
        config = self.config
        return GaussianPolicy(
            self.spec.action_dim,
            config.hidden,
            config.actor_layer_norm,
            config.activation,
            config.actor_dropout,
            config.log_std_min,
            config.log_std_max,
        )

    @property
    def critic(self) -> Critic:
        """The critics' module."""
        config = self.config
        return Critic(config.ensemble, config.hidden, config.critic_layer_norm, config.activation, config.critic_dropout)

    @property
    def actor_optimizer(self) -> optax.GradientTransformation:
        return optimizer(self.config.actor_lr, self.config.weight_decay)

    @property
    def critic_optimizer(self) -> optax.GradientTransformation:
        return optimizer(self.config.critic_lr, self.config.weight_decay)

    def init(self, key: jax.Array, example: Transition) -> AWACState:
        actor_key, critic_key, key = jax.random.split(key, 3)
        observation = jnp.zeros((1, self.spec.observation_dim))
        actor = initialise(self.policy, actor_key, observation)
        critic = initialise(self.critic, critic_key, observation, jnp.zeros((1, self.spec.action_dim)))
        return AWACState(
            actor=actor,
            critic=critic,
            target_critic=jax.tree.map(jnp.copy, critic),  # a buffer of its own: the state is donated
            actor_optimizer=self.actor_optimizer.init(actor),
            critic_optimizer=self.critic_optimizer.init(critic),
            normaliser=Normaliser.of(example, self.config.normalise_observations),
            reward_scale=reward_scale(example, self.config.normalise_rewards),
            key=key,
            updates=jnp.zeros((), jnp.int32),
        )

    # Losses: scalar and what the caller logs; the critics' is `td.td_loss`.

    def td_target(self, state: AWACState, batch: Batch, key: jax.Array) -> jax.Array:
        """y `[B]`."""
        action = sample(key, *apply(self.policy, state.actor, batch.next_observation))
        q = apply(self.critic, state.target_critic, batch.next_observation, action).min(axis=0)
        return batch.reward + self.config.discount * batch.mask * q

    def advantage(self, state: AWACState, batch: Batch, key: jax.Array) -> jax.Array:
        """Of the recorded action over one of the policy's, `[B]`."""
        own = sample(key, *apply(self.policy, state.actor, batch.observation))
        both = jnp.stack([batch.action, own], axis=1)  # [B, 2, A]
        q = apply(self.critic, state.critic, batch.observation, both).min(axis=0)  # [B, 2]
        return q[:, 0] - q[:, 1]

    def actor_loss(self, actor: Params, batch: Batch, advantage: jax.Array, dropout: jax.Array) -> tuple[jax.Array, Metrics]:
        """Negative log likelihood of the recorded actions, weighted by their advantage `[B]`."""
        weight = jnp.minimum(jnp.exp(advantage / self.config.temperature), self.config.weight_limit)
        mean, log_std = apply(self.policy, actor, batch.observation, dropout=dropout)
        loss = -jnp.mean(batch.actor_weight * weight * log_density(batch.action, mean, log_std))
        return loss, {"actor/loss": loss, "actor/weight": weight.mean(), "actor/deviation": jnp.exp(log_std).mean()}

    # Updates.

    def update(self, state: AWACState, batch: Batch) -> tuple[AWACState, Metrics, jax.Array]:
        key, noise_key, *keys = jax.random.split(state.key, 2 + batch.reward.shape[0])
        batch = as_learnt(batch, state.normaliser, state.reward_scale, self.config.observation_noise, noise_key)
        state, (metrics, td_error) = run_block(self.step, state.replace(key=key), batch, jnp.stack(keys))
        return state, jax.tree.map(jnp.mean, metrics), td_error

    def step(self, state: AWACState, inputs: tuple[Batch, jax.Array]) -> tuple[AWACState, tuple[Metrics, jax.Array]]:
        """One gradient step each of the critics and the policy on one minibatch, and the targets after them."""
        batch, key = inputs
        target_key, critic_key, baseline_key, actor_key = jax.random.split(key, 4)
        state, metrics, td_error = self.critic_step(state, batch, self.td_target(state, batch, target_key), critic_key)
        state, actor_metrics = self.actor_step(state, batch, self.advantage(state, batch, baseline_key), actor_key)
        targets = optax.incremental_update(state.critic, state.target_critic, self.config.tau)
        return state.replace(target_critic=targets, updates=state.updates + 1), (metrics | actor_metrics, td_error)

    def critic_step(self, state: AWACState, batch: Batch, target: jax.Array, key: jax.Array) -> tuple[AWACState, Metrics, jax.Array]:
        critic, moments, (metrics, td_error) = descend(
            lambda critic: td_loss(critic, self.critic, batch, target, key), state.critic, self.critic_optimizer, state.critic_optimizer
        )
        return state.replace(critic=critic, critic_optimizer=moments), metrics, td_error

    def actor_step(self, state: AWACState, batch: Batch, advantage: jax.Array, key: jax.Array) -> tuple[AWACState, Metrics]:
        actor, moments, metrics = descend(
            lambda actor: self.actor_loss(actor, batch, advantage, key), state.actor, self.actor_optimizer, state.actor_optimizer
        )
        return state.replace(actor=actor, actor_optimizer=moments), metrics

    # Acting, measuring, and passing the state on.

    def actor_params(self, state: AWACState) -> Actor:
        return Actor(state.actor, state.normaliser)

    def act(
        self, actor: Actor, observation: PyTree, key: jax.Array, carry: PyTree, deterministic: bool = False
    ) -> tuple[jax.Array, PyTree]:
        mean, log_std = apply(self.policy, actor.params, actor.normaliser(observation))
        return (mean if deterministic else sample(key, mean, log_std)), carry

    def log_prob(self, actor: Actor, observation: PyTree, action: jax.Array) -> jax.Array:
        return log_density(action, *apply(self.policy, actor.params, actor.normaliser(observation)))

    def q_values(self, state: AWACState, observation: PyTree, action: jax.Array) -> jax.Array:
        """In the rewards' own units, as the returns are."""
        return apply(self.critic, state.critic, state.normaliser(observation), action) / state.reward_scale

    def td_error(self, state: AWACState, batch: Batch, key: jax.Array) -> jax.Array:
        learnt = as_learnt(batch, state.normaliser, state.reward_scale, 0.0, key)
        target = self.td_target(state, learnt, key) / state.reward_scale
        return jnp.abs(self.q_values(state, batch.observation, batch.action) - target[None]).mean(axis=0)

    def hand_over(self, state: AWACState) -> WarmStart:
        """Critics with their optimizer, and SAC's policy with the same mode."""
        return warm_start(state, self.config)

    def take_over(self, state: PyTree) -> AWACState:
        raise WarmloopError(
            "awac cannot go on from another algorithm's warm-up, whose policy has no state-independent deviation: "
            "warm up with awac, or fine-tune with sac."
        )
