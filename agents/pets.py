"""PETS: an ensemble of learnt dynamics, and a plan by the cross-entropy method at every step.

    p_e(s', r | s, a),  e = 1 … M                                           (models/ensembles/dynamics.py, models/ensembles/ensemble.py)
    V(a_1…a_H) = mean over particles of Σ_t r_t,  s_{t+1} ~ p_e(· | s_t, a_t)     each particle keeps its member (TS∞)
    a = first action of argmax_{a_1…a_H} V                                  (models/planning/cem.py), from the last plan moved on by a step

The reward is learnt with the dynamics, and so is the end of an episode, behind which a particle earns nothing. Nothing is known of what
lies behind the horizon: where only a success is rewarded, and is further away than H steps, all plans are alike. The search is done where
the policy acts: what it is given is the model. There are no critics; a row's priority is its model error. Source: Chua et al. 2018.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import struct

from ..data.errors import WarmloopError
from ..data.transition import Batch, PyTree, Spec, Transition, flatten_observation
from .base import Metrics, Params, Problem, run_block
from .models.ensembles.dynamics import Dynamics, ModelSettings, Scales, flat_rows
from .models.ensembles.ensemble import Ensemble, EnsembleState
from .models.ensembles.rollouts import OVER
from .models.planning.cem import Plan, PlanSettings, begun, moved_on, search
from .networks.normaliser import BOUND, Normaliser
from .shared.action_chunks import FIXED
from .shared.agent_settings import setting


@dataclasses.dataclass(frozen=True)
class PETSConfig(PlanSettings, ModelSettings):
    """Settings of PETS."""

    hidden: tuple[int, ...] = setting((200,) * 4, "widths of the hidden layers of the model's networks", least=1)
    utd: int = setting(8, "K, gradient steps per update", least=1)
    batch_size: int = setting(64, "B, rows per gradient step", least=1)
    observation_bound: float = setting(
        BOUND, "of the model's normalised inputs, in deviations, towards which they are bent from half of it on; 0 is none", least=0
    )
    plan_particles: int = setting(1, "particles of each elite network that a sequence of actions is valued by", least=1)


class PETSState(struct.PyTreeNode):
    """The model, and the statistics of the observations; `updates` counts minibatches."""

    ensemble: EnsembleState
    normaliser: Normaliser
    key: jax.Array
    updates: jax.Array


class PETSActor(struct.PyTreeNode):
    """What acting needs: the elites' weights `[M, ...]`, and the units that they know."""

    elites: Params
    scales: Scales
    normaliser: Normaliser


@dataclasses.dataclass(frozen=True)
class PETS:
    """The algorithm: settings and shapes. See `agents.base.Agent` for the methods' contracts."""

    config: PETSConfig
    spec: Spec
    problem: Problem = Problem()
    name: ClassVar[str] = "pets"
    searches: ClassVar[bool] = True
    not_exported: ClassVar[str] = (
        "pets searches for a plan at every step, and goes on from the one before, which an exported policy does not keep: act by the "
        "checkpoint, as warmloop-collect --policy=checkpoint:DIR does"
    )

    @property
    def dynamics(self) -> Dynamics:
        return Dynamics(self.config, self.spec, self.config.hidden)

    @property
    def ensemble(self) -> Ensemble:
        return Ensemble(self.dynamics)

    def init(self, key: jax.Array, example: Transition) -> PETSState:
        if cameras := ", ".join(leaf.name or "the whole" for leaf in self.spec.cameras):
            raise WarmloopError(f'"pets" learns a model of states, and these observations have images ({cameras}): use sac.')
        model_key, key = jax.random.split(key)
        ensemble = self.ensemble.init(model_key, example, self.config.observation_bound)
        normaliser = Normaliser.of(example, True, self.config.observation_bound)
        return PETSState(ensemble, normaliser, key, jnp.zeros((), jnp.int32))

    def update(self, state: PETSState, batch: Batch) -> tuple[PETSState, Metrics, jax.Array]:
        key, *keys = jax.random.split(state.key, 1 + batch.reward.shape[0])
        ensemble, (metrics, error) = run_block(self.ensemble.step, state.ensemble, flat_rows(batch), jnp.stack(keys))
        new = state.replace(ensemble=ensemble, key=key, updates=state.updates + batch.reward.shape[0])
        return new, jax.tree.map(jnp.mean, metrics) | {"model/error": error.mean()}, jnp.sqrt(error)

    # Acting.

    def value(self, actor: PETSActor, observation: jax.Array, actions: jax.Array, key: jax.Array) -> jax.Array:
        """V `[N]` of sequences of actions `[N, H, A]` from one observation `[D]`."""
        count, members = actions.shape[0], jax.tree.leaves(actor.elites)[0].shape[0]
        particles = self.config.plan_particles
        lead = (members, particles * count)
        every = jnp.tile(jnp.swapaxes(actions, 0, 1), (1, particles, 1))  # [H, P N, A]

        def step(carry: tuple[jax.Array, ...], inputs: tuple[jax.Array, jax.Array]) -> tuple[tuple[jax.Array, ...], None]:
            state, going, total = carry
            action, key = inputs
            prediction = self.dynamics.predict(actor.elites, actor.scales, state, jnp.broadcast_to(action, (*lead, action.shape[-1])))
            state, reward = self.dynamics.sample(prediction, actor.scales, key)
            return (state, going * (prediction.ends <= OVER), total + going * reward), None

        start = jnp.broadcast_to(observation, (*lead, observation.shape[-1]))
        begin = start, jnp.ones(lead), jnp.zeros(lead)
        (_, _, total), _ = jax.lax.scan(step, begin, (every, jax.random.split(key, every.shape[0])))
        return total.reshape(members * particles, count).mean(axis=0)

    def actor_params(self, state: PETSState) -> PETSActor:
        return PETSActor(self.ensemble.elite(state.ensemble), state.ensemble.scales, state.normaliser)

    def act(
        self, actor: PETSActor, observation: PyTree, key: jax.Array, carry: PyTree, deterministic: bool = False
    ) -> tuple[jax.Array, Plan]:
        flat = flatten_observation(observation)
        begin = begun(carry, self.config.plan_horizon, self.spec.action_dim)
        key = jax.random.key(FIXED) if deterministic else key
        mean, _ = search(lambda actions, key: self.value(actor, flat, actions, key), begin, key, self.config)
        return mean[0], moved_on(mean)

    # The model.

    def predict(self, state: PETSState, observation: jax.Array, action: jax.Array) -> jax.Array:
        return self.ensemble.predict(state.ensemble, observation, action)

    def model_error(self, state: PETSState, batch: Batch) -> jax.Array:
        return self.ensemble.error(state.ensemble, flat_rows(batch))
