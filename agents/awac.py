"""Advantage-weighted actor-critic: SAC's critics without entropy, and a policy by advantage-weighted regression.

    y    = r + γ m min_i Q̄_i(s', a'),  a' ~ π(·|s')
    L_Q  = mean_{E×B} w (Q_i(s, a) − y)²
    A    = min_i Q_i(s, a) − min_i Q_i(s, a_π),  a_π ~ π(·|s) or its mean          with the new critics
    L_π  = −mean w_π W log π(a|s) [+ l2/2 |θ|²],  W = min(exp(A/λ), 100), or B softmax_B(min(A, limit)/λ) over the minibatch

Every minibatch of a block does all of it, in this order, and then a Polyak step of the targets. π is a Gaussian with a tanh mean
and a deviation that does not depend on the state; its samples are clipped to the action range. Source: Nair et al. 2020, whose code
(rlkit) has the softmax.
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
from .base import Metrics, Params
from .networks.networks import apply, initialise
from .networks.normaliser import Normaliser
from .shared.gaussian import GaussianActorCritic, GaussianConfig, sample
from .shared.gradients import descend
from .shared.offline import check, check_choice


@dataclasses.dataclass(frozen=True)
class AWACConfig(GaussianConfig):
    """Settings of AWAC beside those that offline algorithms share; `utd` counts whole updates.

    Attributes:
        temperature: λ; large values clone, small ones follow the advantage.
        weighting: "exp" of the advantage, up to `weight_limit`, or its "softmax" over the minibatch, times B.
        advantage_limit: greatest advantage that counts; 0 for no limit.
        baseline: the action that a recorded one is compared with: "sample" of the policy, or its "mean".
        actor_l2: weight of half the policy's squared parameters in its loss (Adam's weight decay in PyTorch).
        clip_target: whether y is clipped to the bounds of the return.
        target_low, target_high: these bounds (set from the reward's configuration).
    """

    temperature: float = 0.333
    weighting: str = "exp"
    advantage_limit: float = 0.0
    baseline: str = "sample"
    actor_l2: float = 0.0
    clip_target: bool = False
    target_low: float = float("-inf")
    target_high: float = float("inf")
    log_std_min: float = -6.0
    log_std_max: float = 0.0

    def __post_init__(self):
        super().__post_init__()
        check(self, ("temperature",), 1e-6)
        check(self, ("actor_l2", "advantage_limit"), 0)
        for name, allowed in (("weighting", ("exp", "softmax")), ("baseline", ("sample", "mean"))):
            check_choice(self, name, allowed)


class AWACState(struct.PyTreeNode):
    """Everything that AWAC learns. Critic leaves are `[E, ...]`; `updates` counts minibatches."""

    actor: Params
    critic: Params
    target_critic: Params
    actor_optimizer: optax.OptState
    critic_optimizer: optax.OptState
    normaliser: Normaliser
    reward_scale: jax.Array
    key: jax.Array
    updates: jax.Array


class AWAC(GaussianActorCritic[AWACConfig]):
    """The algorithm. See `agents.base.Agent` for the methods' contracts."""

    name: ClassVar[str] = "awac"

    def init(self, key: jax.Array, example: Transition) -> AWACState:
        actor_key, critic_key, key = jax.random.split(key, 3)
        actor = initialise(self.policy, actor_key, jnp.zeros((1, self.spec.observation_dim)))
        return AWACState(**self.beginning(actor, critic_key, key, example))

    # Losses: scalar and what the caller logs.

    def td_target(self, state: AWACState, batch: Batch, key: jax.Array) -> jax.Array:
        """y `[B]`."""
        action = sample(key, *apply(self.policy, state.actor, batch.next_observation))
        q = apply(self.critic(self.config.ensemble), state.target_critic, batch.next_observation, action).min(axis=0)
        target = batch.reward + self.config.discount * batch.mask * q
        return jnp.clip(target, self.config.target_low, self.config.target_high) if self.config.clip_target else target

    def advantage(self, state: AWACState, batch: Batch, key: jax.Array) -> jax.Array:
        """Of the recorded action over one of the policy's, `[B]`."""
        mean, log_std = apply(self.policy, state.actor, batch.observation)
        own = mean if self.config.baseline == "mean" else sample(key, mean, log_std)
        both = jnp.stack([batch.action, own], axis=1)  # [B, 2, A]
        q = apply(self.critic(self.config.ensemble), state.critic, batch.observation, both).min(axis=0)  # [B, 2]
        return q[:, 0] - q[:, 1]

    def actor_loss(self, actor: Params, batch: Batch, advantage: jax.Array, dropout: jax.Array) -> tuple[jax.Array, Metrics]:
        """Negative log likelihood of the recorded actions, weighted by their advantage `[B]`."""
        if self.config.advantage_limit:
            advantage = jnp.minimum(advantage, self.config.advantage_limit)
        log_weight = advantage / self.config.temperature
        if self.config.weighting == "softmax":
            log_weight = jax.nn.log_softmax(log_weight) + jnp.log(float(advantage.size))
        loss, metrics = self.regression_loss(actor, batch, log_weight, dropout)
        if self.config.actor_l2:
            loss += 0.5 * self.config.actor_l2 * sum(jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(actor))
        return loss, metrics

    # Updates.

    def step(self, state: AWACState, inputs: tuple[Batch, jax.Array]) -> tuple[AWACState, tuple[Metrics, jax.Array]]:
        """One gradient step each of the critics and the policy on one minibatch, and the targets after them."""
        batch, key = inputs
        target_key, critic_key, baseline_key, actor_key = jax.random.split(key, 4)
        state, metrics, td_error = self.critic_step(state, batch, self.td_target(state, batch, target_key), critic_key)
        state, actor_metrics = self.actor_step(state, batch, self.advantage(state, batch, baseline_key), actor_key)
        targets = optax.incremental_update(state.critic, state.target_critic, self.config.tau)
        return state.replace(target_critic=targets, updates=state.updates + 1), (metrics | actor_metrics, td_error)

    def actor_step(self, state: AWACState, batch: Batch, advantage: jax.Array, key: jax.Array) -> tuple[AWACState, Metrics]:
        actor, moments, metrics = descend(
            lambda actor: self.actor_loss(actor, batch, advantage, key),
            state.actor,
            self.optimizer(self.config.actor_lr),
            state.actor_optimizer,
        )
        return state.replace(actor=actor, actor_optimizer=moments), metrics

    def take_over(self, state: PyTree) -> AWACState:
        raise WarmloopError(
            "awac cannot go on from another algorithm's warm-up, whose policy has no state-independent deviation: "
            "warm up with awac, or fine-tune with sac."
        )
