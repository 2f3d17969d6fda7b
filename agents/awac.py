"""Advantage-weighted actor-critic: SAC's critics without entropy, and a policy by advantage-weighted regression.

    y    = r + γ m min_i Q̄_i(s', a'),  a' ~ π(·|s')
    L_Q  = mean_{E×B} w (Q_i(s, a) − y)²
    A    = min_i Q_i(s, a) − min_i Q_i(s, a_π),  a_π ~ π(·|s) or its mean          with the new critics
    L_π  = −mean w_π W log π(a|s) [+ l2/2 |θ|²],  W = min(exp(A/λ), 100), or B softmax_B(min(A, limit)/λ) over the minibatch

Every minibatch of a block does all of it, in this order, and then a Polyak step of the targets. π is a Gaussian with a tanh mean
and a deviation that does not depend on the state; its samples are clipped to the action range. Source: Nair et al. 2020, whose code
(rlkit) has the softmax.
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
from .networks.networks import apply
from .networks.normaliser import Normaliser
from .shared.agent_settings import setting
from .shared.critics import Critics
from .shared.gaussian import Regression, RegressionSettings, sample
from .shared.gradients import adam, descend
from .shared.scaled import scale_of, td_error_of, update_block


@dataclasses.dataclass(frozen=True)
class AWACConfig(RegressionSettings):
    """Settings of AWAC; `utd` counts whole updates."""

    temperature: float = setting(0.333, "λ; large values clone, small ones follow the advantage", least=1e-6)
    weighting: str = setting("exp", "of the advantage up to `weight_limit`, or over the minibatch, times B", among=("exp", "softmax"))
    advantage_limit: float = setting(0.0, "greatest advantage that counts; 0 for no limit", least=0)
    baseline: str = setting("sample", "of the policy: what a recorded action is compared with", among=("sample", "mean"))
    actor_l2: float = setting(0.0, "weight of half the policy's squared parameters in its loss (Adam's weight decay in PyTorch)", least=0)
    clip_target: bool = setting(False, "whether y is clipped to the bounds of the return")
    log_std_min: float = -6.0
    log_std_max: float = 0.0


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
    """The algorithm: settings and shapes. See `agents.base.Agent` for the methods' contracts."""

    config: AWACConfig
    spec: Spec
    problem: Problem = Problem()
    name: ClassVar[str] = "awac"

    @property
    def regression(self) -> Regression:
        """The policy and its regression."""
        return Regression(self.config, self.spec)

    @property
    def critics(self) -> Critics:
        return Critics(self.config, self.problem)

    @property
    def actor_optimizer(self) -> optax.GradientTransformation:
        return adam(self.config.actor_lr, self.config.weight_decay)

    def init(self, key: jax.Array, example: Transition) -> AWACState:
        actor_key, critic_key, key = jax.random.split(key, 3)
        actor = self.regression.init(actor_key)
        return AWACState(
            actor=actor,
            **self.critics.init(critic_key, self.spec.observation_dim, self.spec.action_dim),
            actor_optimizer=self.actor_optimizer.init(actor),
            normaliser=Normaliser.asked(example, self.config),
            reward_scale=scale_of(self.config, example),
            key=key,
            updates=jnp.zeros((), jnp.int32),
        )

    # Losses: scalar and what the caller logs.

    def td_target(self, state: AWACState, batch: Batch, key: jax.Array) -> jax.Array:
        """y `[B]`."""
        action = sample(key, *apply(self.regression.policy, state.actor, batch.next_observation))
        q = self.critics(state.target_critic, batch.next_observation, action).min(axis=0)
        target = batch.reward + self.problem.discount * batch.mask * q
        return jnp.clip(target, self.problem.return_low, self.problem.return_high) if self.config.clip_target else target

    def advantage(self, state: AWACState, batch: Batch, key: jax.Array) -> jax.Array:
        """Of the recorded action over one of the policy's, `[B]`."""
        mean, log_std = apply(self.regression.policy, state.actor, batch.observation)
        own = mean if self.config.baseline == "mean" else sample(key, mean, log_std)
        both = jnp.stack([batch.action, own], axis=1)  # [B, 2, A]
        q = self.critics(state.critic, batch.observation, both).min(axis=0)  # [B, 2]
        return q[:, 0] - q[:, 1]

    def actor_loss(self, actor: Params, batch: Batch, advantage: jax.Array, dropout: jax.Array) -> tuple[jax.Array, Metrics]:
        """Negative log likelihood of the recorded actions, weighted by their advantage `[B]`."""
        if self.config.advantage_limit:
            advantage = jnp.minimum(advantage, self.config.advantage_limit)
        log_weight = advantage / self.config.temperature
        softmax = self.config.weighting == "softmax"
        weight = advantage.size * jax.nn.softmax(log_weight) if softmax else self.regression.limited(log_weight)
        loss, metrics = self.regression.loss(actor, batch, weight, dropout)
        if self.config.actor_l2:
            loss += 0.5 * self.config.actor_l2 * sum(jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(actor))
        return loss, metrics

    # Updates.

    def update(self, state: AWACState, batch: Batch) -> tuple[AWACState, Metrics, jax.Array]:
        return update_block(self.step, state, batch, self.config.observation_noise)

    def step(self, state: AWACState, inputs: tuple[Batch, jax.Array]) -> tuple[AWACState, tuple[Metrics, jax.Array]]:
        """One gradient step each of the critics and the policy on one minibatch, and the targets after them."""
        batch, key = inputs
        target_key, critic_key, baseline_key, actor_key = jax.random.split(key, 4)
        state, metrics, td_error = self.critics.step(state, batch, self.td_target(state, batch, target_key), critic_key)
        state, actor_metrics = self.actor_step(state, batch, self.advantage(state, batch, baseline_key), actor_key)
        state = self.critics.follow(state)
        return state.replace(updates=state.updates + 1), (metrics | actor_metrics, td_error)

    def actor_step(self, state: AWACState, batch: Batch, advantage: jax.Array, key: jax.Array) -> tuple[AWACState, Metrics]:
        actor, moments, metrics = descend(
            lambda actor: self.actor_loss(actor, batch, advantage, key),
            state.actor,
            self.actor_optimizer,
            state.actor_optimizer,
        )
        return state.replace(actor=actor, actor_optimizer=moments), metrics

    # Acting, and passing the state on.

    def actor_params(self, state: AWACState) -> Actor:
        return Actor(state.actor, state.normaliser)

    def act(
        self, actor: Actor, observation: PyTree, key: jax.Array, carry: PyTree, deterministic: bool = False
    ) -> tuple[jax.Array, PyTree]:
        return self.regression.act(actor, observation, key, deterministic), carry

    def log_prob(self, actor: Actor, observation: PyTree, action: jax.Array) -> jax.Array:
        return self.regression.log_prob(actor, observation, action)

    def q_values(self, state: AWACState, observation: PyTree, action: jax.Array) -> jax.Array:
        """In the rewards' own units, as the returns are."""
        return self.critics(state.critic, state.normaliser(observation), action) / state.reward_scale

    def td_error(self, state: AWACState, batch: Batch, key: jax.Array) -> jax.Array:
        return td_error_of(self, self.td_target, state, batch, key)

    def hand_over(self, state: AWACState) -> WarmStart:
        return self.regression.hand_over(state)
