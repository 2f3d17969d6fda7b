"""Batch-constrained Q-learning: the best of the actions that a generative model of the data proposes, each slightly perturbed.

    L_VAE = mean w_π [ mean_d (D(s, z) − a)² + 0.5 KL ],  z ~ E(s, a),  KL = −0.5 mean_d (1 + log σ² − μ² − σ²)
    a_k   = clip(D(s, z_k) + Φ tanh ξ(s, D(s, z_k))),  z_k ~ clip(N(0, 1), ±0.5)
    y     = r + γ m max_k [ λ min_i Q̄_i(s', a_k) + (1 − λ) max_i Q̄_i(s', a_k) ]          10 of ξ̄'s proposals
    L_Q   = mean_{E×B} w (Q_i(s, a) − y)²
    L_ξ   = −mean w_π Q_1(s, a_1)                                                          through ξ alone
    π(s)  = argmax_{a_k} Q_1(s, a_k)                                                       100 proposals

Every minibatch of a block does all of it, in this order, and then a Polyak step of both targets.
Source: Fujimoto et al. 2019 and its reference implementation (continuous actions).
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import optax
from flax import struct

from ..data.errors import WarmloopError
from ..data.transition import Batch, PyTree, Spec, Transition
from .base import Metrics, Params, Problem
from .networks.bounds import bounded
from .networks.networks import MLP, apply, initialise
from .networks.normaliser import Normaliser
from .shared.agent_settings import CriticSettings, ScaledRewardSettings, setting
from .shared.critics import Critics, first
from .shared.gradients import adam, descend
from .shared.scaled import scale_of, td_error_of, update_block

LOG_STD_MIN, LOG_STD_MAX = -4.0, 15.0  # of the encoder


@dataclasses.dataclass(frozen=True)
class BCQConfig(ScaledRewardSettings, CriticSettings):
    """Settings of BCQ; `utd` counts whole updates, `actor_*` are the perturbation's."""

    actor_lr: float = 1e-3
    critic_lr: float = 1e-3
    vae_hidden: tuple[int, ...] = setting((750, 750), "widths of the hidden layers of the encoder and of the decoder", least=1)
    vae_lr: float = setting(1e-3, "Adam step size of both", least=0)
    min_share: float = setting(0.75, "λ, share of the least critic in the target; the rest is the greatest's", least=0, most=1)
    perturbation: float = setting(0.05, "Φ, the most by which a proposed action is changed", least=0)
    target_proposals: int = setting(10, "actions that the target chooses from", least=1)
    acting_proposals: int = setting(100, "actions that acting chooses from", least=1)
    latent_limit: float = setting(0.5, "bound on the latents that actions are proposed from; training's are not bounded", least=0)
    kl_weight: float = setting(0.5, "weight of the divergence in the model's loss", least=0)

    def __post_init__(self):
        super().__post_init__()
        if self.actor_network:
            raise WarmloopError("agent.actor_network replaces the hidden layers of a policy, and bcq has none; leave it out.")


class BCQState(struct.PyTreeNode):
    """Everything that BCQ learns. Critic leaves are `[E, ...]`; `vae` holds encoder and decoder; `updates` counts minibatches."""

    vae: dict[str, Params]
    perturbation: Params
    target_perturbation: Params
    critic: Params
    target_critic: Params
    vae_optimizer: optax.OptState
    perturbation_optimizer: optax.OptState
    critic_optimizer: optax.OptState
    normaliser: Normaliser
    reward_scale: jax.Array
    key: jax.Array
    updates: jax.Array


class BCQActor(struct.PyTreeNode):
    """What acting needs: what proposes actions, the first critic, which chooses among them, and the observation statistics."""

    decoder: Params
    perturbation: Params
    critic: Params
    normaliser: Normaliser


