"""Soft actor-critic with a critic ensemble, a high update-to-data ratio and an optional cloning term.

    y      = clip(r + γ m min_{i∈M} Q̄_i(s', a') [− γ m α log π(a'|s')]),  a' ~ π(·|s')
    L_Q    = mean_{E×B} w (Q_i(s, a) − y)²                      or a cross entropy (shared/critics.py)
    L_π    = mean w_π (α log π(a|s) − agg_i Q_i(s, a)),  agg = mean or min
    L_α    = α (H − H̄)

M is drawn without replacement, once per critic step. Sources: SAC (Haarnoja et al. 2018), REDQ (Chen et al. 2021), RLPD
(Ball et al. 2023). With `bc_weight` the actor minimises `L_π / mean|Q| + bc_weight · decay^t · |a − a_demo|²`, the last term
on the batch's demonstration rows (as TD3+BC, Fujimoto and Gu 2021). RLPD, WSRL and HIL-SERL are presets of this file.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import optax
from flax import struct

from ..data.errors import WarmloopError
from ..data.transition import Batch, PyTree, Spec, Transition, example
from .base import Actor, Metrics, Params, Problem, WarmStart, run_block
from .networks.bounds import factor
from .networks.networks import LOG_STD_MAX, LOG_STD_MIN, Policy, apply, initialise, log_density, sample_action
from .networks.normaliser import Normaliser, blurred
from .networks.vision import Vision, VisionConfig
from .shared.agent_settings import CloningSettings, CloningTermSettings, CriticSettings, setting
from .shared.cloning import cloning_weight, distance, mean_over, worth_cloning
from .shared.critics import Critics, subset
from .shared.gradients import adam, descend
from .shared.temperature import temperature_step

NOISE = 1 << 16  # far from 0, 1, …: `fold_in` of these gives the very keys that `split` gives


@dataclasses.dataclass(frozen=True)
class ActorCriticSettings(CloningTermSettings, CriticSettings):
    """What SAC and IBRL have: RLPD's sizes (Ball et al. 2023), the target, the policy's step."""

    utd: int = setting(20, "K, critic steps for each step of the policy", least=1)
    ensemble: int = 10
    critic_layer_norm: bool = True
    target_subset: int = setting(2, "|M|, critics whose minimum the target is of", least=1)
    monte_carlo_target: bool = setting(False, "y is at least the return that the row's episode reached (MCAC, Wilcox et al. 2022)")
    clip_target: bool = setting(False, "whether y is clipped to the bounds of the return")
    actor_q: str = setting("mean", "over the ensemble, in the policy's loss", among=("mean", "min"))
    actor_on_block: bool = setting(False, "the policy's step sees all K·B rows of a block instead of its last minibatch")
    actor_tau: float = setting(1.0, "Polyak rate, per step, of the policy that acts; 1: the one that is trained acts", above=0, most=1)
    vision: VisionConfig = VisionConfig()

    def __post_init__(self):
        super().__post_init__()
        if self.target_subset > self.ensemble:
            raise WarmloopError(f"agent.target_subset is {self.target_subset}; it must lie between 1 and agent.ensemble ({self.ensemble}).")


@dataclasses.dataclass(frozen=True)
class SACConfig(CloningSettings, ActorCriticSettings):
    """Settings of SAC. Published ones are presets (`configs/recipes/published.py`)."""

    # The target.
    backup_entropy: bool = setting(False, "whether the target has the entropy term")
    max_backup: bool = setting(False, "the target takes the best of `backup_actions` of the policy's actions instead of one")
    backup_actions: int = setting(10, "actions that `max_backup` chooses from", least=1)
    # The policy.
    clone_updates: int = setting(0, "critic steps at first in which log π of the recorded action stands for Q in L_π", least=0)
    log_std_min: float = setting(LOG_STD_MIN, "least log standard deviation before the tanh")
    log_std_max: float = setting(LOG_STD_MAX, "greatest log standard deviation before the tanh")
    initial_log_std: float = setting(0.0, "what it begins with, between these two")
    # The temperature.
    initial_temperature: float = setting(1.0, "α before training", least=1e-6)  # its logarithm is learnt
    temperature_lr: float = setting(3e-4, "Adam step size of α", least=0)
    target_entropy_per_dim: float = setting(-0.5, "H̄ / A")

    def __post_init__(self):
        super().__post_init__()
        if self.backup_entropy and self.critic_loss != "mse":
            raise WarmloopError(
                f"agent.backup_entropy adds to the return what the bins of agent.critic_loss={self.critic_loss} do not reach; set "
                "agent.backup_entropy=False, or agent.critic_loss=mse."
            )
        if not self.log_std_min < self.initial_log_std < self.log_std_max:
            raise WarmloopError(
                f"agent.initial_log_std is {self.initial_log_std}; it must lie between agent.log_std_min ({self.log_std_min}) and "
                f"agent.log_std_max ({self.log_std_max})."
            )


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
    problem: Problem = Problem()
    name: ClassVar[str] = "sac"

    @property
    def policy(self) -> Policy:
        """The policy's module."""
        c = self.config
        bounds = (c.log_std_min, c.log_std_max, c.initial_log_std)
        return Policy(self.spec.action_dim, c.actor_widths, c.actor_layer_norm, c.activation, c.actor_dropout, *bounds, c.actor_network)

    @property
    def vision(self) -> Vision:
        """What the networks see of an observation."""
        return Vision(self.config.vision, self.spec)

    @property
    def critics(self) -> Critics:
        return Critics(self.config, self.problem, self.vision)

    @property
    def actor_optimizer(self) -> optax.GradientTransformation:
        return adam(self.config.actor_lr, self.config.weight_decay)

    def init(self, key: jax.Array, example: Transition) -> SACState:
        self.config.check_images(self.spec)
        actor_key, critic_key, key = jax.random.split(key, 3)
        actor = initialise(self.policy, actor_key, jnp.zeros((1, self.vision.dim)))
        encoder = self.vision.init(jax.random.fold_in(critic_key, 1))
        log_temperature = jnp.log(jnp.asarray(self.config.initial_temperature, jnp.float32))
        return SACState(
            actor=actor,
            acting=jax.tree.map(jnp.copy, actor),  # a buffer of its own, as the targets: the state is donated
            **self.critics.init(critic_key, self.vision.dim, self.spec.action_dim),
            log_temperature=log_temperature,
            actor_optimizer=self.actor_optimizer.init(actor),
            temperature_optimizer=adam(self.config.temperature_lr).init(log_temperature),
            normaliser=Normaliser.asked(example, self.config),
            key=key,
            updates=jnp.zeros((), jnp.int32),
            encoder=encoder,
            encoder_optimizer=optax.adam(self.config.critic_lr).init(encoder) if self.spec.cameras else (),
        )

    def seen(self, state: Any, observation: PyTree) -> jax.Array:
        """What the networks see of observations by the statistics and the encoder of a state or of acting parameters, `[..., D]`."""
        return self.vision(state.encoder, state.normaliser, observation)

    # Losses: scalar and what the caller logs.

    def td_target(self, state: SACState, batch: Batch, key: jax.Array) -> jax.Array:
        """y `[B]`, without gradient."""
        return self.bound(self.backup(state, batch, key), batch)

    def backup(self, state: SACState, batch: Batch, key: jax.Array) -> jax.Array:
        """The target `[B]` before it is held within bounds."""
        config = self.config
        some = config.target_subset < config.ensemble  # else one key, and no draw, does
        subset_key, action_key = jax.random.split(key) if some else (key, key)
        critics = subset(state.target_critic, subset_key, config.target_subset) if some else state.target_critic
        seen = self.seen(state, batch.next_observation)
        count = config.backup_actions if config.max_backup else None
        action, log_prob = sample_action(action_key, *apply(self.policy, state.actor, seen), count=count)
        value = self.critics(critics, seen, action).min(axis=0)  # [B], or [B, N]
        if config.backup_entropy:
            value = value - factor(state.log_temperature) * log_prob
        value = value.max(axis=-1) if config.max_backup else value
        return batch.reward + self.problem.discount * batch.mask * value

    def bound(self, target: jax.Array, batch: Batch) -> jax.Array:
        """A target held within what is known of the return, as far as the config asks for it."""
        if self.config.monte_carlo_target:
            target = jnp.maximum(target, batch.mc_return)  # -inf where the episode's outcome is not known
        return jnp.clip(target, self.problem.return_low, self.problem.return_high) if self.config.clip_target else target

    def actor_loss(self, actor: Params, state: SACState, batch: Batch, key: jax.Array) -> tuple[jax.Array, Metrics]:
        """Entropy-regularised value of the policy's actions, and the cloning term. Gradient to the policy only."""
        terms, metrics = self.actor_terms(actor, state, batch, key)
        loss = sum(terms.values(), jnp.zeros(()))
        return loss, metrics | {"actor/loss": loss}

    def actor_terms(self, actor: Params, state: SACState, batch: Batch, key: jax.Array) -> tuple[Metrics, Metrics]:
        """The terms whose sum is the policy's loss, by name: `value`, `entropy` and, with `bc_weight`, `cloning`; and what is logged."""
        seen = self.seen(state, batch.observation)
        mean, log_std = apply(self.policy, actor, seen, dropout=jax.random.fold_in(key, 1))
        action, log_prob = sample_action(key, mean, log_std)
        # As one of N actions, so that no gradient is computed for the observation's columns.
        q = self.critics(state.critic, seen, action[:, None])[..., 0]  # [E, B]
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
        worth = worth_cloning(self.config, self.problem, batch, value)
        return mean_over(worth, distance(self.config, action, batch.action), batch)

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
        return blurred(batch, state.normaliser, self.config.observation_noise, jax.random.fold_in(state.key, NOISE))

    def critic_step(self, state: SACState, inputs: tuple[Batch, jax.Array]) -> tuple[SACState, tuple[Metrics, jax.Array]]:
        """One gradient step of the critics on one minibatch, and the targets after it."""
        batch, key = inputs
        return self.critics.regress(state, batch, self.td_target(state, batch, key), jax.random.fold_in(key, 1))

    def actor_step(self, state: SACState, batch: Batch, key: jax.Array) -> tuple[SACState, Metrics]:
        """One gradient step of the policy and one of the temperature."""
        loss = partial(self.actor_loss, state=state, batch=batch, key=key)
        actor, moments, metrics = descend(loss, state.actor, self.actor_optimizer, state.actor_optimizer)
        excess = metrics["actor/entropy"] - self.config.target_entropy_per_dim * self.spec.action_dim
        state, told = temperature_step(self.apply_actor(state, actor, moments), excess, self.config.temperature_lr)
        return state, metrics | told

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
        mean, log_std = apply(self.policy, actor.params, self.seen(actor, observation))
        return (jnp.tanh(mean) if deterministic else sample_action(key, mean, log_std)[0]), carry

    def log_prob(self, actor: Actor, observation: PyTree, action: jax.Array) -> jax.Array:
        return log_density(action, *apply(self.policy, actor.params, self.seen(actor, observation)))

    def q_values(self, state: SACState, observation: PyTree, action: jax.Array) -> jax.Array:
        return self.critics(state.critic, self.seen(state, observation), action)

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
