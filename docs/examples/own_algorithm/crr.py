"""CRR with a binary filter: a deterministic policy copies the recorded actions that its critics prefer to its own.

    y    = r + γ m min_i Q̄_i(s', π(s'))
    L_Q  = mean_{E×B} w (Q_i(s, a) − y)²
    L_π  = mean_B w_π 1[min_i Q_i(s, a) > min_i Q_i(s, π(s))] mean_A (π(s) − a)²

After "Critic Regularized Regression" (Wang et al. 2020). It learns offline as online; there it acts with Gaussian noise of deviation σ.
Observations are normalised by the offline data. Start it as README.md says.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import optax
from flax import struct

from warmloop.agents.base import Actor, Problem, run_block
from warmloop.agents.networks.networks import Critic, DeterministicPolicy, apply, initialise
from warmloop.agents.networks.normaliser import Normaliser
from warmloop.data.errors import WarmloopError
from warmloop.data.transition import Batch, Spec, Transition


@dataclasses.dataclass(frozen=True)
class CRRConfig:
    """Settings. The learner asks for the first four."""

    hidden: tuple[int, ...] = (256, 256)
    utd: int = 1  # K, gradient steps per update
    batch_size: int = 256  # B
    observation_bound: float = 10.0  # of normalised observations; 0 is none
    ensemble: int = 2  # E
    tau: float = 0.005  # Polyak rate of the target critics
    actor_lr: float = 3e-4
    critic_lr: float = 3e-4
    exploration_noise: float = 0.1  # σ

    def __post_init__(self):
        for name in ("utd", "batch_size", "ensemble"):
            if getattr(self, name) < 1:
                raise WarmloopError(f"agent.{name} is {getattr(self, name)}; it must be at least 1.")


class CRRState(struct.PyTreeNode):
    """All that is learnt: arrays and nothing else. Critic leaves are `[E, …]`."""

    actor: Any
    critic: Any
    target_critic: Any
    actor_moments: Any
    critic_moments: Any
    normaliser: Normaliser
    key: jax.Array


@dataclasses.dataclass(frozen=True)
class CRR:
    """The algorithm: settings and shapes, hashable. Every method is a pure function that JAX can compile."""

    config: CRRConfig
    spec: Spec
    problem: Problem = Problem()
    Config: ClassVar[type] = CRRConfig

    @property
    def policy(self) -> DeterministicPolicy:
        return DeterministicPolicy(self.spec.action_dim, self.config.hidden)

    @property
    def critics(self) -> Critic:
        return Critic(self.config.ensemble, self.config.hidden)

    def init(self, key: jax.Array, example: Transition) -> CRRState:
        """A fresh state; `example` `[N]` are the offline rows, or one row of zeros."""
        actor_key, critic_key, key = jax.random.split(key, 3)
        observation, action = jnp.zeros((1, self.spec.observation_dim)), jnp.zeros((1, self.spec.action_dim))
        actor = initialise(self.policy, actor_key, observation)
        critic = initialise(self.critics, critic_key, observation, action)
        return CRRState(
            actor=actor,
            critic=critic,
            target_critic=jax.tree.map(jnp.copy, critic),  # buffers of its own, since the learner donates the state
            actor_moments=optax.adam(self.config.actor_lr).init(actor),
            critic_moments=optax.adam(self.config.critic_lr).init(critic),
            normaliser=Normaliser.of(example, enabled=True, bound=self.config.observation_bound),
            key=key,
        )

    def td_target(self, state: CRRState, batch: Batch) -> jax.Array:
        """y `[B]`."""
        seen = state.normaliser(batch.next_observation)
        q = apply(self.critics, state.target_critic, seen, apply(self.policy, state.actor, seen))  # [E, B]
        return batch.reward + self.problem.discount * batch.mask * q.min(axis=0)

    def critic_loss(self, critic: Any, state: CRRState, batch: Batch, target: jax.Array) -> tuple[jax.Array, jax.Array]:
        """L_Q, and |Q − y| `[B]`."""
        error = apply(self.critics, critic, state.normaliser(batch.observation), batch.action) - target[None]  # [E, B]
        return jnp.mean(batch.weight[None] * jnp.square(error)), jnp.abs(error).mean(axis=0)

    def actor_loss(self, actor: Any, state: CRRState, batch: Batch) -> tuple[jax.Array, jax.Array]:
        """L_π, and the share of rows that it copies."""
        seen = state.normaliser(batch.observation)
        action = apply(self.policy, actor, seen)  # [B, A]
        recorded, own = (apply(self.critics, state.critic, seen, each).min(axis=0) for each in (batch.action, action))
        better = jax.lax.stop_gradient(recorded > own)
        distance = jnp.square(action - batch.action).mean(axis=-1)
        return jnp.mean(batch.actor_weight * better * distance), better.mean()

    def update(self, state: CRRState, batch: Batch) -> tuple[CRRState, dict[str, jax.Array], jax.Array]:
        """K steps, one on each minibatch of `[K, B]` rows: the state, scalars to record, and |TD error| `[K, B]`."""
        state, (metrics, td_error) = run_block(self.step, state, batch, jax.random.split(state.key, batch.reward.shape[0]))
        return state.replace(key=jax.random.split(state.key)[0]), jax.tree.map(jnp.mean, metrics), td_error

    def step(self, state: CRRState, inputs: tuple[Batch, jax.Array]) -> tuple[CRRState, tuple[dict[str, jax.Array], jax.Array]]:
        """One gradient step of the critics, then one of the policy."""
        batch, _ = inputs  # nothing here is random
        config, target = self.config, self.td_target(state, inputs[0])
        (critic_loss, td_error), slope = jax.value_and_grad(self.critic_loss, has_aux=True)(state.critic, state, batch, target)
        change, moments = optax.adam(config.critic_lr).update(slope, state.critic_moments)
        state = state.replace(critic=optax.apply_updates(state.critic, change), critic_moments=moments)
        (actor_loss, copied), slope = jax.value_and_grad(self.actor_loss, has_aux=True)(state.actor, state, batch)
        change, moments = optax.adam(config.actor_lr).update(slope, state.actor_moments)
        state = state.replace(actor=optax.apply_updates(state.actor, change), actor_moments=moments)
        state = state.replace(target_critic=optax.incremental_update(state.critic, state.target_critic, config.tau))
        return state, ({"critic/loss": critic_loss, "actor/loss": actor_loss, "actor/copied_share": copied}, td_error)

    def actor_params(self, state: CRRState) -> Actor:
        """What goes to the actors."""
        return Actor(state.actor, state.normaliser)

    def act(self, actor: Actor, observation: Any, key: jax.Array, carry: Any, deterministic: bool = False) -> tuple[jax.Array, Any]:
        """The action `[A]` in [-1, 1] of one observation; `carry` is passed through, since nothing is remembered."""
        action = apply(self.policy, actor.params, actor.normaliser(observation))
        noise = 0.0 if deterministic else self.config.exploration_noise * jax.random.normal(key, action.shape)
        return jnp.clip(action + noise, -1.0, 1.0), carry

    # Optional: with these two the warm-up is measured by TD errors, and its checkpoints are compared.

    def q_values(self, state: CRRState, observation: Any, action: jax.Array) -> jax.Array:
        """Q_i(s, a) `[E, B]`."""
        return apply(self.critics, state.critic, state.normaliser(observation), action)

    def td_error(self, state: CRRState, batch: Batch, key: jax.Array) -> jax.Array:
        """|Q_i(s, a) − y| `[B]`, the ensemble's mean."""
        return jnp.abs(self.q_values(state, batch.observation, batch.action) - self.td_target(state, batch)[None]).mean(axis=0)
