"""Q-chunking: critics of action chunks, and the best of N chunks that a flow proposes.

    L_BC  = mean w_π mean_{hA} valid (v(s, x_τ, τ) − (a − z))²                                   (shared/flows.py)
    π(s)  = φ(s, z_j*),  j* = argmax_{j≤N} agg_k Q_k(s, φ(s, z_j)),  z_j ~ N(0, I)
    y     = clip(R + γ^h m agg_k Q̄_k(s', π(s'))),  R = Σ_{i<h} γ^i r_{t+i},  s' = s_{t+h}
    L_Q   = mean_{K×B} w valid (Q_k(s, a_{t:t+h}) − y)²

The value of h steps at once carries a reward h times as fast, and is unbiased, since the policy does the h actions without looking. The
flow clones every row, those of the policy too. A chunk that the end of its episode cuts short is not learnt from, as in the paper;
with `partial_chunks` it is where the episode terminated, its last action repeated. Source: Li, Zhou and Levine 2025 (QC).
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import optax
from flax import struct

from ..data.errors import WarmloopError
from ..data.mixing import StretchBatch
from ..data.replay.windows import Window
from ..data.transition import PyTree, Spec, Transition
from .base import Metrics, Params, Problem, run_block
from .networks.normaliser import Normaliser, blurred
from .networks.vision import Vision, VisionConfig
from .shared.action_chunks import FIXED, act_by_plan, as_rows, flat, mean_of_valid
from .shared.agent_settings import CriticSettings, setting
from .shared.critics import Critics
from .shared.flows import Flow, FlowSettings
from .shared.gradients import adam, descend


@dataclasses.dataclass(frozen=True)
class ChunkCriticSettings(FlowSettings, CriticSettings):
    """What QC and QC-FQL have."""

    hidden: tuple[int, ...] = (512, 512, 512, 512)
    critic_layer_norm: bool = True
    q_agg: str = setting("mean", "over the critics, in choices and targets", among=("mean", "min"))
    partial_chunks: bool = setting(False, "learn from chunks that an episode's termination cuts short, too")
    clip_target: bool = setting(False, "whether y is clipped to the bounds of the return")
    vision: VisionConfig = setting(VisionConfig(), "the encoder of camera images, trained by the critics")

    def __post_init__(self):
        super().__post_init__()
        if self.n_step != 1:
            raise WarmloopError(f"agent.n_step is {self.n_step}, and a chunk's target sums agent.horizon rewards; leave it out.")


@dataclasses.dataclass(frozen=True)
class QCConfig(ChunkCriticSettings):
    """Settings of Q-chunking."""

    samples: int = setting(32, "N, chunks of the flow from which the critics choose, in acting and in targets", least=1)


class QCState(struct.PyTreeNode):
    """Everything that Q-chunking learns. Critic leaves are `[E, ...]`; `encoder` is empty without cameras; `updates` counts minibatches."""

    flow: Params
    critic: Params
    target_critic: Params
    flow_optimizer: optax.OptState
    critic_optimizer: optax.OptState
    normaliser: Normaliser
    key: jax.Array
    updates: jax.Array
    encoder: Params = ()
    encoder_optimizer: optax.OptState = ()


class QCActor(struct.PyTreeNode):
    """What acting needs: the flow that proposes, and the critics that choose."""

    flow: Params
    critic: Params
    normaliser: Normaliser
    encoder: Params


@dataclasses.dataclass(frozen=True)
class QC:
    """The algorithm: settings and shapes. See `agents.base.Agent` for the methods' contracts."""

    config: QCConfig
    spec: Spec
    problem: Problem = Problem()
    name: ClassVar[str] = "qc"

    @property
    def window(self) -> Window:
        """What it learns from."""
        return Window(self.config.horizon, "chunk", self.problem.discount)

    @property
    def vision(self) -> Vision:
        """What the networks see of an observation."""
        return Vision(self.config.vision, self.spec)

    @property
    def flow(self) -> Flow:
        return Flow(self.config, self.config.horizon * self.spec.action_dim)

    @property
    def critics(self) -> Critics:
        return Critics(self.config, self.problem, self.vision)

    @property
    def flow_optimizer(self) -> optax.GradientTransformation:
        return adam(self.config.actor_lr, self.config.weight_decay)

    def init(self, key: jax.Array, example: Transition) -> QCState:
        self.config.check_images(self.spec)
        flow_key, critic_key, encoder_key, key = jax.random.split(key, 4)
        flow, encoder = self.flow.init(flow_key, self.vision.dim), self.vision.init(encoder_key)
        return QCState(
            flow=flow,
            **self.critics.init(critic_key, self.vision.dim, self.flow.size),
            flow_optimizer=self.flow_optimizer.init(flow),
            normaliser=Normaliser.asked(example, self.config),
            key=key,
            updates=jnp.zeros((), jnp.int32),
            encoder=encoder,
            encoder_optimizer=optax.adam(self.config.critic_lr).init(encoder) if self.spec.cameras else (),
        )

    def value(self, critic: Params, seen: jax.Array, chunk: jax.Array) -> jax.Array:
        """agg_k Q_k `[B]`, or `[B, N]` of chunks `[B, N, h·A]`."""
        q = self.critics(critic, seen, chunk)
        return q.mean(axis=0) if self.config.q_agg == "mean" else q.min(axis=0)

    def best(self, flow: Params, critic: Params, seen: jax.Array, key: jax.Array) -> jax.Array:
        """The best `[B, h·A]` of the flow's chunks by these critics, for what is seen, `[B, D]`."""
        noise = jax.random.normal(key, (seen.shape[0], self.config.samples, self.flow.size))
        each = jnp.broadcast_to(seen[:, None], (*noise.shape[:2], seen.shape[-1]))
        chunks = self.flow.sample(flow, each, noise)  # [B, N, hA]
        chosen = self.value(critic, seen, chunks).argmax(axis=1)
        is_it = jnp.arange(self.config.samples)[None] == chosen[:, None]  # [B, N]; a gather for each row has no NumPy form in an export
        return jnp.sum(jnp.where(is_it[..., None], chunks, 0.0), axis=1)

    # Losses: scalar and what the caller logs.

    def td_target(self, state: QCState, batch: StretchBatch, key: jax.Array) -> jax.Array:
        """y `[B]`, without gradient: chosen by the critics, and valued by their targets."""
        seen = self.vision(state.encoder, state.normaliser, batch.next_observation)
        return self.backup(state, batch, seen, self.best(state.flow, state.critic, seen, key))

    def backup(self, state: QCState, batch: StretchBatch, seen: jax.Array, chunk: jax.Array) -> jax.Array:
        """y `[B]` from the chunk `[B, h·A]` that follows; `mask` has γ^{h−1} in it."""
        target = batch.reward + self.problem.discount * batch.mask * self.value(state.target_critic, seen, chunk)
        return jnp.clip(target, self.problem.return_low, self.problem.return_high) if self.config.clip_target else target

    def flow_loss(self, flow: Params, state: QCState, batch: StretchBatch, key: jax.Array) -> tuple[jax.Array, Metrics]:
        """L_BC; gradient to the flow only."""
        seen = jax.lax.stop_gradient(self.vision(state.encoder, state.normaliser, batch.observation))
        distance = self.flow.distance(flow, seen, flat(batch.action), key)
        loss = jnp.mean(batch.actor_weight * mean_of_valid(distance, batch.valid))
        return loss, {"actor/loss": loss, "actor/cloning_loss": loss}

    # Updates.

    def update(self, state: QCState, batch: StretchBatch) -> tuple[QCState, Metrics, jax.Array]:
        key, noise_key, *keys = jax.random.split(state.key, 2 + batch.reward.shape[0])
        batch = blurred(batch, state.normaliser, self.config.observation_noise, noise_key)
        state, (metrics, td_error) = run_block(self.step, state.replace(key=key), batch, jnp.stack(keys))
        return state, jax.tree.map(jnp.mean, metrics), td_error

    def step(self, state: QCState, inputs: tuple[StretchBatch, jax.Array]) -> tuple[QCState, tuple[Metrics, jax.Array]]:
        """One gradient step each of the critics and the flow on one minibatch, and the targets after them."""
        batch, key = inputs
        target_key, critic_key, flow_key = jax.random.split(key, 3)
        old, target = state, self.td_target(state, batch, target_key)
        state, (metrics, td_error) = self.critic_step(state, batch, target, critic_key)
        flow, moments, flow_metrics = descend(
            lambda flow: self.flow_loss(flow, old, batch, flow_key), state.flow, self.flow_optimizer, state.flow_optimizer
        )
        return state.replace(flow=flow, flow_optimizer=moments), (metrics | flow_metrics, td_error)

    def critic_step(
        self, state: QCState, batch: StretchBatch, target: jax.Array, key: jax.Array
    ) -> tuple[QCState, tuple[Metrics, jax.Array]]:
        """One gradient step of the critics and the encoder towards y `[B]`, and the targets after it."""
        return self.critics.regress(state, as_rows(batch, self.config.partial_chunks), target, key)

    # Acting.

    def actor_params(self, state: QCState) -> QCActor:
        return QCActor(state.flow, state.critic, state.normaliser, state.encoder)

    def plan(self, actor: QCActor, observation: PyTree, key: jax.Array, deterministic: bool = False) -> jax.Array:
        """The best chunk `[h, A]` for one observation; `deterministic` proposes from the same noise at every call."""
        seen = self.vision(actor.encoder, actor.normaliser, observation)[None]
        chunk = self.best(actor.flow, actor.critic, seen, jax.random.key(FIXED) if deterministic else key)
        return chunk.reshape(self.config.horizon, self.spec.action_dim)

    def act(
        self, actor: QCActor, observation: PyTree, key: jax.Array, carry: PyTree, deterministic: bool = False
    ) -> tuple[jax.Array, PyTree]:
        return act_by_plan(lambda: self.plan(actor, observation, key, deterministic), carry, self.config.executed)
