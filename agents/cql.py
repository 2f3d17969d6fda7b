"""Conservative Q-learning, CQL(H), with the calibration of Cal-QL as an option; everything else is SAC's.

    L_Q = mean w (Q_i − y)² + c · mean w [ T logsumexp_k((Q_i(s, a_k) − log μ(a_k)) / T) − Q_i(s, a) ]

a_k are N uniform actions, N from π(·|s) and N from π(·|s'), all evaluated at s. Cal-QL replaces Q by max(Q, MC(s)) for the
policy's actions, before the importance correction; rows whose return is not known (−inf) are left as they are.
Sources: CQL (Kumar et al. 2020, eq. 4 and app. F), Cal-QL (Nakamoto et al. 2023, eq. 6).
"""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import struct

from ..data.transition import Batch, PyTree, Spec, Transition
from .base import Actor, Metrics, Params, Problem, WarmStart, critic_metrics, run_block
from .networks.bounds import factor
from .networks.networks import apply, sample_action
from .sac import SAC, SACConfig, SACState
from .shared.agent_settings import setting
from .shared.gradients import accumulated_gradient

LAGRANGE_MAX = 1e6
CPU_PARTS = 8  # 256 rows with 30 actions each: about a thousand rows at a time


@dataclasses.dataclass(frozen=True)
class CQLConfig(SACConfig):
    """Settings of CQL beside SAC's."""

    actor_lr: float = 1e-4
    utd: int = 1
    cql_weight: float = setting(5.0, "c, weight of the conservative term", least=0)
    cql_temperature: float = setting(1.0, "T of the soft maximum", above=0)
    cql_actions: int = setting(10, "N, actions of each of the three kinds", least=1)
    importance: bool = setting(
        True, "correct values of proposals by their density, CQL(H); without, the recorded action is one of the proposals"
    )
    calibrated: bool = setting(False, "Cal-QL's lower bound on the policy's values")
    lagrange: bool = setting(False, "multiply c by a dual variable that holds the gap at `lagrange_gap`")
    lagrange_gap: float = setting(1.0, "τ, the gap aimed at")
    lagrange_lr: float = setting(3e-4, "Adam step size of the dual variable", least=0)
    initial_multiplier: float = setting(1.0, "what c is multiplied by at first", least=1e-6)  # its logarithm is learnt


class CQLState(struct.PyTreeNode):
    """SAC's state and the dual variable."""

    sac: SACState
    log_lagrange: jax.Array
    lagrange_optimizer: optax.OptState


class PressedBatch(Batch):
    """Rows with weights of their own in the conservative term, `[B]` each: `pressed` of the proposals' soft maximum, `lifted` of the
    recorded action. In other batches both are the row's weight."""

    pressed: jax.Array
    lifted: jax.Array


class Aims(NamedTuple):
    """What the critics' loss takes beside a minibatch's rows: y `[B]`, and the actions `[B, 3N, A]` whose values are pressed down, with
    their log densities `[B, 3N]`."""

    target: jax.Array
    proposals: jax.Array
    log_density: jax.Array


