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

from ..data.errors import WarmloopError
from ..data.transition import Batch, PyTree, Spec, Transition, example
from .base import Actor, Metrics, Params, WarmStart, critic_metrics, run_block
from .cloning import cloning_weight, mean_over, worth_cloning
from .gradients import descend
from .networks import LOG_STD_MIN, Critic, Policy, apply, initialise, log_density, sample_action
from .normaliser import Normaliser, blurred
from .offline import check, check_shared, optimizer, refuse_noise_on_images
from .vision import Vision, VisionConfig


@dataclasses.dataclass(frozen=True)
class SACConfig:
    """Settings of SAC.

    Attributes:
        hidden, activation: widths of the critics' and the policy's hidden layers; relu, tanh, swish or elu after each.
        ensemble, target_subset: E critics, of which |M| targets are in the minimum.
        utd, batch_size: K critic steps of B rows for each actor step.
        tau, actor_tau: Polyak rates of the targets and, per actor step, of the policy that acts (1: by the policy that is trained).
        critic_lr, actor_lr, temperature_lr: Adam step sizes.
        initial_temperature, target_entropy_per_dim: α before training, and H̄ / A.
        backup_entropy: whether the target has the entropy term.
        actor_q: "mean" or "min" over the ensemble in the actor's loss.
        critic_layer_norm, actor_layer_norm: LayerNorm on hidden layers.
        log_std_min: least log standard deviation of the policy before its tanh.
        critic_dropout, actor_dropout: share of hidden units that are dropped in the losses.
        weight_decay: AdamW's decay of the critics' and the policy's kernels; 0 is Adam.
        observation_noise: standard deviation of the noise on observations in the losses, in normalised units.
        bc_weight, bc_decay: weight of the cloning term (0 leaves it out), and factor on it per critic step.
        bc_reduction: "mean" or "sum" of squared differences over action dimensions.
        self_imitation: clone every row whose recorded return exceeds the policy's value, beside demonstrations (Oh et al. 2018).
        monte_carlo_target: y is at least the return that the row's episode reached (MCAC, Wilcox et al. 2022).
        clip_target: whether y is clipped to the bounds of the return.
        discount, target_low, target_high: γ, and these bounds (set from the reward's configuration).
        normalise_observations: centre and scale observations by the warm-up data's statistics.
        vision: the encoder of camera images.
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
    log_std_min: float = LOG_STD_MIN
    critic_dropout: float = 0.0
    actor_dropout: float = 0.0
    weight_decay: float = 0.0
    observation_noise: float = 0.0
    bc_weight: float = 0.0
    bc_decay: float = 1.0
    bc_reduction: str = "mean"
    self_imitation: bool = False
    monte_carlo_target: bool = False
    clip_target: bool = False
    target_low: float = float("-inf")
    target_high: float = float("inf")
    normalise_observations: bool = True
    vision: VisionConfig = VisionConfig()

    def __post_init__(self):
        if not 1 <= self.target_subset <= self.ensemble:
            raise WarmloopError(f"agent.target_subset is {self.target_subset}; it must lie between 1 and agent.ensemble ({self.ensemble}).")
        for name, allowed in (("actor_q", ("mean", "min")), ("bc_reduction", ("mean", "sum"))):
            if getattr(self, name) not in allowed:
                raise WarmloopError(f'agent.{name} is "{getattr(self, name)}"; it must be "{allowed[0]}" or "{allowed[1]}".')
        check_shared(self)
        check(self, ("critic_dropout", "actor_dropout"), 0, below=1)
        check(self, ("weight_decay", "observation_noise", "bc_weight", "bc_decay"), 0)
        check(self, ("initial_temperature",), 1e-6)  # its logarithm is learnt


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
        return Policy(self.spec.action_dim, c.hidden, c.actor_layer_norm, c.activation, c.actor_dropout, c.log_std_min)

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
            normaliser=Normaliser.of(example, config.normalise_observations, softening=0.0),
            key=key,
            updates=jnp.zeros((), jnp.int32),
            encoder=encoder,
            encoder_optimizer=optax.adam(config.critic_lr).init(encoder) if self.spec.cameras else (),
        )

    # Losses: scalar and what the caller logs.

    def td_target(self, state: SACState, batch: Batch, key: jax.Array) -> jax.Array:
        """y `[B]`, without gradient."""
        config = self.config
        subset = config.target_subset < config.ensemble  # else one key, and no draw, does
        subset_key, action_key = jax.random.split(key) if subset else (key, key)
        critics = self._subset(state.target_critic, subset_key) if subset else state.target_critic
        observation = self.vision(state.encoder, state.normaliser, batch.next_observation)
        action, log_prob = sample_action(action_key, *apply(self.policy, state.actor, observation))
        value = apply(self.critic(config.target_subset), critics, observation, action).min(axis=0)  # over [M, B]
        if config.backup_entropy:
            value = value - jnp.exp(state.log_temperature) * log_prob
        return self.bound(batch.reward + config.discount * batch.mask * value, batch)

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
        observation = self.vision(state.encoder, state.normaliser, batch.observation)
        action, log_prob = sample_action(key, *apply(self.policy, actor, observation, dropout=jax.random.fold_in(key, 1)))
        # As one of N actions, so that no gradient is computed for the observation's columns.
        q = apply(self.critic(self.config.ensemble), state.critic, observation, action[:, None])[..., 0]  # [E, B]
        value = q.mean(axis=0) if self.config.actor_q == "mean" else q.min(axis=0)
        loss = jnp.mean(batch.actor_weight * (jnp.exp(state.log_temperature) * log_prob - value))
        entropy = -jnp.mean(batch.actor_weight * log_prob) / jnp.maximum(jnp.mean(batch.actor_weight), 1e-6)
        metrics = {"actor/loss": loss, "actor/entropy": entropy, "actor/q_mean": value.mean()}
        if self.config.bc_weight > 0:
            cloning = self.cloning_loss(action, batch, jax.lax.stop_gradient(value))
            weight = cloning_weight(self.config, state.updates)
            loss = loss / jnp.maximum(jax.lax.stop_gradient(jnp.abs(value).mean()), 1e-2) + weight * cloning
            metrics |= {"actor/cloning_loss": cloning, "actor/cloning_weight": weight}
        return loss, metrics

    def cloning_loss(self, action: jax.Array, batch: Batch, value: jax.Array) -> jax.Array:
        """Squared distance to recorded actions over the rows worth it, by the policy's value `[B]` (`cloning.py`)."""
        distance = jnp.square(action - batch.action)
        distance = distance.mean(axis=-1) if self.config.bc_reduction == "mean" else distance.sum(axis=-1)
        return mean_over(worth_cloning(self.config, batch, value), distance, batch)

    # Updates.

    def update(self, state: SACState, batch: Batch) -> tuple[SACState, Metrics, jax.Array]:
        key, *keys = jax.random.split(state.key, 2 + batch.reward.shape[0])
        batch = self.as_learnt(state, batch)
        state, (metrics, td_error) = run_block(self.critic_step, state.replace(key=key), batch, jnp.stack(keys[1:]))
        state, actor_metrics = self.actor_step(state, jax.tree.map(lambda x: x[-1], batch), keys[0])
        return state, jax.tree.map(jnp.mean, metrics) | actor_metrics, td_error

    def as_learnt(self, state: SACState, batch: Batch) -> Batch:
        """A block as the losses see it, with noise on its observations."""
        return blurred(batch, state.normaliser, self.config.observation_noise, jax.random.fold_in(state.key, 1))

    def critic_step(self, state: SACState, inputs: tuple[Batch, jax.Array]) -> tuple[SACState, tuple[Metrics, jax.Array]]:
        """One gradient step of the critics on one minibatch, and the targets after it."""
        batch, key = inputs
        target, dropout = self.td_target(state, batch, key), jax.random.fold_in(key, 1)

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
        temperature_gradient = jnp.exp(state.log_temperature) * excess
        cooling, temperature_optimizer = optax.adam(config.temperature_lr).update(temperature_gradient, state.temperature_optimizer)
        new = state.replace(
            actor=actor,
            acting=actor if config.actor_tau == 1 else optax.incremental_update(actor, state.acting, config.actor_tau),
            actor_optimizer=moments,
            log_temperature=optax.apply_updates(state.log_temperature, cooling),
            temperature_optimizer=temperature_optimizer,
        )
        return new, metrics | {"temperature": jnp.exp(new.log_temperature)}

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
        acting = jax.tree.map(jnp.copy, state.actor)
        learnt = () if state.critic is None else ("critic", "target_critic", "critic_optimizer")
        known = {name: getattr(state, name) for name in ("actor", "normaliser", "updates", "encoder", *learnt)} | {"acting": acting}
        return self.init(fresh_key, example(self.spec)).replace(key=key, **known)

    def _subset(self, critics: Params, key: jax.Array) -> Params:
        members = jax.random.choice(key, self.config.ensemble, (self.config.target_subset,), replace=False)
        return jax.tree.map(lambda leaf: leaf[members], critics)
