"""Behaviour cloning, with a Gaussian or a deterministic policy.

    Gaussian       L_π = −mean w_π Σ_A [σ(s)]^2β log π(a|s),  π = N(tanh μ(s), σ(s)²), log σ ∈ [−5, 2], [·] without gradient
    deterministic  L_π =  mean w_π mean_A (π(s) − a)²,        π with a tanh output

The Gaussian is not squashed: recorded actions often lie at the edge of their range, where a squashed one's density has no bound, and what
fits them drowns all other rows. By its likelihood alone (β = 0) rows of states in which the deviation has become small would drown the
others, too; σ^2β holds that back (β-NLL, Seitzer et al. 2022). What each does is in docs/results.md.

The mean is over rows that somebody else has chosen: all offline ones, and online those of a human's interventions, so that going on
online is HG-DAgger (Kelly et al. 2019). Source: Pomerleau 1991. There is no TD error: every row's priority stays 1, and rows are
drawn by their quality alone, as their losses are weighted by nothing else.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import optax
from flax import struct

from ..data.transition import Batch, PyTree, Spec, Transition
from .base import Actor, Metrics, Params, Problem, WarmStart, run_block
from .networks.networks import DeterministicPolicy, Policy, apply, initialise
from .networks.normaliser import Normaliser, as_learnt
from .networks.vision import Vision, VisionConfig
from .shared.agent_settings import AgentSettings, setting
from .shared.gaussian import explore, log_densities, log_density, sample
from .shared.gradients import adam, descend
from .shared.handing_over import gaussian_of_deterministic


@dataclasses.dataclass(frozen=True)
class BCConfig(AgentSettings):
    """Settings of behaviour cloning."""

    deterministic: bool = setting(False, "squared error of a deterministic policy instead of a Gaussian's likelihood")
    beta: float = setting(0.5, "0 for the likelihood itself, 1 for the mean's gradients of a squared error", least=0, most=1)
    log_std_min: float = setting(-5.0, "least log standard deviation; without one, rows that fit exactly would narrow it without end")
    exploration_noise: float = setting(0.1, "deviation around a deterministic policy's action where it acts at random", least=1e-3)
    vision: VisionConfig = VisionConfig()


class BCState(struct.PyTreeNode):
    """Everything that cloning learns; `encoder` is empty without cameras; `updates` counts gradient steps."""

    actor: Params
    encoder: Params
    actor_optimizer: optax.OptState
    normaliser: Normaliser
    key: jax.Array
    updates: jax.Array


@dataclasses.dataclass(frozen=True)
class BC:
    """The algorithm: settings and shapes. See `agents.base.Agent` for the methods' contracts."""

    config: BCConfig
    spec: Spec
    problem: Problem = Problem()
    name: ClassVar[str] = "bc"

    @property
    def policy(self) -> Policy | DeterministicPolicy:
        """The policy's module; the Gaussian's mean is before its tanh."""
        c = self.config
        settings = (self.spec.action_dim, c.actor_widths, c.actor_layer_norm, c.activation, c.actor_dropout)
        if c.deterministic:
            return DeterministicPolicy(*settings, c.actor_network)
        return Policy(*settings, log_std_min=c.log_std_min, network=c.actor_network)

    @property
    def vision(self) -> Vision:
        """What the policy sees of an observation."""
        return Vision(self.config.vision, self.spec)

    def init(self, key: jax.Array, example: Transition) -> BCState:
        self.config.check_images(self.spec)
        actor_key, key = jax.random.split(key)
        actor = initialise(self.policy, actor_key, jnp.zeros((1, self.vision.dim)))
        encoder = self.vision.init(jax.random.fold_in(actor_key, 1))
        return BCState(
            actor=actor,
            encoder=encoder,
            actor_optimizer=self._optimizer.init((actor, encoder)),
            normaliser=Normaliser.asked(example, self.config),
            key=key,
            updates=jnp.zeros((), jnp.int32),
        )

    # Losses: scalar and what the caller logs.

    def actor_loss(
        self, trained: tuple[Params, Params], normaliser: Normaliser, batch: Batch, dropout_key: jax.Array
    ) -> tuple[jax.Array, Metrics]:
        """Weighted mean over the rows that are not the policy's own, whose observations are normalised unless they have images."""
        actor, encoder = trained
        seen = self.vision(encoder, normaliser, batch.observation) if self.spec.cameras else batch.observation
        output = apply(self.policy, actor, seen, dropout=dropout_key)
        distance = self.distance(output, batch.action)
        shown = jnp.logical_or(batch.offline, batch.intervened)
        loss = jnp.sum(batch.actor_weight * shown * distance) / jnp.maximum(shown.sum(), 1)
        return loss, {"actor/loss": loss}

    def distance(self, output: Any, action: jax.Array) -> jax.Array:
        """`[B]`, from what the policy's module gives to recorded actions `[B, A]`."""
        if self.config.deterministic:
            return jnp.square(output - action).mean(axis=-1)
        mean, log_std = output
        held_back = jax.lax.stop_gradient(jnp.exp(2.0 * self.config.beta * log_std))
        return -(held_back * log_densities(action, jnp.tanh(mean), log_std)).sum(axis=-1)

    # Updates.

    def update(self, state: BCState, batch: Batch) -> tuple[BCState, Metrics, jax.Array]:
        key, noise_key, *keys = jax.random.split(state.key, 2 + batch.reward.shape[0])
        learnt = batch
        if not self.spec.cameras:
            learnt = as_learnt(batch, state.normaliser, jnp.ones(()), self.config.observation_noise, noise_key)
        state, metrics = run_block(self.step, state.replace(key=key), learnt, jnp.stack(keys))
        return state, jax.tree.map(jnp.mean, metrics), jnp.ones_like(batch.reward)

    def step(self, state: BCState, inputs: tuple[Batch, jax.Array]) -> tuple[BCState, Metrics]:
        """One gradient step of the policy on one minibatch."""
        (actor, encoder), moments, metrics = descend(
            lambda trained: self.actor_loss(trained, state.normaliser, *inputs),
            (state.actor, state.encoder),
            self._optimizer,
            state.actor_optimizer,
        )
        return state.replace(actor=actor, encoder=encoder, actor_optimizer=moments, updates=state.updates + 1), metrics

    # Acting, and passing the state on.

    def actor_params(self, state: BCState) -> Actor:
        return Actor(state.actor, state.normaliser, state.encoder)

    def act(
        self, actor: Actor, observation: PyTree, key: jax.Array, carry: PyTree, deterministic: bool = False
    ) -> tuple[jax.Array, PyTree]:
        output = apply(self.policy, actor.params, self.vision(actor.encoder, actor.normaliser, observation))
        if self.config.deterministic:
            return (output if deterministic else explore(key, output, self.config.exploration_noise)), carry
        mean = jnp.tanh(output[0])
        return (mean if deterministic else sample(key, mean, output[1])), carry

    def log_prob(self, actor: Actor, observation: PyTree, action: jax.Array) -> jax.Array:
        """A deterministic policy's density is that of its noise, unclipped."""
        output = apply(self.policy, actor.params, self.vision(actor.encoder, actor.normaliser, observation))
        if not self.config.deterministic:
            return log_density(action, jnp.tanh(output[0]), output[1])
        return jax.scipy.stats.norm.logpdf(action, output, self.config.exploration_noise).sum(axis=-1)

    def hand_over(self, state: BCState) -> WarmStart:
        """The policy, as SAC's with the same mode, and its encoder alone: critics, and all optimizers, begin fresh. SAC's `log_std_min`
        holds from there on."""
        actor = gaussian_of_deterministic(state.actor, self.config.exploration_noise) if self.config.deterministic else state.actor
        return WarmStart(actor, None, None, None, state.normaliser, state.key, state.updates, state.encoder)

    @property
    def _optimizer(self) -> optax.GradientTransformation:
        return adam(self.config.actor_lr, self.config.weight_decay, self.config.vision.frozen_modules)
