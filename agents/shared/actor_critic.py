"""What TD3+BC, IQL, AWAC and BCQ do alike: an ensemble of critics, its regression on a target, and what is measured by it."""

from __future__ import annotations

import abc
import dataclasses
from typing import Any, Generic, TypeVar

import jax
import jax.numpy as jnp
import optax

from ...data.errors import WarmloopError
from ...data.transition import Batch, PyTree, Spec, Transition
from ..base import Metrics, Params, critic_metrics, run_block
from ..networks.networks import Critic, apply, initialise
from ..networks.normaliser import Normaliser, as_learnt, return_scale, reward_scale
from .gradients import descend
from .offline import ActorCriticConfig, optimizer

ConfigT = TypeVar("ConfigT", bound=ActorCriticConfig)


@dataclasses.dataclass(frozen=True)
class ActorCritic(abc.ABC, Generic[ConfigT]):
    """An offline algorithm: settings and shapes. See `agents.base.Agent` for the methods' contracts.

    Its state has the fields `critic`, with leaves `[E, ...]`, `critic_optimizer`, `normaliser`, `reward_scale` and `key`. Losses, targets
    and steps take batches as they are learnt from: flat, normalised observations and scaled rewards (`as_learnt`).
    """

    config: ConfigT
    spec: Spec

    @abc.abstractmethod
    def td_target(self, state: Any, batch: Batch, key: jax.Array) -> jax.Array:
        """y `[B]`."""

    @abc.abstractmethod
    def step(self, state: Any, inputs: tuple[Batch, jax.Array]) -> tuple[Any, tuple[Metrics, jax.Array]]:
        """All of the algorithm's gradient steps on one minibatch: the new state, metrics, and |TD error| `[B]`."""

    def beginning(self, actor: Params, critic_key: jax.Array, key: jax.Array, example: Transition) -> dict[str, Any]:
        """The fields that a state with this policy begins with; each has buffers of its own, since the state is donated."""
        config = self.config
        observation = jnp.zeros((1, self.spec.observation_dim))
        critic = initialise(self.critic(config.ensemble), critic_key, observation, jnp.zeros((1, self.spec.action_dim)))
        return {
            "actor": actor,
            "critic": critic,
            "target_critic": jax.tree.map(jnp.copy, critic),
            "actor_optimizer": self.optimizer(config.actor_lr).init(actor),
            "critic_optimizer": self.optimizer(config.critic_lr).init(critic),
            "normaliser": Normaliser.asked(example, config),
            "reward_scale": self.reward_scale(example),
            "key": key,
            "updates": jnp.zeros((), jnp.int32),
        }

    def reward_scale(self, example: Transition) -> jax.Array:
        """`[]` what rewards are multiplied with, by the offline rows `[N]`."""
        config = self.config
        return return_scale(example, config.return_span) if config.return_span else reward_scale(example, config.normalise_rewards)

    def critic(self, members: int) -> Critic:
        """The module of `members` critics."""
        config = self.config
        return Critic(members, config.hidden, config.critic_layer_norm, config.activation, config.critic_dropout)

    def optimizer(self, learning_rate: float | jax.Array) -> optax.GradientTransformation:
        return optimizer(learning_rate, self.config.weight_decay)

    def update(self, state: Any, batch: Batch) -> tuple[Any, Metrics, jax.Array]:
        key, noise_key, *keys = jax.random.split(state.key, 2 + batch.reward.shape[0])
        learnt = as_learnt(batch, state.normaliser, state.reward_scale, self.config.observation_noise, noise_key)
        state, (metrics, td_error) = run_block(self.step, state.replace(key=key), learnt, jnp.stack(keys))
        return state, jax.tree.map(jnp.mean, metrics), td_error

    def critic_loss(self, critic: Params, batch: Batch, target: jax.Array, dropout: jax.Array) -> tuple[jax.Array, tuple]:
        """Weighted squared error of every member against y `[B]`. Returns the loss and (metrics, |TD error| `[B]`, the mean over E)."""
        q = apply(self.critic(self.config.ensemble), critic, batch.observation, batch.action, dropout=dropout)  # [E, B]
        error = q - target[None]
        loss = jnp.mean(batch.weight[None] * jnp.square(error))
        return loss, (critic_metrics(loss, q, target), jnp.abs(error).mean(axis=0))

    def critic_step(self, state: Any, batch: Batch, target: jax.Array, key: jax.Array) -> tuple[Any, Metrics, jax.Array]:
        """One gradient step of the critics towards y: the new state, metrics, and |TD error| `[B]`."""
        critic, moments, (metrics, td_error) = descend(
            lambda critic: self.critic_loss(critic, batch, target, key),
            state.critic,
            self.optimizer(self.config.critic_lr),
            state.critic_optimizer,
        )
        return state.replace(critic=critic, critic_optimizer=moments), metrics, td_error

    def q_values(self, state: Any, observation: PyTree, action: jax.Array) -> jax.Array:
        """In the rewards' own units, as the returns are."""
        return apply(self.critic(self.config.ensemble), state.critic, state.normaliser(observation), action) / state.reward_scale

    def td_error(self, state: Any, batch: Batch, key: jax.Array) -> jax.Array:
        learnt = as_learnt(batch, state.normaliser, state.reward_scale, 0.0, key)
        target = self.td_target(state, learnt, key) / state.reward_scale
        return jnp.abs(self.q_values(state, batch.observation, batch.action) - target[None]).mean(axis=0)

    def refuse_scaled_rewards(self) -> None:
        """Raises WarmloopError where the critics value rewards that another algorithm would not see."""
        if self.config.normalise_rewards or self.config.return_span:
            raise WarmloopError(
                "The critics were warmed up on normalised rewards and do not fit another algorithm's: "
                "warm up with warmup_agent.normalise_rewards=False and warmup_agent.return_span=0.0, or go on with the same algorithm."
            )
