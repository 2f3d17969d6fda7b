"""COMBO: conservative Q-learning on the data and on rollouts of a learnt model; with MOPO and MOBILE as options.

    d_f   = f D + (1 − f) D_model                     f of the rows of a minibatch are the data's
    L_Q   = mean_{d_f} w (Q_i − y)² + c [ mean_{s∈ρ} T logsumexp_k((Q_i(s, a_k) − log μ(a_k)) / T) − mean_{(s,a)∈D} Q_i(s, a) ]
    MOPO      r ← r − p max_e |σ_e(s, a)|                              on model rows, with c = 0
    MOBILE    r ← r − p std_e mean_n min_k Q̄_k(s'_{e,n}, a'_{e,n})     on model rows, with c = 0

ρ is d_f, or D_model alone; a_k are CQL's 3N actions, all within one soft maximum, and only recorded actions are lifted. The policy and
the temperature learn from d_f as in SAC. At each update the policy is rolled out in the model from some of the batch's states for h
steps; the newest of these rows are D_model. Until the first of them it is CQL, and with f = 1 always.

Both public codes are wrong here: one takes the soft maximum over 3 actions and not over all, the other stops the gradient that presses
model rows down. So the published c are larger than what this needs. Sources: COMBO (Yu et al. 2021), MOPO (Yu et al. 2020), MOBILE (Sun
et al. 2023). That rollouts go on at every update, instead of many at once, is ours.
"""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from ..data.errors import WarmloopError
from ..data.transition import Batch, PyTree, Spec, Transition, example
from .base import Actor, Metrics, Problem, WarmStart, run_block
from .cql import CQL, CQLConfig, CQLState, PressedBatch
from .models.ensembles.dynamics import Dynamics, ModelSettings, flat_rows
from .models.ensembles.ensemble import Ensemble, EnsembleState
from .models.ensembles.rollouts import Ring, as_rows, roll
from .networks.networks import apply, sample_action
from .sac import SAC, SACState
from .shared.agent_settings import setting


@dataclasses.dataclass(frozen=True)
class COMBOConfig(ModelSettings, CQLConfig):
    """Settings of COMBO beside CQL's and the model's."""

    cql_weight: float = setting(1.0, "c, weight of the conservative term; 0 leaves it out", least=0)
    model_hidden: tuple[int, ...] = setting((200,) * 4, "widths of the hidden layers of the model's networks", least=1)
    real_share: float = setting(0.5, "f, share of a minibatch that is of the data", above=0, most=1)
    pressed_on: str = setting(
        "mixed", "ρ, states whose proposals are pressed down: of the minibatch, or of the model alone", among=("mixed", "model")
    )
    penalty: str = setting(
        "none", "on the rewards of model rows, by the model's deviation or by the values' spread", among=("none", "mopo", "mobile")
    )
    penalty_weight: float = setting(1.0, "p, weight of the penalty", least=0)
    penalty_samples: int = setting(10, "n, next states of each member that MOBILE takes the mean of", least=1)
    rollout_length: int = setting(5, "h, steps of a rollout", least=1)
    rollout_share: float = setting(0.2, "share of an update's states from which rollouts begin", above=0, most=1)
    rollout_after: int = setting(5_000, "gradient steps of the model before the first rollout, unless its learning is over before", least=0)
    model_rows: int = setting(250_000, "newest steps of rollouts that are kept", least=1)
    states_alone: ClassVar[bool] = True  # no model of pictures

    def __post_init__(self):
        super().__post_init__()
        if self.n_step != 1:
            raise WarmloopError(f"agent.n_step is {self.n_step}; the model learns from single steps: it must be 1.")
        if self.rollout_starts * self.rollout_length > self.model_rows:
            raise WarmloopError(
                f"agent.model_rows is {self.model_rows}; it must hold an update's rollouts: agent.rollout_share of agent.utd · "
                f"agent.batch_size states, agent.rollout_length steps each, are {self.rollout_starts * self.rollout_length}."
            )

    @property
    def rollout_starts(self) -> int:
        """Rollouts of an update."""
        return math.ceil(self.rollout_share * self.utd * self.batch_size)


class COMBOState(struct.PyTreeNode):
    """CQL's state, the model's, and the newest model rows."""

    cql: CQLState
    ensemble: EnsembleState
    ring: Ring


class MixedBatch(PressedBatch):
    """Rows of d_f; `from_model` `[B]` bool says which are of the model."""

    from_model: jax.Array