@dataclasses.dataclass(frozen=True)
class CQL:
    """The algorithm: settings and shapes. See `agents.base.Agent` for the methods' contracts."""

    config: CQLConfig
    spec: Spec
    problem: Problem = Problem()
    name: ClassVar[str] = "cql"

    @property
    def sac(self) -> SAC:
        """The SAC whose policy, targets and optimizers this uses."""
        return SAC(self.config, self.spec, self.problem)

    def init(self, key: jax.Array, example: Transition) -> CQLState:
        return self.take_over(self.sac.init(key, example))

    def proposals(self, state: SACState, batch: Batch, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Actions `[B, 3N, A]` (uniform, from π(·|s), from π(·|s')) and their log densities `[B, 3N]`."""
        uniform_key, here_key, next_key = jax.random.split(key, 3)
        n, dims = self.config.cql_actions, self.spec.action_dim
        uniform = jax.random.uniform(uniform_key, (*batch.reward.shape, n, dims), minval=-1.0, maxval=1.0)
        density = jnp.full((*batch.reward.shape, n), -dims * jnp.log(2.0))

        def sampled(key, observation):
            return sample_action(key, *apply(self.sac.policy, state.actor, self.sac.seen(state, observation)), count=n)

        here, here_density = sampled(here_key, batch.observation)
        after, after_density = sampled(next_key, batch.next_observation)
        return jnp.concatenate([uniform, here, after], 1), jnp.concatenate([density, here_density, after_density], 1)

    def conservative_gap(self, q: jax.Array, log_density: jax.Array, q_data: jax.Array, mc_return: jax.Array) -> jax.Array:
        """`T logsumexp((Q − log μ)/T) − Q(s, a)`, `[E, B]`, from Q `[E, B, 3N]` of the proposals and `[E, B]` of the data."""
        if self.config.calibrated:
            from_policy = jnp.arange(q.shape[-1]) >= self.config.cql_actions
            q = jnp.where(from_policy[None, None], jnp.maximum(q, mc_return[None, :, None]), q)
        temperature = self.config.cql_temperature
        if self.config.importance:
            return temperature * jax.nn.logsumexp((q - log_density[None]) / temperature, axis=-1) - q_data
        every = jnp.concatenate([q, q_data[..., None]], axis=-1) / temperature
        return temperature * (jax.nn.logsumexp(every, axis=-1) - math.log(every.shape[-1])) - q_data

    def critic_loss(
        self,
        critic: Params,
        multiplier: jax.Array,
        observation: jax.Array,
        batch: Batch,
        aims: Aims,
        dropout: jax.Array | None = None,
    ) -> tuple[jax.Array, tuple[jax.Array, ...]]:
        """TD loss plus `multiplier · (gap − τ)`. Returns the loss and, row by row, Q `[B, E]`, |TD error| `[B]` and gap `[B]`."""
        td_loss, (q_data, td_error) = self.sac.critics.loss(critic, observation, batch, aims.target, dropout)
        q = self.sac.critics(critic, observation, aims.proposals, dropout)
        gap = self.conservative_gap(q, aims.log_density, q_data, batch.mc_return)
        if isinstance(batch, PressedBatch):
            gap = batch.pressed * (gap + q_data).mean(axis=0) - batch.lifted * q_data.mean(axis=0)
        else:
            gap = batch.weight * gap.mean(axis=0)
        return td_loss + multiplier * (gap.mean() - self._gap_aim), (q_data.T, td_error, gap)

    def update(self, state: CQLState, batch: Batch) -> tuple[CQLState, Metrics, jax.Array]:
        key, *keys = jax.random.split(state.sac.key, 2 + batch.reward.shape[0])
        batch = self.sac.as_learnt(state.sac, batch)
        state = state.replace(sac=state.sac.replace(key=key))
        state, (metrics, td_error) = run_block(self.critic_step, state, batch, jnp.stack(keys[1:]))
        sac, actor_metrics = self.sac.actor_step(state.sac, self.sac.actor_rows(batch), keys[0])
        return state.replace(sac=sac), jax.tree.map(jnp.mean, metrics) | actor_metrics, td_error

    def critic_step(self, state: CQLState, inputs: tuple[Batch, jax.Array]) -> tuple[CQLState, tuple[Metrics, jax.Array]]:
        """One gradient step of the critics, their targets, and the dual variable."""
        batch, key = inputs
        target_key, proposal_key = jax.random.split(key)
        target = self.sac.td_target(state.sac, batch, target_key)
        aims = Aims(target, *jax.lax.stop_gradient(self.proposals(state.sac, batch, proposal_key)))
        multiplier, dropout = self.multiplier(state), jax.random.fold_in(key, 1)

        def loss_of(trained: tuple[Params, Params], batch: Batch, aims: Aims) -> tuple[jax.Array, tuple[jax.Array, ...]]:
            critic, encoder = trained
            observation = self.sac.vision(encoder, state.sac.normaliser, batch.observation)
            return self.critic_loss(critic, multiplier, observation, batch, aims, dropout)

        loss, (q, td_error, gap), gradients = accumulated_gradient(
            loss_of, (state.sac.critic, state.sac.encoder), (batch, aims), self._parts(batch.reward.size)
        )
        state = self.lagrange_step(state.replace(sac=self.sac.critics.move(state.sac, *gradients)), gap.mean())
        conservative = {"critic/cql_gap": gap.mean(), "critic/cql_multiplier": multiplier}
        td_loss = {"critic/td_loss": loss - multiplier * (gap.mean() - self._gap_aim)}
        return state, (critic_metrics(loss, q, target) | td_loss | conservative, td_error)

    def multiplier(self, state: CQLState) -> jax.Array:
        """What the gap is multiplied with: c, or exp(ℓ)·c within [10⁻⁶, 10⁶]·c."""
        if not self.config.lagrange:
            return jnp.asarray(self.config.cql_weight, jnp.float32)
        return factor(state.log_lagrange, LAGRANGE_MAX) * self.config.cql_weight

    def lagrange_step(self, state: CQLState, gap: jax.Array) -> CQLState:
        """Ascends `exp(ℓ) · c · (gap − τ)` in ℓ; leaves ℓ and its optimizer alone where the option is off."""
        if not self.config.lagrange:
            return state
        dual = jax.grad(lambda value: -self.multiplier(state.replace(log_lagrange=value)) * (gap - self.config.lagrange_gap))
        change, optimizer = optax.adam(self.config.lagrange_lr).update(dual(state.log_lagrange), state.lagrange_optimizer)
        return state.replace(log_lagrange=optax.apply_updates(state.log_lagrange, change), lagrange_optimizer=optimizer)

    def actor_params(self, state: CQLState) -> Actor:
        return self.sac.actor_params(state.sac)

    def act(
        self, actor: Actor, observation: PyTree, key: jax.Array, carry: PyTree, deterministic: bool = False
    ) -> tuple[jax.Array, PyTree]:
        return self.sac.act(actor, observation, key, carry, deterministic)

    def log_prob(self, actor: Actor, observation: PyTree, action: jax.Array) -> jax.Array:
        return self.sac.log_prob(actor, observation, action)

    def q_values(self, state: CQLState, observation: PyTree, action: jax.Array) -> jax.Array:
        return self.sac.q_values(state.sac, observation, action)

    def td_error(self, state: CQLState, batch: Batch, key: jax.Array) -> jax.Array:
        target = self.sac.td_target(state.sac, batch, key)
        return jnp.abs(self.q_values(state, batch.observation, batch.action) - target[None]).mean(axis=0)

    def hand_over(self, state: CQLState) -> SACState:
        """SAC's full state, optimizers included; the dual variable stays behind."""
        return state.sac

    def take_over(self, state: SACState | WarmStart) -> CQLState:
        """A state that goes on from SAC's, with a fresh dual variable."""
        log_lagrange = jnp.log(jnp.asarray(self.config.initial_multiplier, jnp.float32))
        return CQLState(self.sac.take_over(state), log_lagrange, optax.adam(self.config.lagrange_lr).init(log_lagrange))

    @property
    def _gap_aim(self) -> float:
        return self.config.lagrange_gap if self.config.lagrange else 0.0

    def _parts(self, rows: int) -> int:
        """Parts of a minibatch: its proposals' activations exceed a CPU's cache many times over; an accelerator takes them whole, and so
        do images, whose convolutions are slow within a loop (see `run_block`)."""
        return math.gcd(rows, CPU_PARTS) if jax.default_backend() == "cpu" and not self.spec.cameras else 1
