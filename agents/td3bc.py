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

from ..data.errors import WarmloopError
from ..data.transition import Batch, PyTree, Transition
from .base import Actor, Metrics, Params, WarmStart
from .networks.networks import DeterministicPolicy, apply, initialise
from .networks.normaliser import Normaliser
from .shared.actor_critic import ActorCritic
from .shared.gradients import descend
from .shared.offline import ActorCriticConfig, actor_widths, adam_moments, check, explore, gaussian_policy


@dataclasses.dataclass(frozen=True)
class TD3BCConfig(ActorCriticConfig):
    """Settings of TD3+BC beside the offline algorithms' own.

    Attributes:
        alpha: α, how much the critic counts against the cloning term.
        actor_delay: critic steps per step of the policy and of the targets.
        target_noise: σ, standard deviation of the noise on the target's action.
        target_noise_clip: c, bound on it.
        exploration_noise: standard deviation around the action where it acts at random.
    """

    alpha: float = 2.5
    actor_delay: int = 2
    target_noise: float = 0.2
    target_noise_clip: float = 0.5
    exploration_noise: float = 0.1

    def __post_init__(self):
        super().__post_init__()
        check(self, ("actor_delay",), 1)
        check(self, ("alpha", "target_noise", "target_noise_clip"), 0)
        check(self, ("exploration_noise",), 1e-3)


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


class TD3BC(ActorCritic[TD3BCConfig]):
    """The algorithm. See `agents.base.Agent` for the methods' contracts."""

    name: ClassVar[str] = "td3bc"

    @property
    def policy(self) -> DeterministicPolicy:
        """The policy's module."""
        config = self.config
        settings = (config.actor_layer_norm, config.activation, config.actor_dropout, config.actor_network)
        return DeterministicPolicy(self.spec.action_dim, actor_widths(config), *settings)

    def init(self, key: jax.Array, example: Transition) -> TD3BCState:
        actor_key, critic_key, key = jax.random.split(key, 3)
        actor = initialise(self.policy, actor_key, jnp.zeros((1, self.spec.observation_dim)))
        begun = self.beginning(actor, critic_key, key, example)
        unmeasured = {name: jnp.zeros(()) for name in ("loss", "cloning_loss", "q_mean")}
        return TD3BCState(**begun, target_actor=jax.tree.map(jnp.copy, begun["actor"]), actor_metrics=unmeasured)

    # Losses: scalar and what the caller logs.

    def td_target(self, state: TD3BCState, batch: Batch, key: jax.Array) -> jax.Array:
        """y `[B]`, without gradient."""
        config = self.config
        action = apply(self.policy, state.target_actor, batch.next_observation)
        noise = jnp.clip(config.target_noise * jax.random.normal(key, action.shape), -config.target_noise_clip, config.target_noise_clip)
        action = jnp.clip(action + noise, -1.0, 1.0)
        q = apply(self.critic(config.ensemble), state.target_critic, batch.next_observation, action)  # [E, B]
        return batch.reward + config.discount * batch.mask * q.min(axis=0)

    def actor_loss(self, actor: Params, critic: Params, batch: Batch, dropout_key: jax.Array) -> tuple[jax.Array, Metrics]:
        """Value of the policy's actions under the first critic, on a scale of α, and their squared distance to the recorded ones."""
        action = apply(self.policy, actor, batch.observation, dropout=dropout_key)  # [B, A]
        first = jax.tree.map(lambda leaf: leaf[:1], critic)
        # As one of N actions, so that no gradient is computed for the observation's columns.
        q = apply(self.critic(1), first, batch.observation, action[:, None])[0, :, 0]  # [B]
        scale = self.config.alpha / jnp.maximum(jax.lax.stop_gradient(jnp.abs(q).mean()), 1e-6)
        distance = jnp.square(action - batch.action).mean(axis=-1)
        loss = jnp.mean(batch.actor_weight * (distance - scale * q))
        return loss, {"loss": loss, "cloning_loss": jnp.mean(batch.actor_weight * distance), "q_mean": q.mean()}

    # Updates.

    def update(self, state: TD3BCState, batch: Batch) -> tuple[TD3BCState, Metrics, jax.Array]:
        state, metrics, td_error = super().update(state, batch)
        return state, metrics | {f"actor/{name}": value for name, value in state.actor_metrics.items()}, td_error

    def step(self, state: TD3BCState, inputs: tuple[Batch, jax.Array]) -> tuple[TD3BCState, tuple[Metrics, jax.Array]]:
        """One gradient step of the critics on one minibatch; then, when it is due, one of the policy, and the targets."""
        batch, key = inputs
        target_key, critic_key, actor_key = jax.random.split(key, 3)
        state, metrics, td_error = self.critic_step(state, batch, self.td_target(state, batch, target_key), critic_key)
        state = state.replace(updates=state.updates + 1)
        due = state.updates % self.config.actor_delay == 0
        state = jax.lax.cond(due, self.delayed_step, lambda state, *_: state, state, batch, actor_key)
        return state, (metrics, td_error)

    def delayed_step(self, state: TD3BCState, batch: Batch, key: jax.Array) -> TD3BCState:
        """One gradient step of the policy, and the Polyak step of both targets."""
        actor, moments, metrics = descend(
            lambda actor: self.actor_loss(actor, state.critic, batch, key),
            state.actor,
            self.optimizer(self.config.actor_lr),
            state.actor_optimizer,
        )
        return state.replace(
            actor=actor,
            actor_optimizer=moments,
            target_actor=optax.incremental_update(actor, state.target_actor, self.config.tau),
            target_critic=optax.incremental_update(state.critic, state.target_critic, self.config.tau),
            actor_metrics=metrics,
        )

    # Acting, and passing the state on.

    def actor_params(self, state: TD3BCState) -> Actor:
        return Actor(state.actor, state.normaliser)

    def act(
        self, actor: Actor, observation: PyTree, key: jax.Array, carry: PyTree, deterministic: bool = False
    ) -> tuple[jax.Array, PyTree]:
        action = apply(self.policy, actor.params, actor.normaliser(observation))
        return (action if deterministic else explore(key, action, self.config.exploration_noise)), carry

    def hand_over(self, state: TD3BCState) -> WarmStart:
        """Critics with their optimizer, and SAC's policy with the same mode and the exploration's deviation before the tanh."""
        self.refuse_scaled_rewards()
        actor, moments = gaussian_policy(state.actor, self.config.exploration_noise), adam_moments(state.critic_optimizer)
        return WarmStart(actor, state.critic, state.target_critic, moments, state.normaliser, state.key, state.updates)

    def take_over(self, state: PyTree) -> TD3BCState:
        raise WarmloopError(
            "td3bc cannot go on from another algorithm's warm-up, whose policy is not deterministic: "
            "warm up with td3bc, or fine-tune with sac."
        )
