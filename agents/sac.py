"""Soft actor-critic with a critic ensemble, a high update-to-data ratio and an optional cloning term.

    y      = clip(r + γ m min_{i∈M} Q̄_i(s', a') [− γ m α log π(a'|s')]),  a' ~ π(·|s')
    L_Q    = mean_{E×B} w (Q_i(s, a) − y)²
    L_π    = mean w_π (α log π(a|s) − agg_i Q_i(s, a)),  agg = mean or min
    L_α    = α (H − H̄)

M is drawn without replacement, once per critic step. Sources: SAC (Haarnoja et al. 2018), REDQ (Chen et al. 2021), RLPD
(Ball et al. 2023). With `bc_weight` the actor minimises `L_π / mean|Q| + bc_weight · decay^t · |a − a_demo|²`, the last term
on the batch's demonstration rows (as TD3+BC, Fujimoto and Gu 2021). RLPD, WSRL and HIL-SERL are presets of this file.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import ClassVar

import chex
import jax
import jax.numpy as jnp
import optax
from flax import struct

from ..data.transition import Batch, PyTree, Spec, Transition, example
from .base import Actor, Metrics, Params, WarmStart, critic_metrics, run_block
from .networks.bounds import factor
from .networks.networks import Critic, Policy, apply, initialise, log_density, sample_action
from .networks.normaliser import Normaliser, blurred
from .networks.vision import Vision
from .sac_config import SACConfig as SACConfig
from .shared.cloning import cloning_weight, distance, mean_over, worth_cloning
from .shared.gradients import descend
from .shared.offline import actor_widths, optimizer, refuse_noise_on_images


class SACState(struct.PyTreeNode):
    """Everything that SAC learns. Critic leaves are `[E, ...]`; `acting` is the policy averaged over its steps, which acts;
    `encoder` is empty without cameras; `updates` counts critic steps."""

    actor: Params
    acting: Params
    critic: Params
    target_critic: Params
    log_temperature: jax.Array
    actor_optimizer: optax.OptState
    critic_optimizer: optax.OptState
    temperature_optimizer: optax.OptState
    normaliser: Normaliser
    key: jax.Array
    updates: jax.Array
    encoder: Params = ()
    encoder_optimizer: optax.OptState = ()


@dataclasses.dataclass(frozen=True)
class SAC:
    """The algorithm: settings and shapes. See `agents.base.Agent` for the methods' contracts."""

    config: SACConfig
    spec: Spec
    name: ClassVar[str] = "sac"

    @property
    def policy(self) -> Policy:
        """The policy's module."""
        c = self.config
        bounds = (c.log_std_min, c.log_std_max, c.initial_log_std)
        return Policy(self.spec.action_dim, actor_widths(c), c.actor_layer_norm, c.activation, c.actor_dropout, *bounds, c.actor_network)

    @property
    def vision(self) -> Vision:
        """What the networks see of an observation."""
        return Vision(self.config.vision, self.spec)

    def critic(self, members: int) -> Critic:
        """The module of `members` critics."""
        c = self.config
        return Critic(members, c.hidden, c.critic_layer_norm, c.activation, c.critic_dropout)

    def optimizer(self, learning_rate: float) -> optax.GradientTransformation:
        return optimizer(learning_rate, self.config.weight_decay)

    def init(self, key: jax.Array, example: Transition) -> SACState:
        config = self.config
        refuse_noise_on_images(config, self.spec)
        actor_key, critic_key, key = jax.random.split(key, 3)
        encoder = self.vision.init(jax.random.fold_in(critic_key, 1))
        observation = jnp.zeros((1, self.vision.dim))
        actor = initialise(self.policy, actor_key, observation)
        critic = initialise(self.critic(config.ensemble), critic_key, observation, jnp.zeros((1, self.spec.action_dim)))
        log_temperature = jnp.log(jnp.asarray(config.initial_temperature, jnp.float32))
        return SACState(
            actor=actor,
            acting=jax.tree.map(jnp.copy, actor),  # a buffer of its own, as the targets: the state is donated
            critic=critic,
            target_critic=jax.tree.map(jnp.copy, critic),
            log_temperature=log_temperature,
            actor_optimizer=self.optimizer(config.actor_lr).init(actor),
            critic_optimizer=self.optimizer(config.critic_lr).init(critic),
            temperature_optimizer=optax.adam(config.temperature_lr).init(log_temperature),
            normaliser=Normaliser.asked(example, config),
            key=key,
            updates=jnp.zeros((), jnp.int32),
            encoder=encoder,
            encoder_optimizer=optax.adam(config.critic_lr).init(encoder) if self.spec.cameras else (),
        )

    # Losses: scalar and what the caller logs.

    def td_target(self, state: SACState, batch: Batch, key: jax.Array) -> jax.Array:
        """y `[B]`, without gradient."""
        return self.bound(self.backup(state, batch, key), batch)

    def backup(self, state: SACState, batch: Batch, key: jax.Array) -> jax.Array:
        """The target `[B]` before it is held within bounds."""
        config = self.config
        subset = config.target_subset < config.ensemble  # else one key, and no draw, does
        subset_key, action_key = jax.random.split(key) if subset else (key, key)
        critics = self.subset(state.target_critic, subset_key) if subset else state.target_critic
        observation = self.vision(state.encoder, state.normaliser, batch.next_observation)
        count = config.backup_actions if config.max_backup else None
        action, log_prob = sample_action(action_key, *apply(self.policy, state.actor, observation), count=count)
        value = apply(self.critic(config.target_subset), critics, observation, action).min(axis=0)  # [B], or [B, N]
        if config.backup_entropy:
            value = value - factor(state.log_temperature) * log_prob
        value = value.max(axis=-1) if config.max_backup else value
        return batch.reward + config.discount * batch.mask * value

    def bound(self, target: jax.Array, batch: Batch) -> jax.Array:
        """A target held within what is known of the return, as far as the config asks for it."""
        if self.config.monte_carlo_target:
            target = jnp.maximum(target, batch.mc_return)  # -inf where the episode's outcome is not known
        return jnp.clip(target, self.config.target_low, self.config.target_high) if self.config.clip_target else target

    def critic_loss(
        self, critic: Params, observation: jax.Array, batch: Batch, target: jax.Array, dropout: jax.Array | None = None
    ) -> tuple[jax.Array, tuple]:
        """Weighted squared TD error of every member. Returns the loss and (Q `[E, B]`, |TD error| `[B]`)."""
        q = apply(self.critic(self.config.ensemble), critic, observation, batch.action, dropout=dropout)
        chex.assert_shape(q, (self.config.ensemble, *target.shape))
        error = q - target[None]
        return jnp.mean(batch.weight[None] * jnp.square(error)), (q, jnp.abs(error).mean(axis=0))

    def actor_loss(self, actor: Params, state: SACState, batch: Batch, key: jax.Array) -> tuple[jax.Array, Metrics]:
        """Entropy-regularised value of the policy's actions, and the cloning term. Gradient to the policy only."""
        terms, metrics = self.actor_terms(actor, state, batch, key)
        loss = sum(terms.values(), jnp.zeros(()))
        return loss, metrics | {"actor/loss": loss}

    def actor_terms(self, actor: Params, state: SACState, batch: Batch, key: jax.Array) -> tuple[Metrics, Metrics]:
        """The terms whose sum is the policy's loss, by name: `value`, `entropy` and, with `bc_weight`, `cloning`; and what is logged."""
        observation = self.vision(state.encoder, state.normaliser, batch.observation)
        mean, log_std = apply(self.policy, actor, observation, dropout=jax.random.fold_in(key, 1))
        action, log_prob = sample_action(key, mean, log_std)
        # As one of N actions, so that no gradient is computed for the observation's columns.
        q = apply(self.critic(self.config.ensemble), state.critic, observation, action[:, None])[..., 0]  # [E, B]
        value = q.mean(axis=0) if self.config.actor_q == "mean" else q.min(axis=0)
        aim = value
        if self.config.clone_updates:
            aim = jnp.where(state.updates < self.config.clone_updates, log_density(batch.action, mean, log_std), value)
        soft = {
            "value": -jnp.mean(batch.actor_weight * aim),
            "entropy": factor(state.log_temperature) * jnp.mean(batch.actor_weight * log_prob),
        }
        entropy = -jnp.mean(batch.actor_weight * log_prob) / jnp.maximum(jnp.mean(batch.actor_weight), 1e-6)
        metrics = {"actor/entropy": entropy, "actor/q_mean": value.mean()}
        if self.config.bc_weight == 0:
            return soft, metrics
        cloning = self.cloning_loss(action, batch, jax.lax.stop_gradient(value))
        weight = cloning_weight(self.config, state.updates)
        scale = jnp.maximum(jax.lax.stop_gradient(jnp.abs(value).mean()), 1e-2)
        logged = {"actor/soft_loss": soft["value"] + soft["entropy"], "actor/cloning_loss": cloning, "actor/cloning_weight": weight}
        return {name: term / scale for name, term in soft.items()} | {"cloning": weight * cloning}, metrics | logged

    def cloning_loss(self, action: jax.Array, batch: Batch, value: jax.Array) -> jax.Array:
        """Squared distance to recorded actions over the rows worth it, by the policy's value `[B]` (`cloning.py`)."""
        return mean_over(worth_cloning(self.config, batch, value), distance(self.config, action, batch.action), batch)

    # Updates.

    def update(self, state: SACState, batch: Batch) -> tuple[SACState, Metrics, jax.Array]:
        key, *keys = jax.random.split(state.key, 2 + batch.reward.shape[0])
        batch = self.as_learnt(state, batch)
        state, (metrics, td_error) = run_block(self.critic_step, state.replace(key=key), batch, jnp.stack(keys[1:]))
        state, actor_metrics = self.actor_step(state, self.actor_rows(batch), keys[0])
        return state, jax.tree.map(jnp.mean, metrics) | actor_metrics, td_error

    def actor_rows(self, batch: Batch) -> Batch:
        """The rows `[N]` of a block `[K, B]` that the policy's step sees."""
        return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]) if self.config.actor_on_block else x[-1], batch)

    def as_learnt(self, state: SACState, batch: Batch) -> Batch:
        """A block as the losses see it, with noise on its observations."""
        return blurred(batch, state.normaliser, self.config.observation_noise, jax.random.fold_in(state.key, 1))

    def critic_step(self, state: SACState, inputs: tuple[Batch, jax.Array]) -> tuple[SACState, tuple[Metrics, jax.Array]]:
        """One gradient step of the critics on one minibatch, and the targets after it."""
        batch, key = inputs
        return self.regress(state, batch, self.td_target(state, batch, key), jax.random.fold_in(key, 1))

    def regress(self, state: SACState, batch: Batch, target: jax.Array, dropout: jax.Array) -> tuple[SACState, tuple[Metrics, jax.Array]]:
        """One gradient step of the critics and the encoder towards y `[B]`; `dropout` is a key."""

        def loss_of(critic: Params, encoder: Params) -> tuple[jax.Array, tuple]:
            return self.critic_loss(critic, self.vision(encoder, state.normaliser, batch.observation), batch, target, dropout)

        grad = jax.value_and_grad(loss_of, argnums=(0, 1), has_aux=True)
        (loss, (q, td_error)), gradients = grad(state.critic, state.encoder)
        return self.apply_critic(state, *gradients), (critic_metrics(loss, q, target), td_error)

    def apply_critic(self, state: SACState, gradient: Params, encoder_gradient: Params = ()) -> SACState:
        """Adam on the critics, with their decay, and on the encoder, then the Polyak step of the targets."""
        change, optimizer = self.optimizer(self.config.critic_lr).update(gradient, state.critic_optimizer, state.critic)
        critic = optax.apply_updates(state.critic, change)
        targets = optax.incremental_update(critic, state.target_critic, self.config.tau)
        encoder, moments = self.vision.step(state.encoder, state.encoder_optimizer, encoder_gradient, self.config.critic_lr)
        state = state.replace(critic=critic, critic_optimizer=optimizer, target_critic=targets, updates=state.updates + 1)
        return state.replace(encoder=encoder, encoder_optimizer=moments)

    def actor_step(self, state: SACState, batch: Batch, key: jax.Array) -> tuple[SACState, Metrics]:
        """One gradient step of the policy and one of the temperature."""
        config = self.config
        loss = partial(self.actor_loss, state=state, batch=batch, key=key)
        actor, moments, metrics = descend(loss, state.actor, self.optimizer(config.actor_lr), state.actor_optimizer)
        excess = metrics["actor/entropy"] - config.target_entropy_per_dim * self.spec.action_dim
        gradient = jax.grad(lambda log_temperature: factor(log_temperature) * excess)(state.log_temperature)
        cooling, temperature_optimizer = optax.adam(config.temperature_lr).update(gradient, state.temperature_optimizer)
        temperature = optax.apply_updates(state.log_temperature, cooling)
        new = self.apply_actor(state, actor, moments).replace(log_temperature=temperature, temperature_optimizer=temperature_optimizer)
        return new, metrics | {"temperature": factor(new.log_temperature)}

    def apply_actor(self, state: SACState, actor: Params, moments: optax.OptState) -> SACState:
        """The state with a new policy, and the Polyak step of the one that acts."""
        tau = self.config.actor_tau
        acting = actor if tau == 1 else optax.incremental_update(actor, state.acting, tau)
        return state.replace(actor=actor, acting=acting, actor_optimizer=moments)

    # Acting, and passing the state on.

    def actor_params(self, state: SACState) -> Actor:
        return Actor(state.acting, state.normaliser, state.encoder)

    def act(
        self, actor: Actor, observation: PyTree, key: jax.Array, carry: PyTree, deterministic: bool = False
    ) -> tuple[jax.Array, PyTree]:
        mean, log_std = apply(self.policy, actor.params, self.vision(actor.encoder, actor.normaliser, observation))
        return (jnp.tanh(mean) if deterministic else sample_action(key, mean, log_std)[0]), carry

    def log_prob(self, actor: Actor, observation: PyTree, action: jax.Array) -> jax.Array:
        return log_density(action, *apply(self.policy, actor.params, self.vision(actor.encoder, actor.normaliser, observation)))

    def q_values(self, state: SACState, observation: PyTree, action: jax.Array) -> jax.Array:
        return apply(self.critic(self.config.ensemble), state.critic, self.vision(state.encoder, state.normaliser, observation), action)

    def td_error(self, state: SACState, batch: Batch, key: jax.Array) -> jax.Array:
        return jnp.abs(self.q_values(state, batch.observation, batch.action) - self.td_target(state, batch, key)[None]).mean(axis=0)

    def hand_over(self, state: SACState) -> SACState:
        return state

    def take_over(self, state: SACState | WarmStart) -> SACState:
        """This agent's state from what another one handed over; what it had not learnt begins fresh."""
        if isinstance(state, SACState):
            return state
        key, fresh_key = jax.random.split(state.key)
        learnt = () if state.critic is None else ("critic", "target_critic", "critic_optimizer")
        known = {name: getattr(state, name) for name in ("actor", "normaliser", "updates", "encoder", *learnt)}
        return self.init(fresh_key, example(self.spec)).replace(key=key, acting=jax.tree.map(jnp.copy, state.actor), **known)

    def subset(self, critics: Params, key: jax.Array) -> Params:
        """The members of one target, drawn without replacement."""
        members = jax.random.choice(key, self.config.ensemble, (self.config.target_subset,), replace=False)
        return jax.tree.map(lambda leaf: leaf[members], critics)