@dataclasses.dataclass(frozen=True)
class BCQ:
    """The algorithm: settings and shapes. See `agents.base.Agent` for the methods' contracts."""

    config: BCQConfig
    spec: Spec
    problem: Problem = Problem()
    name: ClassVar[str] = "bcq"

    @property
    def critics(self) -> Critics:
        return Critics(self.config, self.problem)

    @property
    def latent_dim(self) -> int:
        return 2 * self.spec.action_dim

    @property
    def encoder(self) -> MLP:
        """`[s, a]` to the latent's mean and log standard deviation."""
        return MLP(2 * self.latent_dim, self.config.vae_hidden, activation=self.config.activation)

    @property
    def decoder(self) -> MLP:
        """`[s, z]` to an action before its tanh."""
        return MLP(self.spec.action_dim, self.config.vae_hidden, activation=self.config.activation)

    @property
    def perturbation(self) -> MLP:
        """`[s, a]` to a change of the action before its tanh."""
        c = self.config
        return MLP(self.spec.action_dim, c.actor_widths, c.actor_layer_norm, c.activation, c.actor_dropout)

    def optimizer(self, learning_rate: float) -> optax.GradientTransformation:
        return adam(learning_rate, self.config.weight_decay)

    def init(self, key: jax.Array, example: Transition) -> BCQState:
        config = self.config
        encoder_key, decoder_key, perturbation_key, critic_key, key = jax.random.split(key, 5)
        observation, action = jnp.zeros((1, self.spec.observation_dim)), jnp.zeros((1, self.spec.action_dim))
        both, latent = _join(observation, action), _join(observation, jnp.zeros((1, self.latent_dim)))
        vae = {"encoder": initialise(self.encoder, encoder_key, both), "decoder": initialise(self.decoder, decoder_key, latent)}
        perturbation = initialise(self.perturbation, perturbation_key, both)
        return BCQState(
            vae=vae,
            perturbation=perturbation,
            target_perturbation=jax.tree.map(jnp.copy, perturbation),  # buffers of their own: the state is donated
            **self.critics.init(critic_key, self.spec.observation_dim, self.spec.action_dim),
            vae_optimizer=self.optimizer(config.vae_lr).init(vae),
            perturbation_optimizer=self.optimizer(config.actor_lr).init(perturbation),
            normaliser=Normaliser.asked(example, config),
            reward_scale=scale_of(config, example),
            key=key,
            updates=jnp.zeros((), jnp.int32),
        )

    def propose(self, decoder: Params, observation: jax.Array, key: jax.Array, count: int) -> jax.Array:
        """`count` actions `[B, N, A]` like those recorded at `observation [B, D]`."""
        latent = jax.random.normal(key, (observation.shape[0], count, self.latent_dim))
        latent = jnp.clip(latent, -self.config.latent_limit, self.config.latent_limit)
        return jnp.tanh(apply(self.decoder, decoder, _join(observation, latent)))

    def perturb(self, perturbation: Params, observation: jax.Array, action: jax.Array, dropout: jax.Array | None = None) -> jax.Array:
        """Actions `[B, N, A]` changed by Φ at most and held within ±1."""
        change = jnp.tanh(apply(self.perturbation, perturbation, _join(observation, action), dropout=dropout))
        return bounded(action + self.config.perturbation * change, -1.0, 1.0)

    # Losses: scalar and what the caller logs.

    def vae_loss(self, vae: dict[str, Params], batch: Batch, key: jax.Array) -> tuple[jax.Array, Metrics]:
        """Reconstruction error and divergence from the standard normal, both means over their dimensions."""
        code = apply(self.encoder, vae["encoder"], _join(batch.observation, batch.action))
        mean, log_std = jnp.split(code, 2, axis=-1)  # [B, latent] each
        log_std = bounded(log_std, LOG_STD_MIN, LOG_STD_MAX)
        latent = mean + jnp.exp(log_std) * jax.random.normal(key, mean.shape)
        decoded = jnp.tanh(apply(self.decoder, vae["decoder"], _join(batch.observation, latent)))
        reconstruction = jnp.square(decoded - batch.action).mean(axis=-1)  # [B]
        divergence = -0.5 * (1.0 + 2.0 * log_std - jnp.square(mean) - jnp.exp(2.0 * log_std)).mean(axis=-1)
        loss = jnp.mean(batch.actor_weight * (reconstruction + self.config.kl_weight * divergence))
        return loss, {"vae/loss": loss, "vae/reconstruction": reconstruction.mean(), "vae/divergence": divergence.mean()}

    def td_target(self, state: BCQState, batch: Batch, key: jax.Array) -> jax.Array:
        """y `[B]`: the best of the proposals, each valued by a mixture of the least and the greatest critic."""
        proposed = self.propose(state.vae["decoder"], batch.next_observation, key, self.config.target_proposals)
        action = self.perturb(state.target_perturbation, batch.next_observation, proposed)
        q = self.critics(state.target_critic, batch.next_observation, action)  # [E, B, N]
        mixed = self.config.min_share * q.min(axis=0) + (1.0 - self.config.min_share) * q.max(axis=0)  # [B, N]
        return batch.reward + self.problem.discount * batch.mask * mixed.max(axis=-1)

    def perturbation_loss(self, perturbation: Params, state: BCQState, batch: Batch, key: jax.Array) -> tuple[jax.Array, Metrics]:
        """Negative value of one perturbed proposal per row, by the first critic."""
        proposal_key, dropout_key = jax.random.split(key)
        proposed = self.propose(state.vae["decoder"], batch.observation, proposal_key, 1)
        action = self.perturb(perturbation, batch.observation, proposed, dropout_key)
        q = self.critics(first(state.critic), batch.observation, action)[0, :, 0]  # [B]
        loss = -jnp.mean(batch.actor_weight * q)
        return loss, {"actor/loss": loss, "actor/change": jnp.abs(action - proposed).mean()}

    # Updates.

    def update(self, state: BCQState, batch: Batch) -> tuple[BCQState, Metrics, jax.Array]:
        return update_block(self.step, state, batch, self.config.observation_noise)

    def step(self, state: BCQState, inputs: tuple[Batch, jax.Array]) -> tuple[BCQState, tuple[Metrics, jax.Array]]:
        """One gradient step each of the model, the critics and the perturbation on one minibatch, and the targets after them."""
        batch, key = inputs
        vae_key, target_key, critic_key, proposal_key = jax.random.split(key, 4)
        state, vae_metrics = self.vae_step(state, batch, vae_key)
        state, metrics, td_error = self.critics.step(state, batch, self.td_target(state, batch, target_key), critic_key)
        state, actor_metrics = self.perturbation_step(state, batch, proposal_key)
        target = optax.incremental_update(state.perturbation, state.target_perturbation, self.config.tau)
        state = self.critics.follow(state).replace(target_perturbation=target, updates=state.updates + 1)
        return state, (metrics | vae_metrics | actor_metrics, td_error)

    def vae_step(self, state: BCQState, batch: Batch, key: jax.Array) -> tuple[BCQState, Metrics]:
        vae, moments, metrics = descend(
            lambda vae: self.vae_loss(vae, batch, key), state.vae, self.optimizer(self.config.vae_lr), state.vae_optimizer
        )
        return state.replace(vae=vae, vae_optimizer=moments), metrics

    def perturbation_step(self, state: BCQState, batch: Batch, key: jax.Array) -> tuple[BCQState, Metrics]:
        perturbation, moments, metrics = descend(
            lambda perturbation: self.perturbation_loss(perturbation, state, batch, key),
            state.perturbation,
            self.optimizer(self.config.actor_lr),
            state.perturbation_optimizer,
        )
        return state.replace(perturbation=perturbation, perturbation_optimizer=moments), metrics

    # Acting, and passing the state on.

    def actor_params(self, state: BCQState) -> BCQActor:
        return BCQActor(state.vae["decoder"], state.perturbation, first(state.critic), state.normaliser)

    def act(
        self, actor: BCQActor, observation: PyTree, key: jax.Array, carry: PyTree, deterministic: bool = False
    ) -> tuple[jax.Array, PyTree]:
        """The best of the proposals; `deterministic` proposes from the same latents at every call."""
        normal = actor.normaliser(observation)[None]
        proposed = self.propose(actor.decoder, normal, jax.random.key(0) if deterministic else key, self.config.acting_proposals)
        action = self.perturb(actor.perturbation, normal, proposed)  # [1, N, A]
        q = self.critics(actor.critic, normal, action)[0, 0]  # [N]
        return action[0, jnp.argmax(q)], carry

    def q_values(self, state: BCQState, observation: PyTree, action: jax.Array) -> jax.Array:
        """In the rewards' own units, as the returns are."""
        return self.critics(state.critic, state.normaliser(observation), action) / state.reward_scale

    def td_error(self, state: BCQState, batch: Batch, key: jax.Array) -> jax.Array:
        return td_error_of(self, self.td_target, state, batch, key)


def _join(observation: jax.Array, each: jax.Array) -> jax.Array:
    """`[B, D + X]` of `[B, D]` and `[B, X]`, or `[B, N, D + X]` of `[B, D]` and `[B, N, X]`."""
    repeated = observation if each.ndim == observation.ndim else observation[:, None]
    return jnp.concatenate([jnp.broadcast_to(repeated, (*each.shape[:-1], observation.shape[-1])), each], axis=-1)
