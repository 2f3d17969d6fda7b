"""Behaviour cloning with a flow of action chunks.

    L = mean_{shown} w_π mean_{hA} (v(s, x_τ, τ) − (a − z))²        (shared/flows.py)

It learns stretches of h actions and acts by them in turn, so that people's several ways, and their pauses, are kept apart. As `bc`, it
clones all offline rows and a human's interventions, and has no TD error; its loss trains the encoder of camera images. Sources:
Q-chunking's BC policy (Li et al. 2025), ACT's chunks (Zhao et al. 2023).
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
from .base import Actor, FlowStart, Metrics, Params, Problem, run_block
from .networks.normaliser import Normaliser, blurred
from .networks.vision import Vision, VisionConfig
from .shared.action_chunks import FIXED, act_by_plan, flat, mean_of_valid
from .shared.agent_settings import setting
from .shared.flows import Flow, FlowSettings
from .shared.gradients import adam, descend


@dataclasses.dataclass(frozen=True)
class FlowBCConfig(FlowSettings):
    """Settings of cloning by a flow."""

    vision: VisionConfig = setting(VisionConfig(), "the encoder of camera images")


class FlowBCState(struct.PyTreeNode):
    """Everything that cloning learns; `encoder` is empty without cameras; `updates` counts gradient steps."""

    flow: Params
    encoder: Params
    optimizer: optax.OptState
    normaliser: Normaliser
    key: jax.Array
    updates: jax.Array


@dataclasses.dataclass(frozen=True)
class FlowBC:
    """The algorithm: settings and shapes. See `agents.base.Agent` for the methods' contracts."""

    config: FlowBCConfig
    spec: Spec
    problem: Problem = Problem()
    name: ClassVar[str] = "flow_bc"

    @property
    def window(self) -> Window:
        """What it learns from."""
        return Window(self.config.horizon, "chunk", self.problem.discount)

    @property
    def vision(self) -> Vision:
        """What the flow sees of an observation."""
        return Vision(self.config.vision, self.spec)

    @property
    def flow(self) -> Flow:
        return Flow(self.config, self.config.horizon * self.spec.action_dim)

    @property
    def optimizer(self) -> optax.GradientTransformation:
        return adam(self.config.actor_lr, self.config.weight_decay, self.config.vision.frozen_modules)

    def init(self, key: jax.Array, example: Transition) -> FlowBCState:
        self.config.check_images(self.spec)
        flow_key, encoder_key, key = jax.random.split(key, 3)
        flow, encoder = self.flow.init(flow_key, self.vision.dim), self.vision.init(encoder_key)
        return FlowBCState(
            flow=flow,
            encoder=encoder,
            optimizer=self.optimizer.init((flow, encoder)),
            normaliser=Normaliser.asked(example, self.config),
            key=key,
            updates=jnp.zeros((), jnp.int32),
        )

    def loss(
        self, trained: tuple[Params, Params], normaliser: Normaliser, batch: StretchBatch, key: jax.Array
    ) -> tuple[jax.Array, Metrics]:
        """Weighted mean over the rows that are not the policy's own. Scalar, and what is logged."""
        flow, encoder = trained
        distance = self.flow.distance(flow, self.vision(encoder, normaliser, batch.observation), flat(batch.action), key)
        each = mean_of_valid(distance, batch.valid)  # [B]
        shown = jnp.logical_or(batch.offline, batch.intervened)
        loss = jnp.sum(batch.actor_weight * shown * each) / jnp.maximum(shown.sum(), 1)
        return loss, {"actor/loss": loss}

    def update(self, state: FlowBCState, batch: StretchBatch) -> tuple[FlowBCState, Metrics, jax.Array]:
        key, noise_key, *keys = jax.random.split(state.key, 2 + batch.reward.shape[0])
        batch = blurred(batch, state.normaliser, self.config.observation_noise, noise_key)
        state, metrics = run_block(self.step, state.replace(key=key), batch, jnp.stack(keys))
        return state, jax.tree.map(jnp.mean, metrics), jnp.ones_like(batch.reward)

    def step(self, state: FlowBCState, inputs: tuple[StretchBatch, jax.Array]) -> tuple[FlowBCState, Metrics]:
        """One gradient step of the flow on one minibatch."""
        (flow, encoder), moments, metrics = descend(
            lambda trained: self.loss(trained, state.normaliser, *inputs), (state.flow, state.encoder), self.optimizer, state.optimizer
        )
        return state.replace(flow=flow, encoder=encoder, optimizer=moments, updates=state.updates + 1), metrics

    # Acting.

    def actor_params(self, state: FlowBCState) -> Actor:
        return Actor(state.flow, state.normaliser, state.encoder)

    def plan(self, actor: Actor, observation: PyTree, key: jax.Array, deterministic: bool = False) -> jax.Array:
        """A chunk `[h, A]` for one observation; `deterministic` by the same noise at every call."""
        noise = jax.random.normal(jax.random.key(FIXED) if deterministic else key, (self.flow.size,))
        chunk = self.flow.sample(actor.params, self.vision(actor.encoder, actor.normaliser, observation), noise)
        return chunk.reshape(self.config.horizon, self.spec.action_dim)

    def act(
        self, actor: Actor, observation: PyTree, key: jax.Array, carry: PyTree, deterministic: bool = False
    ) -> tuple[jax.Array, PyTree]:
        return act_by_plan(lambda: self.plan(actor, observation, key, deterministic), carry, self.config.executed)

    def hand_over_flow(self, state: FlowBCState) -> FlowStart:
        return FlowStart(state.flow, state.normaliser, state.encoder, state.key)
