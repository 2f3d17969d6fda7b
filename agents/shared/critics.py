"""An ensemble of critics: its networks, its loss on a target, and a gradient step of it with its targets.

    L_Q = mean_{E×B} w (Q_i(s, a) − y)²              or, with `critic_loss=hl_gauss`, the cross entropy of networks/bins.py

With `unit_rows` the weights of each hidden unit have length 1 after every step, so that a step turns them by the same angle however long
the training is (XQC, FlashSAC). A state that has critics has the fields `critic` and `target_critic`, with leaves `[E, ...]`, and
`critic_optimizer`. Observations are here as the networks see them, `[B, D]`.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import optax

from ...data.errors import WarmloopError
from ...data.transition import Batch
from ..base import Metrics, Params, Problem, critic_metrics
from ..networks.bins import Bins
from ..networks.networks import Critic, apply, initialise
from ..networks.vision import Vision
from .agent_settings import CriticSettings
from .gradients import adam


@dataclasses.dataclass(frozen=True)
class Critics:
    """E functions Q_i(s, a) as the settings want them; with `vision` they train the encoder of what they see (`regress`)."""

    config: CriticSettings
    problem: Problem
    vision: Vision | None = None

    def __call__(self, params: Params, seen: jax.Array, action: jax.Array, dropout: jax.Array | None = None) -> jax.Array:
        """Q of the members in `params`: `[E, B]` for actions `[B, A]`, `[E, B, N]` for `[B, N, A]`; `dropout` is a key."""
        return self.value(self.outputs(params, seen, action, dropout))

    def outputs(self, params: Params, seen: jax.Array, action: jax.Array, dropout: jax.Array | None = None) -> jax.Array:
        """What the network gives: Q, or the logits of its bins on one axis more."""
        members = jax.tree.leaves(params)[0].shape[0]
        return apply(self.module(members), params, seen, action, dropout=dropout)

    def value(self, outputs: jax.Array) -> jax.Array:
        """Q of the network's outputs."""
        return outputs if self.bins is None else self.bins.mean(outputs)

    def module(self, members: int) -> Critic:
        """The module of so many members."""
        c = self.config
        return Critic(members, c.hidden, c.critic_layer_norm, c.activation, c.critic_dropout, self.bins)

    @property
    def bins(self) -> Bins | None:
        """Of the return, where the critics learn by them. Raises WarmloopError where its bounds are not known."""
        return bins_of(self.config, self.problem)

    @property
    def optimizer(self) -> optax.GradientTransformation:
        return adam(self.config.critic_lr, self.config.weight_decay)

    def init(self, key: jax.Array, seen: int, actions: int) -> dict[str, Any]:
        """The fields of a fresh state; each has buffers of its own, since the state is donated."""
        critic = self.projected(initialise(self.module(self.config.ensemble), key, jnp.zeros((1, seen)), jnp.zeros((1, actions))))
        return {
            "critic": critic,
            "target_critic": jax.tree.map(jnp.copy, critic),
            "critic_optimizer": self.optimizer.init(critic),
        }

    def loss(
        self, critic: Params, seen: jax.Array, batch: Batch, target: jax.Array, dropout: jax.Array | None = None
    ) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        """Weighted loss of every member against y `[B]`, and (Q `[E, B]`, |Q − y| `[B]`, the mean over E)."""
        outputs = self.outputs(critic, seen, batch.action, dropout)
        q = self.value(outputs)
        error = q - target[None]
        each = jnp.square(error) if self.bins is None else self.bins.cross_entropy(outputs, self.bins.clip(target)[None])  # [E, B]
        return jnp.mean(batch.weight[None] * each), (q, jnp.abs(error).mean(axis=0))

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
        return state.replace(critic=self.projected(optax.apply_updates(state.critic, change)), critic_optimizer=moments)

    def projected(self, critic: Params) -> Params:
        """The critics with `unit_rows`; as they are without."""
        if not self.config.unit_rows:
            return critic
        layers = {f"kernel_{i}" for i in range(len(self.config.hidden))}  # [E, in, out] each
        return {"params": {name: _unit(leaf) if name in layers else leaf for name, leaf in critic["params"].items()}}

    def follow(self, state: Any) -> Any:
        """The state after the Polyak step of its targets."""
        return state.replace(target_critic=optax.incremental_update(state.critic, state.target_critic, self.config.tau))


def bins_of(config: CriticSettings, problem: Problem) -> Bins | None:
    """The bins by which critics learn; None where they learn by squared errors. Raises WarmloopError where the return has no bounds."""
    if config.critic_loss == "mse":
        return None
    if not (math.isfinite(problem.return_low) and math.isfinite(problem.return_high)):
        raise WarmloopError(
            "agent.critic_loss=hl_gauss needs a bounded reward: set reward.signal=success with reward.discount below 1, or "
            "agent.critic_loss=mse."
        )
    return Bins(problem.return_low, problem.return_high, config.critic_bins, config.critic_sigma)


def first(critic: Params) -> Params:
    """The first member of an ensemble, still with the axis E."""
    return jax.tree.map(lambda leaf: leaf[:1], critic)


def subset(critics: Params, key: jax.Array, members: int) -> Params:
    """So many members of an ensemble, drawn without replacement."""
    ensemble = jax.tree.leaves(critics)[0].shape[0]
    chosen = jax.random.choice(key, ensemble, (members,), replace=False)
    return jax.tree.map(lambda leaf: leaf[chosen], critics)


def _unit(kernel: jax.Array) -> jax.Array:
    """`[E, in, out]` in which the weights of every unit have length 1."""
    return kernel / jnp.maximum(jnp.linalg.norm(kernel, axis=1, keepdims=True), 1e-8)
