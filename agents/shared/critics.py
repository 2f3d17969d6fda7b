"""An ensemble of critics: its networks, its loss on a target, and a gradient step of it with its targets.

    L_Q = mean_{E×B} w (Q_i(s, a) − y)²

A state that has critics has the fields `critic` and `target_critic`, with leaves `[E, ...]`, and `critic_optimizer`. Observations are here
as the networks see them, `[B, D]`.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax

from ...data.transition import Batch
from ..base import Metrics, Params, critic_metrics
from ..networks.networks import Critic, apply, initialise
from ..networks.vision import Vision
from .agent_settings import CriticSettings
from .gradients import adam


@dataclasses.dataclass(frozen=True)
class Critics:
    """E functions Q_i(s, a) as the settings want them; with `vision` they train the encoder of what they see (`regress`)."""

    config: CriticSettings
    vision: Vision | None = None

    def __call__(self, params: Params, seen: jax.Array, action: jax.Array, dropout: jax.Array | None = None) -> jax.Array:
        """Q of the members in `params`: `[E, B]` for actions `[B, A]`, `[E, B, N]` for `[B, N, A]`; `dropout` is a key."""
        members = jax.tree.leaves(params)[0].shape[0]
        return apply(self.module(members), params, seen, action, dropout=dropout)

    def module(self, members: int) -> Critic:
        """The module of so many members."""
        c = self.config
        return Critic(members, c.hidden, c.critic_layer_norm, c.activation, c.critic_dropout)

    @property
    def optimizer(self) -> optax.GradientTransformation:
        return adam(self.config.critic_lr, self.config.weight_decay)

    def init(self, key: jax.Array, seen: int, actions: int) -> dict[str, Any]:
        """The fields of a fresh state; each has buffers of its own, since the state is donated."""
        critic = initialise(self.module(self.config.ensemble), key, jnp.zeros((1, seen)), jnp.zeros((1, actions)))
        return {
            "critic": critic,
            "target_critic": jax.tree.map(jnp.copy, critic),
            "critic_optimizer": self.optimizer.init(critic),
        }

    def loss(
        self, critic: Params, seen: jax.Array, batch: Batch, target: jax.Array, dropout: jax.Array | None = None
    ) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        """Weighted squared error of every member against y `[B]`, and (Q `[E, B]`, |Q − y| `[B]`, the mean over E)."""
        q = self(critic, seen, batch.action, dropout)
        error = q - target[None]
        return jnp.mean(batch.weight[None] * jnp.square(error)), (q, jnp.abs(error).mean(axis=0))

    def step(self, state: Any, batch: Batch, target: jax.Array, dropout: jax.Array) -> tuple[Any, Metrics, jax.Array]:
        """One gradient step towards y `[B]`, on rows whose observations are as they are seen; the targets stay. The new state, metrics, and
        |Q − y| `[B]`."""

        def loss_of(critic: Params) -> tuple[jax.Array, tuple[jax.Array, ...]]:
            loss, told = self.loss(critic, batch.observation, batch, target, dropout)
            return loss, (loss, *told)

        gradient, (loss, q, td_error) = jax.grad(loss_of, has_aux=True)(state.critic)
        return self.apply(state, gradient), critic_metrics(loss, q, target), td_error

    def regress(self, state: Any, batch: Batch, target: jax.Array, dropout: jax.Array) -> tuple[Any, tuple[Metrics, jax.Array]]:
        """One gradient step of the critics and of the encoder towards y `[B]`, and the Polyak step of the targets; `dropout` is a key."""
        assert self.vision is not None
        vision = self.vision

        def loss_of(critic: Params, encoder: Params) -> tuple[jax.Array, tuple]:
            return self.loss(critic, vision(encoder, state.normaliser, batch.observation), batch, target, dropout)

        grad = jax.value_and_grad(loss_of, argnums=(0, 1), has_aux=True)
        (loss, (q, td_error)), gradients = grad(state.critic, state.encoder)
        return self.move(state, *gradients), (critic_metrics(loss, q, target), td_error)

    def move(self, state: Any, gradient: Params, encoder_gradient: Params = ()) -> Any:
        """Adam on the critics and on the encoder, then the Polyak step of the targets."""
        assert self.vision is not None
        state = self.follow(self.apply(state, gradient))
        encoder, moments = self.vision.step(state.encoder, state.encoder_optimizer, encoder_gradient, self.config.critic_lr)
        return state.replace(encoder=encoder, encoder_optimizer=moments, updates=state.updates + 1)

    def apply(self, state: Any, gradient: Params) -> Any:
        """The state after Adam's step on the critics, with their decay."""
        change, moments = self.optimizer.update(gradient, state.critic_optimizer, state.critic)
        return state.replace(critic=optax.apply_updates(state.critic, change), critic_optimizer=moments)

    def follow(self, state: Any) -> Any:
        """The state after the Polyak step of its targets."""
        return state.replace(target_critic=optax.incremental_update(state.critic, state.target_critic, self.config.tau))


def first(critic: Params) -> Params:
    """The first member of an ensemble, still with the axis E."""
    return jax.tree.map(lambda leaf: leaf[:1], critic)


def subset(critics: Params, key: jax.Array, members: int) -> Params:
    """So many members of an ensemble, drawn without replacement."""
    ensemble = jax.tree.leaves(critics)[0].shape[0]
    chosen = jax.random.choice(key, ensemble, (members,), replace=False)
    return jax.tree.map(lambda leaf: leaf[chosen], critics)
