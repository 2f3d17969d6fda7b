"""Noise steering: a frozen flow of action chunks, whose noise is chosen by reinforcement learning instead of being drawn.

    G(s, w)  = the flow's chunk from noise w, which clones demonstrations and never changes            (shared/flows.py)
    π(s)     = G(s, w),  w = b tanh u,  u ~ N(μ(s), σ(s))
    y        = clip(R + γ^h m agg_i Q̄_i(s', G(s', w'))),  w' ~ π                                        (windows as qc)
    L_Q      = mean_{E×B} w valid (Q_i(s, a_{t:t+h}) − y)²
    L_V      = mean_{E×B} w (V_i(s, z) − Q_i(s, G(s, z)))²,  z ~ N(0, I)          `distillation_steps` times
    L_π      = mean w_π (α log π(w|s) − agg_i V_i(s, w)),  L_α = α (H − H̄)

V values noise, so no gradient passes through the flow: whatever the policy does, the flow's own way of doing it comes out. H is the entropy
of tanh u. Before its first update the agent draws w from N(0, I) and acts as the flow does. Observations are normalised and encoded as the
flow saw them. Source: Wagenmaker et al. 2025 (DSRL-NA); Q^A and Q^W of the paper are here Q and V.
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
from ..data.transition import PyTree, Spec, Transition, example
from .base import FlowStart, Metrics, Params, Problem, run_block
from .networks.bounds import factor
from .networks.networks import LOG_STD_MAX, LOG_STD_MIN, Policy, apply, initialise, sample_action
from .networks.normaliser import Normaliser, blurred
from .networks.vision import Vision, VisionConfig
from .shared.action_chunks import FIXED, act_by_plan, as_rows
from .shared.agent_settings import CriticSettings, setting
from .shared.critics import Critics
from .shared.flows import Flow, FlowSettings
from .shared.gradients import adam, descend
from .shared.temperature import temperature_step


@dataclasses.dataclass(frozen=True)
class DSRLConfig(FlowSettings, CriticSettings):
    """Settings of noise steering. Those of the flow have the values with which it was cloned."""

    hidden: tuple[int, ...] = (2048, 2048, 2048)
    activation: str = "tanh"
    actor_layer_norm: bool = True
    critic_layer_norm: bool = True
    utd: int = 20
    horizon: int = 4
    flow_hidden: tuple[int, ...] = setting((512, 512, 512, 512), "widths of the flow's hidden layers", least=1)
    flow_activation: str = setting("jax.nn:gelu", "of the flow's hidden layers")
    noise_bound: float = setting(1.5, "b, bound on the noise that is chosen; much beyond it the flow is not what was cloned", above=0)
    distillation_steps: int = setting(10, "gradient steps of V for each of Q", least=1)
    q_agg: str = setting("min", "over the critics, in targets and in the policy's loss", among=("mean", "min"))
    partial_chunks: bool = setting(False, "learn from chunks that an episode's termination cuts short, too")
    clip_target: bool = setting(False, "whether y is clipped to the bounds of the return")
    initial_temperature: float = setting(1.0, "α before training", least=1e-6)  # its logarithm is learnt
    temperature_lr: float = setting(3e-4, "Adam step size of α", least=0)
    target_entropy: float = setting(0.0, "H̄, of all numbers of the noise together")
    vision: VisionConfig = setting(VisionConfig(), "the encoder of camera images, as the flow has it; it is not trained on")


class DSRLState(struct.PyTreeNode):
    """Everything that noise steering learns, and the flow with what it sees by. Leaves of critics are `[E, ...]`; `updates` counts
    minibatches."""

    flow: Params
    encoder: Params
    normaliser: Normaliser
    actor: Params
    critic: Params
    target_critic: Params
    noise_critic: Params
    log_temperature: jax.Array
    actor_optimizer: optax.OptState
    critic_optimizer: optax.OptState
    noise_optimizer: optax.OptState
    temperature_optimizer: optax.OptState
    key: jax.Array
    updates: jax.Array


class DSRLActor(struct.PyTreeNode):
    """What acting needs: the policy of the noise, the flow, and whether the noise is chosen yet or drawn."""

    params: Params
    flow: Params
    normaliser: Normaliser
    encoder: Params
    steered: jax.Array


@dataclasses.dataclass(frozen=True)
class DSRL:
    """The algorithm: settings and shapes. See `agents.base.Agent` for the methods' contracts."""

    config: DSRLConfig
    spec: Spec
    problem: Problem = Problem()
    name: ClassVar[str] = "dsrl"

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
        """G, as `flow_bc` has it."""
        c = self.config
        settings = FlowSettings(hidden=c.flow_hidden, activation=c.flow_activation, horizon=c.horizon, flow_steps=c.flow_steps)
        return Flow(settings, c.horizon * self.spec.action_dim)

    @property
    def policy(self) -> Policy:
        """The module of the Gaussian of u."""
        c = self.config
        bounds = (LOG_STD_MIN, LOG_STD_MAX, 0.0)
        return Policy(self.flow.size, c.actor_widths, c.actor_layer_norm, c.activation, c.actor_dropout, *bounds)

    @property
    def critics(self) -> Critics:
        """Q, of chunks."""
        return Critics(self.config, self.problem)

    @property
    def noise_critics(self) -> Critics:
        """V, of noise: the values that Q has, and so a squared error between the two."""
        return Critics(dataclasses.replace(self.config, critic_loss="mse"), self.problem)

    @property
    def actor_optimizer(self) -> optax.GradientTransformation:
        return adam(self.config.actor_lr, self.config.weight_decay)

    def init(self, key: jax.Array, example: Transition) -> DSRLState:
        """With a flow that nothing has trained yet: `take_over_flow` brings one."""
        self.config.check_images(self.spec)
        flow_key, encoder_key, actor_key, critic_key, noise_key, key = jax.random.split(key, 6)
        actor = initialise(self.policy, actor_key, jnp.zeros((1, self.vision.dim)))
        noise = self.noise_critics.init(noise_key, self.vision.dim, self.flow.size)
        log_temperature = jnp.log(jnp.asarray(self.config.initial_temperature, jnp.float32))
        return DSRLState(
            flow=self.flow.init(flow_key, self.vision.dim),
            encoder=self.vision.init(encoder_key),
            normaliser=Normaliser.asked(example, self.config),
            actor=actor,
            **self.critics.init(critic_key, self.vision.dim, self.flow.size),
            noise_critic=noise["critic"],
            noise_optimizer=noise["critic_optimizer"],
            log_temperature=log_temperature,
            actor_optimizer=self.actor_optimizer.init(actor),
            temperature_optimizer=adam(self.config.temperature_lr).init(log_temperature),
            key=key,
            updates=jnp.zeros((), jnp.int32),
        )

    def seen(self, state: DSRLState | DSRLActor, observation: PyTree) -> jax.Array:
        """What the networks see of observations, `[..., D]`."""
        return self.vision(state.encoder, state.normaliser, observation)

    def aggregate(self, q: jax.Array) -> jax.Array:
        """agg_i of values `[E, ...]`."""
        return q.mean(axis=0) if self.config.q_agg == "mean" else q.min(axis=0)

    def choose(self, actor: Params, seen: jax.Array, key: jax.Array, dropout: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
        """Noise w `[B, h·A]` of the policy, and log π of tanh u, `[B]`."""
        squashed, log_prob = sample_action(key, *apply(self.policy, actor, seen, dropout=dropout))
        return self.config.noise_bound * squashed, log_prob

    # Losses: scalar and what the caller logs.

    def td_target(self, state: DSRLState, batch: StretchBatch, key: jax.Array) -> jax.Array:
        """y `[B]`, without gradient; `mask` has γ^{h−1} in it."""
        seen = self.seen(state, batch.next_observation)
        chunk = self.flow.sample(state.flow, seen, self.choose(state.actor, seen, key)[0])
        value = self.aggregate(self.critics(state.target_critic, seen, chunk))
        target = batch.reward + self.problem.discount * batch.mask * value
        return jnp.clip(target, self.problem.return_low, self.problem.return_high) if self.config.clip_target else target

    def noise_loss(
        self, noise_critic: Params, state: DSRLState, seen: jax.Array, weight: jax.Array, key: jax.Array
    ) -> tuple[jax.Array, Metrics]:
        """L_V; gradient to V only."""
        noise_key, dropout_key = jax.random.split(key)
        noise = jax.random.normal(noise_key, (seen.shape[0], self.flow.size))
        taught = self.critics(state.critic, seen, self.flow.sample(state.flow, seen, noise))  # [E, B]
        error = self.noise_critics(noise_critic, seen, noise, dropout_key) - taught
        loss = jnp.mean(weight[None] * jnp.square(error))
        return loss, {"noise_critic/loss": loss, "noise_critic/q_mean": taught.mean()}

    def actor_loss(self, actor: Params, state: DSRLState, seen: jax.Array, weight: jax.Array, key: jax.Array) -> tuple[jax.Array, Metrics]:
        """L_π; gradient to the policy only."""
        noise, log_prob = self.choose(actor, seen, key, jax.random.fold_in(key, 1))
        # As one of N, so that no gradient is computed for the observation's columns.
        value = self.aggregate(self.noise_critics(state.noise_critic, seen, noise[:, None])[..., 0])
        loss = jnp.mean(weight * (factor(state.log_temperature) * log_prob - value))
        entropy = -jnp.mean(weight * log_prob) / jnp.maximum(jnp.mean(weight), 1e-6)
        return loss, {"actor/loss": loss, "actor/entropy": entropy, "actor/q_mean": value.mean()}

    # Updates.

    def update(self, state: DSRLState, batch: StretchBatch) -> tuple[DSRLState, Metrics, jax.Array]:
        key, noise_key, *keys = jax.random.split(state.key, 2 + batch.reward.shape[0])
        batch = blurred(batch, state.normaliser, self.config.observation_noise, noise_key)
        state, (metrics, td_error) = run_block(self.step, state.replace(key=key), batch, jnp.stack(keys))
        return state, jax.tree.map(jnp.mean, metrics), td_error

    def step(self, state: DSRLState, inputs: tuple[StretchBatch, jax.Array]) -> tuple[DSRLState, tuple[Metrics, jax.Array]]:
        """On one minibatch a gradient step of Q, some of V, one of the policy and one of the temperature."""
        batch, key = inputs
        target_key, critic_key, noise_key, actor_key = jax.random.split(key, 4)
        target, seen = self.td_target(state, batch, target_key), self.seen(state, batch.observation)
        rows = as_rows(batch, self.config.partial_chunks).replace(observation=seen)
        state, metrics, td_error = self.critics.step(state, rows, target, critic_key)
        state, noise_metrics = self.noise_steps(self.critics.follow(state), seen, batch.weight, noise_key)
        state, actor_metrics = self.actor_step(state, seen, batch.actor_weight, actor_key)
        return state.replace(updates=state.updates + 1), (metrics | noise_metrics | actor_metrics, td_error)

    def noise_steps(self, state: DSRLState, seen: jax.Array, weight: jax.Array, key: jax.Array) -> tuple[DSRLState, Metrics]:
        """The gradient steps of V, each on noise of its own."""
        critics = self.noise_critics

        def step(carry: tuple[Params, optax.OptState], key: jax.Array) -> tuple[tuple[Params, optax.OptState], Metrics]:
            critic, moments, metrics = descend(
                lambda critic: self.noise_loss(critic, state, seen, weight, key), carry[0], critics.optimizer, carry[1]
            )
            return (critics.projected(critic), moments), metrics

        keys = jax.random.split(key, self.config.distillation_steps)
        (critic, moments), metrics = jax.lax.scan(step, (state.noise_critic, state.noise_optimizer), keys)
        return state.replace(noise_critic=critic, noise_optimizer=moments), jax.tree.map(jnp.mean, metrics)

    def actor_step(self, state: DSRLState, seen: jax.Array, weight: jax.Array, key: jax.Array) -> tuple[DSRLState, Metrics]:
        """One gradient step of the policy and one of the temperature."""
        actor, moments, metrics = descend(
            lambda actor: self.actor_loss(actor, state, seen, weight, key), state.actor, self.actor_optimizer, state.actor_optimizer
        )
        excess = metrics["actor/entropy"] - self.config.target_entropy
        state, told = temperature_step(state.replace(actor=actor, actor_optimizer=moments), excess, self.config.temperature_lr)
        return state, metrics | told

    # Acting, and taking a flow over.

    def actor_params(self, state: DSRLState) -> DSRLActor:
        return DSRLActor(state.actor, state.flow, state.normaliser, state.encoder, state.updates > 0)

    def plan(self, actor: DSRLActor, observation: PyTree, key: jax.Array, deterministic: bool = False) -> jax.Array:
        """A chunk `[h, A]` for one observation: the flow's from chosen noise, `deterministic` from the policy's mode; before the first
        update as `flow_bc` plans it."""
        seen = self.seen(actor, observation)
        drawn = jax.random.normal(jax.random.key(FIXED) if deterministic else key, (self.flow.size,))
        mean, log_std = apply(self.policy, actor.params, seen)
        chosen = self.config.noise_bound * (jnp.tanh(mean) if deterministic else sample_action(key, mean, log_std)[0])
        chunk = self.flow.sample(actor.flow, seen, jnp.where(actor.steered, chosen, drawn))
        return chunk.reshape(self.config.horizon, self.spec.action_dim)

    def act(
        self, actor: DSRLActor, observation: PyTree, key: jax.Array, carry: PyTree, deterministic: bool = False
    ) -> tuple[jax.Array, PyTree]:
        return act_by_plan(lambda: self.plan(actor, observation, key, deterministic), carry, self.config.executed)

    def take_over_flow(self, warm: FlowStart) -> DSRLState:
        """A fresh state that steers the flow of another agent."""
        key, fresh_key = jax.random.split(warm.key)
        fresh = self.init(fresh_key, example(self.spec))
        return fresh.replace(key=key, flow=warm.flow, encoder=warm.encoder, normaliser=warm.normaliser)
