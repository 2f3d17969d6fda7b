"""TD3+BC: deterministic policy gradients with a cloning term, online as offline.

    y    = r + γ m min_i Q̄_i(s', clip(π̄(s') + clip(ε, ±c), ±1)),  ε ~ N(0, σ²)
    L_Q  = mean_{E×B} w (Q_i(s, a) − y)²
    L_π  = mean w_π (−λ Q_1(s, π(s)) + mean_A (π(s) − a)²),  λ = α / mean|Q_1(s, π(s))| without gradient

The policy and all targets move every `actor_delay` critic steps, counted over the agent's whole life. Sources: TD3+BC (Fujimoto and
Gu 2021), TD3 (Fujimoto et al. 2018).
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
from .networks.networks import DeterministicPolicy, apply, initialise
from .networks.normaliser import Normaliser
from .shared.agent_settings import CriticSettings, ScaledRewardSettings, setting
from .shared.critics import Critics, first
from .shared.gaussian import explore
from .shared.gradients import adam, descend
from .shared.handing_over import gaussian_of_deterministic, warm_start
from .shared.scaled import scale_of, td_error_of, update_block


@dataclasses.dataclass(frozen=True)
class TD3BCConfig(ScaledRewardSettings, CriticSettings):
    """Settings of TD3+BC."""

    alpha: float = setting(2.5, "α, how much the critic counts against the cloning term", least=0)
    actor_delay: int = setting(2, "critic steps per step of the policy and of the targets", least=1)
    target_noise: float = setting(0.2, "σ, standard deviation of the noise on the target's action", least=0)
    target_noise_clip: float = setting(0.5, "c, bound on it", least=0)
    exploration_noise: float = setting(0.1, "standard deviation around the action where it acts at random", least=1e-3)


class TD3BCState(struct.PyTreeNode):
    """Everything that TD3+BC learns. Critic leaves are `[E, ...]`; `updates` counts critic steps; `actor_metrics` are those of the
    policy's last step, shown by updates that have none."""

    actor: Params
    target_actor: Params
    critic: Params
    target_critic: Params
    actor_optimizer: optax.OptState
    critic_optimizer: optax.OptState
    normaliser: Normaliser
    reward_scale: jax.Array
    key: jax.Array
    updates: jax.Array
    actor_metrics: Metrics


