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
from typing import ClassVar

import chex
import jax
import jax.numpy as jnp
import optax
from flax import struct

from ..data.errors import WarmloopError
from ..data.transition import Batch, PyTree, Source, Spec, Transition, example
from .base import Actor, Metrics, Params, WarmStart, critic_metrics, run_block
from .networks import Critic, Policy, apply, log_density, sample_action
from .normaliser import Normaliser


@dataclasses.dataclass(frozen=True)
class SACConfig:
    """Settings of SAC.

    Attributes:
        hidden: widths of the hidden layers, of the critics and of the policy.
        activation: of the hidden layers: relu, tanh, swish or elu.
        ensemble: E, number of critics.
        target_subset: |M|, target critics in the minimum.
        utd: K, critic steps per actor step.
        batch_size: B, rows per critic step.
        discount: γ (set from the reward's configuration).
        tau: Polyak rate of the targets.
        actor_tau: Polyak rate, per actor step, of the policy that acts; 1 acts by the policy that is trained.
        critic_lr, actor_lr, temperature_lr: Adam step sizes.
        initial_temperature: α before training.
        target_entropy_per_dim: H̄ / A.
        backup_entropy: whether the target has the entropy term.
        actor_q: "mean" or "min" over the ensemble in the actor's loss.
        critic_layer_norm, actor_layer_norm: LayerNorm on hidden layers.
        bc_weight: weight of the cloning term; 0 leaves it out.
        bc_decay: factor on it per critic step.
        bc_reduction: "mean" or "sum" of squared differences over action dimensions.
        self_imitation: clone every row whose recorded return exceeds the policy's value, beside demonstrations (Oh et al. 2018).
        monte_carlo_target: y is at least the return that the row's episode reached (MCAC, Wilcox et al. 2022).
        clip_target: whether y is clipped to [target_low, target_high].
        target_low, target_high: the least and the greatest possible return (set from the reward's configuration).
        normalise_observations: centre and scale observations by the warm-up data's statistics.
    """

    hidden: tuple[int, ...] = (256, 256)
    activation: str = "relu"
    ensemble: int = 10
    target_subset: int = 2
    utd: int = 20
    batch_size: int = 256
    discount: float = 0.99
    tau: float = 0.005
    actor_tau: float = 1.0
    critic_lr: float = 3e-4
    actor_lr: float = 3e-4
    temperature_lr: float = 3e-4
    initial_temperature: float = 1.0
    target_entropy_per_dim: float = -0.5
    backup_entropy: bool = False
    actor_q: str = "mean"
    critic_layer_norm: bool = True
    actor_layer_norm: bool = False
    bc_weight: float = 0.0
    bc_decay: float = 1.0
    bc_reduction: str = "mean"
    self_imitation: bool = False
    monte_carlo_target: bool = False
    clip_target: bool = False
    target_low: float = float("-inf")
    target_high: float = float("inf")
    normalise_observations: bool = True

    def __post_init__(self):
        if not 1 <= self.target_subset <= self.ensemble:
            raise WarmloopError(f"agent.target_subset is {self.target_subset}; it must lie between 1 and agent.ensemble ({self.ensemble}).")
        for name, allowed in (("actor_q", ("mean", "min")), ("bc_reduction", ("mean", "sum"))):
            if getattr(self, name) not in allowed:
                raise WarmloopError(f'agent.{name} is "{getattr(self, name)}"; it must be "{allowed[0]}" or "{allowed[1]}".')
        for name in ("utd", "batch_size", "ensemble"):
            if getattr(self, name) < 1:
                raise WarmloopError(f"agent.{name} is {getattr(self, name)}; it must be at least 1.")


class SACState(struct.PyTreeNode):
    """Everything that SAC learns. Critic leaves are `[E, ...]`; `acting` is the policy averaged over its steps, which acts;
    `updates` counts critic steps."""

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


