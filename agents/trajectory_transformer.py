"""Trajectory Transformer: one model of all that steps consist of, and acting by a search for the best plan in it.

    x_t  = (s_t, a_t, r_t, V_t) as S + A + 2 tokens,  V_t = Σ_{i≥0} γ^i r_{t+1+i} = (R_t − r_t) / γ        (models/sequences/discretiser.py)
    L    = mean_{tokens there} w_π w_j (−log p(x_t^j | x_{<t}, x_t^{<j})),   w_j = 1, of actions 5                 (models/sequences/gpt.py)
    a_t  = the first action of argmax Σ_{i<H} γ^i E[r_{t+i}] + γ^H E[V_{t+H−1}]                   (models/sequences/beam_search.py)

It learns windows of T rows of both pools alike: offline from recordings, online from these and from what was added. Steps behind the end of
an episode that terminated are tokens that say so; those behind any other end are not learnt, nor is the value of a row whose return is not
known (yet). Bins are the offline data's, online too. Acting costs H (S + A + 2) tokens of B beams a step: seconds at the published size.
The context's rewards are those that the model expected, because acting is not told them. Source: Janner, Li and Levine 2021.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct
from jax.typing import ArrayLike

from ..data.errors import WarmloopError
from ..data.mixing import StretchBatch
from ..data.replay.windows import Window
from ..data.transition import PyTree, Spec, Transition
from .base import Metrics, Params, Problem, run_block
from .models.sequences.beam_search import BeamSearch, Context
from .models.sequences.discretiser import SPACINGS, Discretiser
from .models.sequences.gpt import GPT
from .networks.normaliser import Normaliser, blurred
from .shared.action_chunks import FIXED
from .shared.agent_settings import InputSettings, StepSettings, setting
from .shared.gradients import decaying, descend

FINAL_RATE = 0.1  # of the step size, at the end of its cosine and online


@dataclasses.dataclass(frozen=True)
class TrajectoryTransformerConfig(StepSettings, InputSettings):
    """Settings of the Trajectory Transformer."""

    hidden: tuple[int, ...] = setting((128, 128, 128, 128), "width of each of the transformer's layers, which have all the same", least=1)
    heads: int = setting(4, "of attention in each layer; the width is a multiple of it", least=1)
    dropout: float = setting(0.1, "share of units, and of attention, that is dropped in the loss", least=0, below=1)
    actor_lr: float = 6e-4
    weight_decay: float = 0.1
    rising: float = setting(0.02, "share of the warm-up's updates in which the step size rises from 0", least=0, most=1)
    falling: float = setting(
        0.4, "share of them after which it has fallen to a tenth, along a cosine; online it is a tenth", above=0, most=1
    )
    length: int = setting(10, "T, rows of a window", least=2)
    bins: int = setting(100, "N, tokens of a number", least=2)
    spacing: str = setting("quantile", "of the bins: equally many rows in each, or equally wide", among=SPACINGS)
    action_weight: float = setting(5.0, "of actions in the loss; observations have 1", least=0)
    reward_weight: float = setting(1.0, "of rewards", least=0)
    value_weight: float = setting(1.0, "of values to go", least=0)
    plan_steps: int = setting(15, "H, steps of a plan", least=1)
    beams: int = setting(128, "B, plans that are kept at each step", least=1)
    expand: int = setting(2, "actions that are tried in each of them", least=1)
    action_cut: float = setting(
        0.6, "mass of the unlikeliest bins of which no action is drawn; 1 takes the likeliest alone", least=0, most=1
    )
    context: int = setting(5, "steps that the model sees at once in planning, the one that it writes among them", least=2)

    def __post_init__(self):
        super().__post_init__()
        if len(set(self.hidden)) != 1 or self.hidden[0] % self.heads:
            raise WarmloopError(
                f"agent.hidden is {self.hidden}; a transformer's layers have one width, a multiple of agent.heads ({self.heads})."
            )
        if self.context > self.length:
            raise WarmloopError(f"agent.context is {self.context}; the model sees at most agent.length ({self.length}) steps.")
        if self.falling < self.rising:
            raise WarmloopError(f"agent.falling is {self.falling}; it must be at least agent.rising ({self.rising}).")


class TrajectoryTransformerState(struct.PyTreeNode):
    """Everything that is learnt, and the bins; `updates` counts minibatches."""

    model: Params
    optimizer: optax.OptState
    discretiser: Discretiser
    normaliser: Normaliser
    key: jax.Array
    updates: jax.Array


class TrajectoryTransformerActor(struct.PyTreeNode):
    """What acting needs: all of the model, and the bins of a step's numbers, `[N + 1, S + A + 2]`."""

    model: Params
    discretiser: Discretiser
    normaliser: Normaliser


