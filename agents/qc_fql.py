"""Q-chunking with a one-step policy: critics of action chunks, and a policy that is distilled from a flow and follows the critics.

    L_BC  = mean w_π mean_{hA} valid (v(s, x_τ, τ) − (a − z))²                                   (shared/flows.py)
    L_π   = α mean w_π mean_{hA} (μ(s, z) − φ(s, z))² − λ mean w_π mean_k Q_k(s, clip μ(s, z)),  z ~ N(0, I)
    y     = clip(R + γ^h m agg_k Q̄_k(s', clip μ(s', z)))                                  (qc.py)
    L_Q   = mean_{K×B} w valid (Q_k(s, a_{t:t+h}) − y)²

λ is 1, or with `normalise_q` 1 / mean|Q|. Acting takes one network's pass; with `candidates` N > 1 it takes the best of N by the critics.
With h = 1 this is FQL. Sources: Li, Zhou and Levine 2025 (QC-FQL), Park, Li and Levine 2025 (FQL).
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import optax
from flax import struct

from ..data.mixing import StretchBatch
from ..data.replay.windows import Window
from ..data.transition import PyTree, Spec, Transition
from .base import Metrics, Params, Problem, run_block
from .networks.networks import MLP, apply, initialise
from .networks.normaliser import Normaliser, blurred
from .qc import QC, ChunkCriticSettings, QCConfig, QCState
from .shared.action_chunks import FIXED, act_by_plan
from .shared.agent_settings import setting
from .shared.gradients import descend


@dataclasses.dataclass(frozen=True)
class QCFQLConfig(ChunkCriticSettings):
    """Settings of QC-FQL: those that it shares with QC, and its own."""

    GONE: ClassVar[tuple[str, ...]] = ("samples",)

    distillation_weight: float = setting(100.0, "α, weight of the distance to the flow", least=0)
    normalise_q: bool = setting(False, "divide the critics' term by their mean size; α is then of the order of 1")
    candidates: int = setting(1, "chunks of the one-step policy from which the critics choose where it acts", least=1)


class QCFQLState(struct.PyTreeNode):
    """QC's state, and the one-step policy."""

    qc: QCState
    actor: Params
    actor_optimizer: optax.OptState


class QCFQLActor(struct.PyTreeNode):
    """What acting needs: the one-step policy and, where they choose among candidates, the critics."""

    params: Params
    critic: Params
    normaliser: Normaliser
    encoder: Params