@dataclasses.dataclass(frozen=True)
class COMBO:
    """The algorithm: settings and shapes. See `agents.base.Agent` for the methods' contracts."""

    config: COMBOConfig
    spec: Spec
    problem: Problem = Problem()
    name: ClassVar[str] = "combo"

    @property
    def cql(self) -> CQL:
        """The CQL whose critics' loss, proposals and policy this uses."""
        return CQL(self.config, self.spec, self.problem)

    @property
    def sac(self) -> SAC:
        return self.cql.sac

    @property
    def dynamics(self) -> Dynamics:
        return Dynamics(self.config, self.spec, self.config.model_hidden)

    @property
    def ensemble(self) -> Ensemble:
        return Ensemble(self.dynamics)

    def init(self, key: jax.Array, example: Transition) -> COMBOState:
        return self._with_model(self.cql.init(key, example), jax.random.fold_in(key, 1), example)

    # Rows of the data and of the model.

    def mix(self, real: Batch, ring: Ring, key: jax.Array) -> MixedBatch:
        """Flat rows `[K, B]` with model rows in 1 − f of the places, the same in each minibatch; none while there are none."""
        size = real.reward.shape[1]
        count = round((1.0 - self.config.real_share) * size)
        ready = (ring.written > 0) & (count > 0)
        is_model = jnp.broadcast_to(ready & jnp.asarray(evenly(count, size))[None], real.reward.shape)  # [K, B]
        model = as_rows(ring.draw(key, real.reward.shape), real, self._mopo)
        rows = jax.tree.map(lambda x, y: jnp.where(is_model.reshape(*is_model.shape, *(1,) * (x.ndim - 2)), x, y), model, real)
        lifted = jnp.where(is_model, 0.0, rows.weight) * jnp.where(ready, size / max(size - count, 1), 1.0)
        pressed = rows.weight
        if self.config.pressed_on == "model":
            pressed = jnp.where(ready, is_model * (size / max(count, 1)), pressed)
        fields = {name: getattr(rows, name) for name in rows.__dataclass_fields__}
        return MixedBatch(**fields, pressed=pressed, lifted=lifted, from_model=is_model)

    def imagine(self, state: COMBOState, start: jax.Array, key: jax.Array) -> tuple[Ring, Metrics]:
        """The ring with rollouts of the policy from states `[S, D]`; as it was while the model has learnt too little."""
        sac, ensemble = state.cql.sac, state.ensemble

        def policy(observation: jax.Array, key: jax.Array) -> jax.Array:
            return sample_action(key, *apply(self.sac.policy, sac.actor, self.sac.seen(sac, observation)))[0]

        rows, there = roll(self.dynamics, (self.ensemble.elite(ensemble), ensemble.scales), policy, start, key, self.config.rollout_length)
        begun = ~self.ensemble.learns(ensemble) | (ensemble.updates >= self.config.rollout_after)
        ring = state.ring.insert(rows, there & begun)
        reward = jnp.sum(rows.reward, where=there) / jnp.maximum(there.sum(), 1)
        return ring, {
            "model/rows": jnp.minimum(ring.written, ring.capacity),
            "model/rollout_length": there.sum() / start.shape[0],
            "model/reward_mean": reward,
        }

    # Losses: scalar and what the caller logs.

    def values_spread(self, sac: SACState, ensemble: EnsembleState, batch: Batch, key: jax.Array) -> jax.Array:
        """MOBILE's std_e mean_n min_k Q̄_k(s'_{e,n}, a'_{e,n}) `[B]` for rows (s, a)."""
        elites, scales = self.ensemble.elite(ensemble), ensemble.scales
        prediction = self.dynamics.predict(elites, scales, batch.observation, batch.action)

        def value(key: jax.Array) -> jax.Array:
            noise_key, act_key = jax.random.split(key)
            after, _ = self.dynamics.sample(prediction, scales, noise_key)
            seen = self.sac.seen(sac, after.reshape(-1, after.shape[-1]))
            action, _ = sample_action(act_key, *apply(self.sac.policy, sac.actor, seen))
            return self.sac.critics(sac.target_critic, seen, action).min(axis=0).reshape(after.shape[:-1])  # [M, B]

        keys = jax.random.split(key, self.config.penalty_samples)
        total, _ = jax.lax.scan(lambda total, key: (total + value(key), None), jnp.zeros(prediction.ends.shape), keys)
        return (total / len(keys)).std(axis=0)

    def penalised(self, sac: SACState, ensemble: EnsembleState, batch: MixedBatch, key: jax.Array) -> MixedBatch:
        """The rows with MOBILE's penalty on the rewards of the model's; MOPO's is on them since they were drawn."""
        if self.config.penalty != "mobile":
            return batch
        spread = self.values_spread(sac, ensemble, batch, key)
        return batch.replace(reward=batch.reward - self.config.penalty_weight * jnp.where(batch.from_model, spread, 0.0))

    # Updates.

    def update(self, state: COMBOState, batch: Batch) -> tuple[COMBOState, Metrics, jax.Array]:
        key, *keys = jax.random.split(state.cql.sac.key, 2 + batch.reward.shape[0])
        draw_key, roll_key, measure_key = (jax.random.fold_in(keys[0], number) for number in (1, 2, 3))
        plain, real = flat_rows(batch), flat_rows(self.sac.as_learnt(state.cql.sac, batch))
        ensemble, (told, _) = run_block(self.ensemble.step, state.ensemble, plain, jnp.stack(keys[1:]))
        mixed = self.mix(real, state.ring, draw_key)

        def step(cql: CQLState, inputs: tuple[MixedBatch, jax.Array]) -> tuple[CQLState, tuple[Metrics, jax.Array]]:
            return self.critic_step(cql, ensemble, *inputs)

        cql = state.cql.replace(sac=state.cql.sac.replace(key=key))
        cql, (metrics, td_error) = run_block(step, cql, mixed, jnp.stack(keys[1:]))
        sac, actor_metrics = self.sac.actor_step(cql.sac, self.sac.actor_rows(mixed), keys[0])
        state = COMBOState(cql.replace(sac=sac), ensemble, state.ring)
        start = plain.observation.reshape(-1, plain.observation.shape[-1])
        chosen = np.linspace(0, start.shape[0] - 1, self.config.rollout_starts).astype(int)
        ring, model_metrics = self.imagine(state, start[chosen], roll_key)
        metrics = jax.tree.map(jnp.mean, metrics | told) | actor_metrics | model_metrics
        return state.replace(ring=ring), metrics, self._of_the_data(state, real, mixed, td_error, measure_key)

    def critic_step(
        self, cql: CQLState, ensemble: EnsembleState, batch: MixedBatch, key: jax.Array
    ) -> tuple[CQLState, tuple[Metrics, jax.Array]]:
        """One gradient step of the critics on one minibatch of d_f, and the targets after it: CQL's, or SAC's where c is 0."""
        batch = self.penalised(cql.sac, ensemble, batch, jax.random.fold_in(key, 2))
        if self.config.cql_weight:
            return self.cql.critic_step(cql, (batch, key))
        sac, told = self.sac.critic_step(cql.sac, (batch, key))
        return cql.replace(sac=sac), told

    def _of_the_data(self, state: COMBOState, real: Batch, mixed: MixedBatch, td_error: jax.Array, key: jax.Array) -> jax.Array:
        """|TD error| `[K, B]` of the drawn rows: those in whose places model rows stood are measured here."""
        if self.config.real_share == 1:
            return td_error
        rows = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), real)
        return jnp.where(mixed.from_model, self.td_error(state, rows, key).reshape(td_error.shape), td_error)

    # Acting, the model, and passing the state on.

    def actor_params(self, state: COMBOState) -> Actor:
        return self.cql.actor_params(state.cql)

    def act(
        self, actor: Actor, observation: PyTree, key: jax.Array, carry: PyTree, deterministic: bool = False
    ) -> tuple[jax.Array, PyTree]:
        return self.sac.act(actor, observation, key, carry, deterministic)

    def log_prob(self, actor: Actor, observation: PyTree, action: jax.Array) -> jax.Array:
        return self.sac.log_prob(actor, observation, action)

    def q_values(self, state: COMBOState, observation: PyTree, action: jax.Array) -> jax.Array:
        return self.cql.q_values(state.cql, observation, action)

    def td_error(self, state: COMBOState, batch: Batch, key: jax.Array) -> jax.Array:
        return self.cql.td_error(state.cql, batch, key)

    def predict(self, state: COMBOState, observation: jax.Array, action: jax.Array) -> jax.Array:
        return self.ensemble.predict(state.ensemble, observation, action)

    def model_error(self, state: COMBOState, batch: Batch) -> jax.Array:
        return self.ensemble.error(state.ensemble, flat_rows(batch))

    def hand_over(self, state: COMBOState) -> SACState:
        """SAC's full state, optimizers included; the model and the dual variable stay behind."""
        return self.cql.hand_over(state.cql)

    def take_over(self, state: SACState | WarmStart) -> COMBOState:
        """A state that goes on from SAC's, with a fresh model, to which no statistics are known."""
        cql = self.cql.take_over(state)
        return self._with_model(cql, jax.random.fold_in(cql.sac.key, 1), example(self.spec))

    def _with_model(self, cql: CQLState, key: jax.Array, rows: Transition) -> COMBOState:
        if cameras := ", ".join(leaf.name or "the whole" for leaf in self.spec.cameras):
            raise WarmloopError(f'"combo" learns a model of states, and these observations have images ({cameras}): use cql.')
        ensemble = self.ensemble.init(key, rows, self.config.observation_bound)
        return COMBOState(cql, ensemble, Ring.empty(self.config.model_rows, self.spec.observation_dim, self.spec.action_dim))

    @property
    def _mopo(self) -> float:
        return self.config.penalty_weight if self.config.penalty == "mopo" else 0.0


def evenly(count: int, size: int) -> np.ndarray:
    """`[size]` bool, `count` of them, spread: so both pools' rows, which lie apart in a minibatch, keep their share."""
    place = np.arange(size + 1) * count // size
    return place[1:] > place[:-1]