@dataclasses.dataclass(frozen=True)
class TD3BC:
    """The algorithm: settings and shapes. See `agents.base.Agent` for the methods' contracts."""

    config: TD3BCConfig
    spec: Spec
    problem: Problem = Problem()
    name: ClassVar[str] = "td3bc"

    @property
    def policy(self) -> DeterministicPolicy:
        """The policy's module."""
        c = self.config
        return DeterministicPolicy(self.spec.action_dim, c.actor_widths, c.actor_layer_norm, c.activation, c.actor_dropout, c.actor_network)

    @property
    def critics(self) -> Critics:
        return Critics(self.config, self.problem)

    @property
    def actor_optimizer(self) -> optax.GradientTransformation:
        return adam(self.config.actor_lr, self.config.weight_decay)

    def init(self, key: jax.Array, example: Transition) -> TD3BCState:
        actor_key, critic_key, key = jax.random.split(key, 3)
        actor = initialise(self.policy, actor_key, jnp.zeros((1, self.spec.observation_dim)))
        return TD3BCState(
            actor=actor,
            target_actor=jax.tree.map(jnp.copy, actor),  # a buffer of its own: the state is donated
            **self.critics.init(critic_key, self.spec.observation_dim, self.spec.action_dim),
            actor_optimizer=self.actor_optimizer.init(actor),
            normaliser=Normaliser.asked(example, self.config),
            reward_scale=scale_of(self.config, example),
            key=key,
            updates=jnp.zeros((), jnp.int32),
            actor_metrics={name: jnp.zeros(()) for name in ("loss", "cloning_loss", "q_mean")},
        )

    # Losses: scalar and what the caller logs.

    def td_target(self, state: TD3BCState, batch: Batch, key: jax.Array) -> jax.Array:
        """y `[B]`, without gradient."""
        config = self.config
        action = apply(self.policy, state.target_actor, batch.next_observation)
        noise = jnp.clip(config.target_noise * jax.random.normal(key, action.shape), -config.target_noise_clip, config.target_noise_clip)
        action = jnp.clip(action + noise, -1.0, 1.0)
        q = self.critics(state.target_critic, batch.next_observation, action)  # [E, B]
        return batch.reward + self.problem.discount * batch.mask * q.min(axis=0)

    def actor_loss(self, actor: Params, critic: Params, batch: Batch, dropout_key: jax.Array) -> tuple[jax.Array, Metrics]:
        """Value of the policy's actions under the first critic, on a scale of α, and their squared distance to the recorded ones."""
        action = apply(self.policy, actor, batch.observation, dropout=dropout_key)  # [B, A]
        # As one of N actions, so that no gradient is computed for the observation's columns.
        q = self.critics(first(critic), batch.observation, action[:, None])[0, :, 0]  # [B]
        scale = self.config.alpha / jnp.maximum(jax.lax.stop_gradient(jnp.abs(q).mean()), 1e-6)
        distance = jnp.square(action - batch.action).mean(axis=-1)
        loss = jnp.mean(batch.actor_weight * (distance - scale * q))
        return loss, {"loss": loss, "cloning_loss": jnp.mean(batch.actor_weight * distance), "q_mean": q.mean()}

    # Updates.

    def update(self, state: TD3BCState, batch: Batch) -> tuple[TD3BCState, Metrics, jax.Array]:
        state, metrics, td_error = update_block(self.step, state, batch, self.config.observation_noise)
        return state, metrics | {f"actor/{name}": value for name, value in state.actor_metrics.items()}, td_error

    def step(self, state: TD3BCState, inputs: tuple[Batch, jax.Array]) -> tuple[TD3BCState, tuple[Metrics, jax.Array]]:
        """One gradient step of the critics on one minibatch; then, when it is due, one of the policy, and the targets."""
        batch, key = inputs
        target_key, critic_key, actor_key = jax.random.split(key, 3)
        state, metrics, td_error = self.critics.step(state, batch, self.td_target(state, batch, target_key), critic_key)
        state = state.replace(updates=state.updates + 1)
        due = state.updates % self.config.actor_delay == 0
        state = jax.lax.cond(due, self.delayed_step, lambda state, *_: state, state, batch, actor_key)
        return state, (metrics, td_error)

    def delayed_step(self, state: TD3BCState, batch: Batch, key: jax.Array) -> TD3BCState:
        """One gradient step of the policy, and the Polyak step of both targets."""
        actor, moments, metrics = descend(
            lambda actor: self.actor_loss(actor, state.critic, batch, key),
            state.actor,
            self.actor_optimizer,
            state.actor_optimizer,
        )
        target = optax.incremental_update(actor, state.target_actor, self.config.tau)
        state = self.critics.follow(state)
        return state.replace(actor=actor, target_actor=target, actor_optimizer=moments, actor_metrics=metrics)

    # Acting, and passing the state on.

    def actor_params(self, state: TD3BCState) -> Actor:
        return Actor(state.actor, state.normaliser)

    def act(
        self, actor: Actor, observation: PyTree, key: jax.Array, carry: PyTree, deterministic: bool = False
    ) -> tuple[jax.Array, PyTree]:
        action = apply(self.policy, actor.params, actor.normaliser(observation))
        return (action if deterministic else explore(key, action, self.config.exploration_noise)), carry

    def q_values(self, state: TD3BCState, observation: PyTree, action: jax.Array) -> jax.Array:
        """In the rewards' own units, as the returns are."""
        return self.critics(state.critic, state.normaliser(observation), action) / state.reward_scale

    def td_error(self, state: TD3BCState, batch: Batch, key: jax.Array) -> jax.Array:
        return td_error_of(self, self.td_target, state, batch, key)

    def hand_over(self, state: TD3BCState) -> WarmStart:
        """Critics with their optimizer, and SAC's policy with the same mode and the exploration's deviation before the tanh."""
        return warm_start(self.config, state, gaussian_of_deterministic(state.actor, self.config.exploration_noise))