@dataclasses.dataclass(frozen=True)
class QCFQL:
    """The algorithm: settings and shapes. See `agents.base.Agent` for the methods' contracts."""

    config: QCFQLConfig
    spec: Spec
    problem: Problem = Problem()
    name: ClassVar[str] = "qc_fql"

    @property
    def window(self) -> Window:
        """What it learns from."""
        return self.qc.window

    @property
    def qc(self) -> QC:
        """The QC whose flow, critics and targets this uses."""
        return QC(QCConfig(**self.config.part(ChunkCriticSettings)), self.spec, self.problem)

    @property
    def policy(self) -> MLP:
        """The one-step policy's module: `[s, z]` to a chunk."""
        c = self.config
        return MLP(self.qc.flow.size, c.actor_widths, c.actor_layer_norm, c.activation, c.actor_dropout)

    def init(self, key: jax.Array, example: Transition) -> QCFQLState:
        qc_key, actor_key = jax.random.split(key)
        actor = initialise(self.policy, actor_key, jnp.zeros((1, self.qc.vision.dim + self.qc.flow.size)))
        return QCFQLState(self.qc.init(qc_key, example), actor, self.qc.flow_optimizer.init(actor))

    def one_step(self, actor: Params, seen: jax.Array, noise: jax.Array, dropout: jax.Array | None = None) -> jax.Array:
        """μ `[..., h·A]` of noise `[..., h·A]`, not clipped."""
        return apply(self.policy, actor, jnp.concatenate([seen, noise], axis=-1), dropout=dropout)

    # Losses: scalar and what the caller logs.

    def td_target(self, state: QCFQLState, batch: StretchBatch, key: jax.Array) -> jax.Array:
        """y `[B]`, without gradient."""
        seen = self.qc.vision(state.qc.encoder, state.qc.normaliser, batch.next_observation)
        chunk = self.one_step(state.actor, seen, jax.random.normal(key, (seen.shape[0], self.qc.flow.size)))
        return self.qc.backup(state.qc, batch, seen, jnp.clip(chunk, -1.0, 1.0))

    def actor_loss(self, actor: Params, state: QCState, batch: StretchBatch, key: jax.Array) -> tuple[jax.Array, Metrics]:
        """L_π; gradient to the one-step policy only."""
        noise_key, dropout_key = jax.random.split(key)
        seen = jax.lax.stop_gradient(self.qc.vision(state.encoder, state.normaliser, batch.observation))
        noise = jax.random.normal(noise_key, (seen.shape[0], self.qc.flow.size))
        chunk = self.one_step(actor, seen, noise, dropout_key)
        taught = jax.lax.stop_gradient(self.qc.flow.sample(state.flow, seen, noise))
        distance = jnp.mean(batch.actor_weight * jnp.square(chunk - taught).mean(axis=-1))
        value = self.qc.critics(state.critic, seen, jnp.clip(chunk, -1.0, 1.0)[:, None])[..., 0].mean(axis=0)  # [B]
        size = jnp.maximum(jax.lax.stop_gradient(jnp.abs(value).mean()), 1e-2)
        scale = 1.0 / size if self.config.normalise_q else 1.0
        loss = self.config.distillation_weight * distance - scale * jnp.mean(batch.actor_weight * value)
        return loss, {"actor/loss": loss, "actor/distillation_loss": distance, "actor/q_mean": value.mean()}

    # Updates.

    def update(self, state: QCFQLState, batch: StretchBatch) -> tuple[QCFQLState, Metrics, jax.Array]:
        key, noise_key, *keys = jax.random.split(state.qc.key, 2 + batch.reward.shape[0])
        batch = blurred(batch, state.qc.normaliser, self.config.observation_noise, noise_key)
        state = state.replace(qc=state.qc.replace(key=key))
        state, (metrics, td_error) = run_block(self.step, state, batch, jnp.stack(keys))
        return state, jax.tree.map(jnp.mean, metrics), td_error

    def step(self, state: QCFQLState, inputs: tuple[StretchBatch, jax.Array]) -> tuple[QCFQLState, tuple[Metrics, jax.Array]]:
        """One gradient step each of the critics, the flow and the one-step policy on one minibatch, and the targets after them."""
        batch, key = inputs
        target_key, critic_key, flow_key, actor_key = jax.random.split(key, 4)
        old, target = state.qc, self.td_target(state, batch, target_key)
        qc, (metrics, td_error) = self.qc.critic_step(state.qc, batch, target, critic_key)
        flow, flow_moments, flow_metrics = descend(
            lambda flow: self.qc.flow_loss(flow, old, batch, flow_key), qc.flow, self.qc.flow_optimizer, qc.flow_optimizer
        )
        actor, actor_moments, actor_metrics = descend(
            lambda actor: self.actor_loss(actor, old, batch, actor_key), state.actor, self.qc.flow_optimizer, state.actor_optimizer
        )
        state = QCFQLState(qc.replace(flow=flow, flow_optimizer=flow_moments), actor, actor_moments)
        return state, (metrics | flow_metrics | actor_metrics, td_error)

    # Acting.

    def actor_params(self, state: QCFQLState) -> QCFQLActor:
        critic = state.qc.critic if self.config.candidates > 1 else ()
        return QCFQLActor(state.actor, critic, state.qc.normaliser, state.qc.encoder)

    def plan(self, actor: QCFQLActor, observation: PyTree, key: jax.Array, deterministic: bool = False) -> jax.Array:
        """A chunk `[h, A]` for one observation, the best of the candidates; `deterministic` draws the same noise at every call."""
        seen = self.qc.vision(actor.encoder, actor.normaliser, observation)
        noise = jax.random.normal(jax.random.key(FIXED) if deterministic else key, (self.config.candidates, self.qc.flow.size))
        each = jnp.broadcast_to(seen[None], (noise.shape[0], seen.shape[-1]))
        chunks = jnp.clip(self.one_step(actor.params, each, noise), -1.0, 1.0)  # [N, hA]
        if self.config.candidates > 1:
            chunks = chunks[self.qc.value(actor.critic, seen[None], chunks[None])[0].argmax()][None]
        return chunks[0].reshape(self.config.horizon, self.spec.action_dim)

    def act(
        self, actor: QCFQLActor, observation: PyTree, key: jax.Array, carry: PyTree, deterministic: bool = False
    ) -> tuple[jax.Array, PyTree]:
        return act_by_plan(lambda: self.plan(actor, observation, key, deterministic), carry, self.config.executed)