@dataclasses.dataclass(frozen=True)
class TrajectoryTransformer:
    """The algorithm: settings and shapes. See `agents.base.Agent` for the methods' contracts."""

    config: TrajectoryTransformerConfig
    spec: Spec
    problem: Problem = Problem()
    name: ClassVar[str] = "trajectory_transformer"
    remembers: ClassVar[bool] = True
    needs_rows: ClassVar[bool] = True
    not_exported: ClassVar[str] = (
        "trajectory_transformer acts by what the episode was so far, which an exported policy does not keep: act by the checkpoint, as "
        "warmloop-collect --policy=checkpoint:DIR does"
    )

    @property
    def window(self) -> Window:
        """What it learns from."""
        return Window(self.config.length, "sequence", self.problem.discount)

    @property
    def dims(self) -> int:
        """Tokens of a step."""
        return self.spec.observation_dim + self.spec.action_dim + 2

    @property
    def gpt(self) -> GPT:
        c = self.config
        return GPT(self.dims, c.length, c.bins, len(c.hidden), c.hidden[0], c.heads, c.dropout)

    @property
    def search(self) -> BeamSearch:
        c, spec = self.config, self.spec
        return BeamSearch(spec.observation_dim, spec.action_dim, c.plan_steps, c.beams, c.expand, c.action_cut, self.problem.discount)

    @property
    def optimizer(self) -> optax.GradientTransformation:
        """AdamW on kernels, of gradients of norm 1 at most."""
        adamw = optax.adamw(self.rate, b1=0.9, b2=0.95, weight_decay=self.config.weight_decay, mask=decaying)
        return optax.chain(optax.clip_by_global_norm(1.0), adamw)

    def rate(self, updates: ArrayLike) -> jax.Array:
        """The step size after so many gradient steps."""
        c, total = self.config, self.problem.warmup_updates
        if not total:
            return jnp.asarray(FINAL_RATE * c.actor_lr)
        rising, done = c.rising * total, jnp.asarray(updates, jnp.float32)
        progress = jnp.clip((done - rising) / max((c.falling - c.rising) * total, 1.0), 0.0, 1.0)
        cosine = jnp.maximum(0.5 * (1.0 + jnp.cos(jnp.pi * progress)), FINAL_RATE)
        return c.actor_lr * jnp.where(done < rising, (done + 1) / max(rising, 1.0), cosine)

    def init(self, key: jax.Array, example: Transition) -> TrajectoryTransformerState:
        model_key, key = jax.random.split(key)
        model = self.gpt.init(model_key)
        return TrajectoryTransformerState(
            model=model,
            optimizer=self.optimizer.init(model),
            discretiser=self.bins_of(example),
            normaliser=Normaliser.asked(example, self.config),
            key=key,
            updates=jnp.zeros((), jnp.int32),
        )

    def bins_of(self, example: Transition) -> Discretiser:
        """The bins of rows `[N]` on the host; of a single row, which stands for shapes alone, those of no rows. Raises WarmloopError where
        the data tell no value to go, or where rewards that differ would be one token."""
        bins, spacing = self.config.bins, self.config.spacing
        if example.reward.shape[0] < 2:
            return Discretiser.of(np.zeros((0, self.dims)), bins, spacing)
        with jax.ensure_compile_time_eval():  # the rows are there also where only the shapes of what is made of them are asked for
            rows = np.asarray(self.columns(example, Normaliser.asked(example, self.config)))
            found = Discretiser.of(rows, bins, spacing)
            extremes = rows[[rows[:, -2].argmin(), rows[:, -2].argmax()]]
            apart = np.ptp(np.asarray(found.tokens(jnp.asarray(extremes)))[:, -2])
        low, high = extremes[:, -2]
        if not np.isfinite(rows[:, -1]).any():
            raise WarmloopError(
                "No recorded step has a known return, and the Trajectory Transformer plans by values to go: reward.cut_returns=recorded "
                "gives episodes that were cut the returns that were recorded."
            )
        if low < high and not apart:
            raise WarmloopError(f"Rewards from {low:g} to {high:g} are too rare for bins of equally many rows: set agent.spacing=uniform.")
        return found

    # Tokens.

    def columns(self, rows: Transition, normaliser: Normaliser) -> jax.Array:
        """The numbers `[..., S + A + 2]` of steps; the value is not finite where the return is not known."""
        value = jnp.where(rows.mask == 0, 0.0, (rows.mc_return - rows.reward) / self.problem.discount)
        return jnp.concatenate([normaliser(rows.observation), rows.action, rows.reward[..., None], value[..., None]], axis=-1)

    def tokens(self, state: TrajectoryTransformerState, batch: StretchBatch) -> tuple[jax.Array, jax.Array]:
        """Tokens `[B, T, S + A + 2]` of windows, and which of them are learnt."""
        columns = self.columns(batch, state.normaliser)
        over = jnp.any(batch.valid & (batch.mask == 0), axis=-1, keepdims=True)  # [B, 1]: what is behind is known, too
        there = batch.valid[..., None]
        tokens = jnp.where(there, state.discretiser.tokens(columns), self.config.bins)
        return tokens, (batch.valid | over)[..., None] & (~there | jnp.isfinite(columns))

    @property
    def weights(self) -> jax.Array:
        """w `[S + A + 2]`."""
        c, spec = self.config, self.spec
        parts = (1.0, spec.observation_dim), (c.action_weight, spec.action_dim), (c.reward_weight, 1), (c.value_weight, 1)
        return jnp.concatenate([jnp.full(count, weight) for weight, count in parts])

    # The loss: scalar and what is logged.

    def loss(
        self, model: Params, state: TrajectoryTransformerState, batch: StretchBatch, dropout: jax.Array | None
    ) -> tuple[jax.Array, Metrics]:
        """L, and the mean −log p of each kind of token."""
        tokens, learnt = self.tokens(state, batch)
        flat, length = tokens.reshape(len(tokens), -1), self.config.length
        surprise = optax.softmax_cross_entropy_with_integer_labels(self.gpt.logits(model, flat[:, :-1], dropout), flat[:, 1:])
        surprise = jnp.pad(surprise, ((0, 0), (1, 0))).reshape(tokens.shape)  # of the first token nothing is predicted
        there = learnt.at[:, 0, 0].set(False)
        weights = jnp.broadcast_to(self.weights, (length, self.dims))[None] * batch.actor_weight[:, None, None]
        loss = jnp.sum(weights * there * surprise) / jnp.maximum(there.sum(), 1)
        ends = np.cumsum([self.spec.observation_dim, self.spec.action_dim, 1])
        parts = zip(*(jnp.split(x, ends, axis=-1) for x in (there, surprise)), strict=True)
        observation, action, reward, value = (jnp.sum(of * found) / jnp.maximum(of.sum(), 1) for of, found in parts)
        logged = {"tokens/observation_loss": observation, "tokens/action_loss": action, "tokens/reward_loss": reward}
        return loss, {"actor/loss": loss, "tokens/value_loss": value} | logged

    # Updates.

    def update(self, state: TrajectoryTransformerState, batch: StretchBatch) -> tuple[TrajectoryTransformerState, Metrics, jax.Array]:
        key, noise_key, *keys = jax.random.split(state.key, 2 + batch.weight.shape[0])
        batch = blurred(batch, state.normaliser, self.config.observation_noise, noise_key)
        state, metrics = run_block(self.step, state.replace(key=key), batch, jnp.stack(keys))
        return state, jax.tree.map(jnp.mean, metrics), jnp.ones_like(batch.weight)

    def step(self, state: TrajectoryTransformerState, inputs: tuple[StretchBatch, jax.Array]) -> tuple[TrajectoryTransformerState, Metrics]:
        """One gradient step on one minibatch."""
        batch, key = inputs
        model, moments, metrics = descend(lambda model: self.loss(model, state, batch, key), state.model, self.optimizer, state.optimizer)
        metrics |= {"actor/learning_rate": self.rate(state.updates)}
        return state.replace(model=model, optimizer=moments, updates=state.updates + 1), metrics

    # Acting.

    def actor_params(self, state: TrajectoryTransformerState) -> TrajectoryTransformerActor:
        return TrajectoryTransformerActor(state.model, state.discretiser, state.normaliser)

    def plan(self, actor: TrajectoryTransformerActor, observation: PyTree, key: jax.Array, context: Context) -> tuple[jax.Array, jax.Array]:
        """The best plan `[H, S + A + 2]` from one observation, as tokens, and its score `[]`."""
        seen = actor.discretiser.part(slice(self.spec.observation_dim)).tokens(actor.normaliser(observation))
        return self.search(self.gpt, actor.model, actor.discretiser.part(slice(-2, None)), context, seen, key)

    def act(
        self, actor: TrajectoryTransformerActor, observation: PyTree, key: jax.Array, carry: PyTree, deterministic: bool = False
    ) -> tuple[jax.Array, Context]:
        """The carry is the context, `()` where an episode begins; `deterministic` searches by the same draws at every call."""
        context = carry if isinstance(carry, Context) else Context.empty(self.config.context - 1, self.dims)
        plan, _ = self.plan(actor, observation, jax.random.key(FIXED) if deterministic else key, context)
        action = slice(self.spec.observation_dim, -2)
        return actor.discretiser.part(action).values(plan[0, action]), context.with_step(plan[0])
