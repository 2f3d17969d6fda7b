"""Imitation-bootstrapped RL: going on from a warm policy without giving it up.

    a₀ = mode of the warm policy π₀(·|s), which never changes;   a₁ = clip(mode of π(·|s) + σ ε),  ε ~ N(0, I)
    π⁺(s) = a₁ where every critic has Q_i(s, a₁) > Q_i(s, a₀), else a₀
    y     = clip(r + γ m max_j min_{i∈M} Q̄_i(s', a_j'))
    L_π   = −mean w_π agg_i Q_i(s, mode of π + σ ε) / mean|Q| + bc_weight · mean_{R(s,a) > Q} |mode of π − a|²

What acts, and what targets are of, is π⁺: where the critics rank a₀ and a₁ rightly it is at least as good as π₀. Rows are cloned whose
recorded return R is more than the policy's value (Oh et al. 2018), and interventions: so failures among the demonstrations are not.
Noise of a fixed size takes the place of SAC's entropy, which makes a policy of many dimensions too wide to succeed; as long as π is π₀,
it acts without it. Sources: IBRL (Hu et al. 2023, eq. 3 to 5), TD3 (Fujimoto et al. 2018). That all critics must agree is ours; the
authors' code compares the least of two target critics, and holds the actions of L_π within ±1.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import struct
from jax.scipy.stats import norm

from ..data.transition import Batch, PyTree, Spec, Transition
from .base import Metrics, Params, Problem, WarmStart, run_block
from .networks.networks import apply
from .networks.normaliser import Normaliser
from .sac import SAC, ActorCriticSettings, SACConfig, SACState
from .shared.agent_settings import setting
from .shared.cloning import better_than, cloning_weight, distance, mean_over
from .shared.critics import subset
from .shared.gradients import descend


@dataclasses.dataclass(frozen=True)
class IBRLConfig(ActorCriticSettings):
    """Settings of IBRL: those that it shares with SAC, and its own."""

    GONE: ClassVar[tuple[str, ...]] = (
        "self_imitation", "backup_entropy", "max_backup", "backup_actions", "clone_updates", "log_std_min", "log_std_max",
        "initial_log_std", "initial_temperature", "temperature_lr", "target_entropy_per_dim",
    )  # fmt: skip

    consent: str = setting("all", "of the critics must prefer π's action to the warm policy's, for it to act", among=("all", "mean"))
    noise: float = setting(0.1, "σ, standard deviation of the noise on π's action in training and in the target", least=1e-3)
    bc_weight: float = setting(5.0, "weight of cloning what did better than π; 0 leaves it out", least=0)


class IBRLState(struct.PyTreeNode):
    """SAC's state, and the warm policy's parameters with the encoder that it saw by, empty without cameras. Before there is a warm policy,
    `warmed` is False and π acts alone."""

    sac: SACState
    warm: Params
    warmed: jax.Array
    warm_encoder: Params = ()


class IBRLActor(struct.PyTreeNode):
    """What acting needs: both policies, the critics that choose between them, and σ, which is 0 while both are the same."""

    params: Params
    normaliser: Normaliser
    encoder: Params
    warm: Params
    warmed: jax.Array
    critic: Params
    noise: jax.Array
    warm_encoder: Params = ()


@dataclasses.dataclass(frozen=True)
class IBRL:
    """The algorithm: settings and shapes. See `agents.base.Agent` for the methods' contracts."""

    config: IBRLConfig
    spec: Spec
    problem: Problem = Problem()
    name: ClassVar[str] = "ibrl"
    keeps_warm: ClassVar[bool] = True  # what it goes on from is the warm policy, also where that was learnt by this algorithm

    @property
    def sac(self) -> SAC:
        """The SAC whose networks, critics' steps and optimizers this uses."""
        return SAC(SACConfig(**self.config.part(ActorCriticSettings)), self.spec, self.problem)

    def init(self, key: jax.Array, example: Transition) -> IBRLState:
        return self._beside(self.sac.init(key, example), warmed=False)

    def seen(self, state: SACState | IBRLActor, observation: PyTree) -> jax.Array:
        """What the networks see of observations, `[..., D]`."""
        return self.sac.seen(state, observation)

    def mode(self, policy: Params, seen: jax.Array, dropout: jax.Array | None = None) -> jax.Array:
        """A policy's mode `[..., A]`."""
        return jnp.tanh(apply(self.sac.policy, policy, seen, dropout=dropout)[0])

    def warm_mode(self, state: IBRLState | IBRLActor, observation: PyTree, seen: jax.Array) -> jax.Array:
        """The warm policy's mode `[..., A]`, of what it sees: by its own encoder, since the other one is trained on."""
        if self.spec.cameras:
            normaliser = state.sac.normaliser if isinstance(state, IBRLState) else state.normaliser
            seen = self.sac.vision(state.warm_encoder, normaliser, observation)
        return self.mode(state.warm, seen)

    def noisy(self, key: jax.Array, action: jax.Array, noise: jax.Array | None = None) -> jax.Array:
        """`[..., A]`, not clipped, with the settings' noise or another."""
        return action + (self.config.noise if noise is None else noise) * jax.random.normal(key, action.shape)

    # Losses: scalar and what the caller logs.

    def td_target(self, state: IBRLState, batch: Batch, key: jax.Array) -> jax.Array:
        """y `[B]`, without gradient."""
        config, sac = self.config, state.sac
        subset_key, noise_key = jax.random.split(key)
        critics = sac.target_critic
        if config.target_subset < config.ensemble:
            critics = subset(critics, subset_key, config.target_subset)
        seen = self.seen(sac, batch.next_observation)
        own = jnp.clip(self.noisy(noise_key, self.mode(sac.actor, seen)), -1.0, 1.0)
        both = jnp.stack([self.warm_mode(state, batch.next_observation, seen), own], axis=-2)  # [B, 2, A]
        value = self.sac.critics(critics, seen, both).min(axis=0)
        value = jnp.where(state.warmed, value.max(axis=-1), value[:, 1])
        return self.sac.bound(batch.reward + self.problem.discount * batch.mask * value, batch)

    def actor_loss(self, actor: Params, state: SACState, batch: Batch, key: jax.Array) -> tuple[jax.Array, Metrics]:
        """The value of the policy's actions, and the cloning term. Gradient to the policy only."""
        noise_key, dropout_key = jax.random.split(key)
        seen = self.seen(state, batch.observation)
        mode = self.mode(actor, seen, dropout_key)
        q = self.sac.critics(state.critic, seen, self.noisy(noise_key, mode)[:, None])[..., 0]  # [E, B]
        value = q.mean(axis=0) if self.config.actor_q == "mean" else q.min(axis=0)
        expected = jax.lax.stop_gradient(value)
        worth = better_than(self.problem, batch, expected) | batch.intervened
        cloning = mean_over(worth, distance(self.config, mode, batch.action), batch)
        weight = cloning_weight(self.config, state.updates)
        loss = -jnp.mean(batch.actor_weight * value) / jnp.maximum(jnp.abs(expected).mean(), 1e-2) + weight * cloning
        metrics = {"actor/loss": loss, "actor/q_mean": value.mean(), "actor/cloning_loss": cloning, "actor/cloning_weight": weight}
        return loss, metrics | {"actor/cloned_share": worth.mean()}

    # Updates.

    def update(self, state: IBRLState, batch: Batch) -> tuple[IBRLState, Metrics, jax.Array]:
        key, *keys = jax.random.split(state.sac.key, 2 + batch.reward.shape[0])
        batch = self.sac.as_learnt(state.sac, batch)
        state = state.replace(sac=state.sac.replace(key=key))
        state, (metrics, td_error) = run_block(self.critic_step, state, batch, jnp.stack(keys[1:]))
        sac, actor_metrics = self.actor_step(state.sac, self.sac.actor_rows(batch), keys[0])
        return state.replace(sac=sac), jax.tree.map(jnp.mean, metrics) | actor_metrics, td_error

    def critic_step(self, state: IBRLState, inputs: tuple[Batch, jax.Array]) -> tuple[IBRLState, tuple[Metrics, jax.Array]]:
        """One gradient step of the critics on one minibatch, and the targets after it."""
        batch, key = inputs
        sac, told = self.sac.critics.regress(state.sac, batch, self.td_target(state, batch, key), jax.random.fold_in(key, 1))
        return state.replace(sac=sac), told

    def actor_step(self, state: SACState, batch: Batch, key: jax.Array) -> tuple[SACState, Metrics]:
        """One gradient step of the policy; there is no temperature."""
        loss = partial(self.actor_loss, state=state, batch=batch, key=key)
        actor, moments, metrics = descend(loss, state.actor, self.sac.actor_optimizer, state.actor_optimizer)
        return self.sac.apply_actor(state, actor, moments), metrics

    # Acting, and passing the state on.

    def actor_params(self, state: IBRLState) -> IBRLActor:
        sac = state.sac
        differs = jnp.any(jnp.array(jax.tree.leaves(jax.tree.map(lambda one, other: jnp.any(one != other), sac.acting, state.warm))))
        noise = self.config.noise * (differs | ~state.warmed)
        return IBRLActor(sac.acting, sac.normaliser, sac.encoder, state.warm, state.warmed, sac.critic, noise, state.warm_encoder)

    def act(
        self, actor: IBRLActor, observation: PyTree, key: jax.Array, carry: PyTree, deterministic: bool = False
    ) -> tuple[jax.Array, PyTree]:
        seen = self.seen(actor, observation)
        warm, own = self.warm_mode(actor, observation, seen), self.mode(actor.params, seen)
        own = own if deterministic else jnp.clip(self.noisy(key, own, actor.noise), -1.0, 1.0)
        rows, both = seen.reshape(-1, seen.shape[-1]), jnp.stack([warm, own], axis=-2)
        q = self.sac.critics(actor.critic, rows, both.reshape(-1, *both.shape[-2:]))  # [E, N, 2]
        gain = (q[..., 1] - q[..., 0]).reshape(-1, *warm.shape[:-1], 1)
        preferred = (gain.min(axis=0) if self.config.consent == "all" else gain.mean(axis=0)) > 0
        return jnp.where(preferred | ~actor.warmed, own, warm), carry

    def log_prob(self, actor: IBRLActor, observation: PyTree, action: jax.Array) -> jax.Array:
        """log density `[B]` of actions `[B, A]` about π's mode, before they are clipped."""
        return norm.logpdf(action, self.mode(actor.params, self.seen(actor, observation)), self.config.noise).sum(axis=-1)

    def q_values(self, state: IBRLState, observation: PyTree, action: jax.Array) -> jax.Array:
        return self.sac.q_values(state.sac, observation, action)

    def td_error(self, state: IBRLState, batch: Batch, key: jax.Array) -> jax.Array:
        return jnp.abs(self.q_values(state, batch.observation, batch.action) - self.td_target(state, batch, key)[None]).mean(axis=0)

    def hand_over(self, state: IBRLState) -> SACState:
        """SAC's full state, optimizers included; the warm policy stays behind."""
        return state.sac

    def take_over(self, state: SACState | WarmStart) -> IBRLState:
        """Goes on from a warm policy, which stays beside the one that is trained."""
        return self._beside(self.sac.take_over(state), warmed=True)

    def _beside(self, state: SACState, warmed: bool) -> IBRLState:
        """The state with its acting policy as the warm one; a copy, since the state is donated."""
        return IBRLState(state, jax.tree.map(jnp.copy, state.acting), jnp.asarray(warmed), jax.tree.map(jnp.copy, state.encoder))