@dataclasses.dataclass(frozen=True)
class SAC:
    """The algorithm: settings and shapes. See `agents.base.Agent` for the methods' contracts."""

    config: SACConfig
    spec: Spec
    name: ClassVar[str] = "sac"

    @property
    def policy(self) -> Policy:
        """The policy's module."""
        return Policy(self.spec.action_dim, self.config.hidden, self.config.actor_layer_norm, self.config.activation)

    def critic(self, members: int) -> Critic:
        """The module of `members` critics."""
        return Critic(members, self.config.hidden, self.config.critic_layer_norm, self.config.activation)

    def init(self, key: jax.Array, example: Transition) -> SACState:
        config = self.config
        actor_key, critic_key, key = jax.random.split(key, 3)
        observation = jnp.zeros((1, self.spec.observation_dim))
        actor = self.policy.init(actor_key, observation)
        critic = self.critic(config.ensemble).init(critic_key, observation, jnp.zeros((1, self.spec.action_dim)))
        log_temperature = jnp.log(jnp.asarray(config.initial_temperature, jnp.float32))
        return SACState(
            actor=actor,
            acting=jax.tree.map(jnp.copy, actor),  # a buffer of its own, as the targets: the state is donated
            critic=critic,
            target_critic=jax.tree.map(jnp.copy, critic),
            log_temperature=log_temperature,
            actor_optimizer=optax.adam(config.actor_lr).init(actor),
            critic_optimizer=optax.adam(config.critic_lr).init(critic),
            temperature_optimizer=optax.adam(config.temperature_lr).init(log_temperature),
            normaliser=Normaliser.of(example, config.normalise_observations, softening=0.0),
            key=key,
            updates=jnp.zeros((), jnp.int32),
        )

    # Losses: scalar and what the caller logs.

    def td_target(self, state: SACState, batch: Batch, key: jax.Array) -> jax.Array:
        """y `[B]`, without gradient."""
        config = self.config
        subset = config.target_subset < config.ensemble  # else one key, and no draw, does
        subset_key, action_key = jax.random.split(key) if subset else (key, key)
        critics = self._subset(state.target_critic, subset_key) if subset else state.target_critic
        observation = state.normaliser(batch.next_observation)
        action, log_prob = sample_action(action_key, *apply(self.policy, state.actor, observation))
        q = apply(self.critic(config.target_subset), critics, observation, action)  # [M, B]
        value = q.min(axis=0)
        if config.backup_entropy:
            value = value - jnp.exp(state.log_temperature) * log_prob
        return self.bound(batch.reward + config.discount * batch.mask * value, batch)

    def bound(self, target: jax.Array, batch: Batch) -> jax.Array:
        """A target held within what is known of the return, as far as the config asks for it."""
        if self.config.monte_carlo_target:
            target = jnp.maximum(target, batch.mc_return)  # -inf where the episode's outcome is not known
        return jnp.clip(target, self.config.target_low, self.config.target_high) if self.config.clip_target else target

    def critic_loss(self, critic: Params, observation: jax.Array, batch: Batch, target: jax.Array) -> tuple[jax.Array, tuple]:
        """Weighted squared TD error of every member. Returns the loss and (Q `[E, B]`, |TD error| `[B]`)."""
        q = apply(self.critic(self.config.ensemble), critic, observation, batch.action)
        chex.assert_shape(q, (self.config.ensemble, *target.shape))
        error = q - target[None]
        return jnp.mean(batch.weight[None] * jnp.square(error)), (q, jnp.abs(error).mean(axis=0))

    def actor_loss(self, actor: Params, state: SACState, batch: Batch, key: jax.Array) -> tuple[jax.Array, Metrics]:
        """Entropy-regularised value of the policy's actions, and the cloning term. Gradient to the policy only."""
        observation = state.normaliser(batch.observation)
        action, log_prob = sample_action(key, *apply(self.policy, actor, observation))
        # As one of N actions, so that no gradient is computed for the observation's columns.
        q = apply(self.critic(self.config.ensemble), state.critic, observation, action[:, None])[..., 0]  # [E, B]
        value = q.mean(axis=0) if self.config.actor_q == "mean" else q.min(axis=0)
        loss = jnp.mean(batch.actor_weight * (jnp.exp(state.log_temperature) * log_prob - value))
        entropy = -jnp.mean(batch.actor_weight * log_prob) / jnp.maximum(jnp.mean(batch.actor_weight), 1e-6)
        metrics = {"actor/loss": loss, "actor/entropy": entropy, "actor/q_mean": value.mean()}
        if self.config.bc_weight > 0:
            cloning = self.cloning_loss(action, batch, jax.lax.stop_gradient(value))
            weight = self.config.bc_weight * jnp.power(self.config.bc_decay, state.updates.astype(jnp.float32))
            loss = loss / jnp.maximum(jax.lax.stop_gradient(jnp.abs(value).mean()), 1e-2) + weight * cloning
            metrics |= {"actor/cloning_loss": cloning, "actor/cloning_weight": weight}
        return loss, metrics

    def cloning_loss(self, action: jax.Array, batch: Batch, value: jax.Array) -> jax.Array:
        """Squared distance to recorded actions over the rows worth it: offline ones that are not random, and interventions;
        with `self_imitation` also those that did better than the policy's value `[B]`."""
        demonstrated = (batch.offline & (batch.source != Source.RANDOM)) | batch.intervened
        if self.config.self_imitation:
            demonstrated |= batch.mc_return > value
        distance = jnp.square(action - batch.action)
        distance = distance.mean(axis=-1) if self.config.bc_reduction == "mean" else distance.sum(axis=-1)
        weight = batch.actor_weight * demonstrated
        return jnp.sum(weight * distance) / jnp.maximum(demonstrated.sum(), 1.0)

    # Updates.

    def update(self, state: SACState, batch: Batch) -> tuple[SACState, Metrics, jax.Array]:
        key, *keys = jax.random.split(state.key, 2 + batch.reward.shape[0])
        state, (metrics, td_error) = run_block(self.critic_step, state.replace(key=key), batch, jnp.stack(keys[1:]))
        state, actor_metrics = self.actor_step(state, jax.tree.map(lambda x: x[-1], batch), keys[0])
        return state, jax.tree.map(jnp.mean, metrics) | actor_metrics, td_error

    def critic_step(self, state: SACState, inputs: tuple[Batch, jax.Array]) -> tuple[SACState, tuple[Metrics, jax.Array]]:
        """One gradient step of the critics on one minibatch, and the targets after it."""
        batch, key = inputs
        target = self.td_target(state, batch, key)
        observation = state.normaliser(batch.observation)
        grad = jax.value_and_grad(self.critic_loss, has_aux=True)
        (loss, (q, td_error)), gradient = grad(state.critic, observation, batch, target)
        return self.apply_critic(state, gradient), (critic_metrics(loss, q, target), td_error)

    def apply_critic(self, state: SACState, gradient: Params) -> SACState:
        """Adam on the critics, then the Polyak step of the targets."""
        change, optimizer = optax.adam(self.config.critic_lr).update(gradient, state.critic_optimizer)
        critic = optax.apply_updates(state.critic, change)
        targets = optax.incremental_update(critic, state.target_critic, self.config.tau)
        return state.replace(critic=critic, critic_optimizer=optimizer, target_critic=targets, updates=state.updates + 1)

    def actor_step(self, state: SACState, batch: Batch, key: jax.Array) -> tuple[SACState, Metrics]:
        """One gradient step of the policy and one of the temperature."""
        config = self.config
        gradient, metrics = jax.grad(self.actor_loss, has_aux=True)(state.actor, state, batch, key)
        change, actor_optimizer = optax.adam(config.actor_lr).update(gradient, state.actor_optimizer)
        excess = metrics["actor/entropy"] - config.target_entropy_per_dim * self.spec.action_dim
        temperature_gradient = jnp.exp(state.log_temperature) * excess
        cooling, temperature_optimizer = optax.adam(config.temperature_lr).update(temperature_gradient, state.temperature_optimizer)
        actor = optax.apply_updates(state.actor, change)
        new = state.replace(
            actor=actor,
            acting=actor if config.actor_tau == 1 else optax.incremental_update(actor, state.acting, config.actor_tau),
            actor_optimizer=actor_optimizer,
            log_temperature=optax.apply_updates(state.log_temperature, cooling),
            temperature_optimizer=temperature_optimizer,
        )
        return new, metrics | {"temperature": jnp.exp(new.log_temperature)}

    # Acting, and passing the state on.

    def actor_params(self, state: SACState) -> Actor:
        return Actor(state.acting, state.normaliser)

    def act(
        self, actor: Actor, observation: PyTree, key: jax.Array, carry: PyTree, deterministic: bool = False
    ) -> tuple[jax.Array, PyTree]:
        mean, log_std = apply(self.policy, actor.params, actor.normaliser(observation))
        return (jnp.tanh(mean) if deterministic else sample_action(key, mean, log_std)[0]), carry

    def log_prob(self, actor: Actor, observation: PyTree, action: jax.Array) -> jax.Array:
        return log_density(action, *apply(self.policy, actor.params, actor.normaliser(observation)))

    def q_values(self, state: SACState, observation: PyTree, action: jax.Array) -> jax.Array:
        return apply(self.critic(self.config.ensemble), state.critic, state.normaliser(observation), action)

    def td_error(self, state: SACState, batch: Batch, key: jax.Array) -> jax.Array:
        target = self.td_target(state, batch, key)
        return jnp.abs(self.q_values(state, batch.observation, batch.action) - target[None]).mean(axis=0)

    def hand_over(self, state: SACState) -> SACState:
        """The full state, optimizers included, for the agent that goes on."""
        return state

    def take_over(self, state: SACState | WarmStart) -> SACState:
        """This agent's state from what another one handed over; what it had not learnt begins fresh."""
        if isinstance(state, SACState):
            return state
        key, fresh_key = jax.random.split(state.key)
        acting = jax.tree.map(jnp.copy, state.actor)
        known = {"actor": state.actor, "acting": acting, "normaliser": state.normaliser, "updates": state.updates}
        if state.critic is not None:
            known |= {name: getattr(state, name) for name in ("critic", "target_critic", "critic_optimizer")}
        return self.init(fresh_key, example(self.spec)).replace(key=key, **known)

    def _subset(self, critics: Params, key: jax.Array) -> Params:
        members = jax.random.choice(key, self.config.ensemble, (self.config.target_subset,), replace=False)
        return jax.tree.map(lambda leaf: leaf[members], critics)
