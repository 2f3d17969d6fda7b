"""Learning the ensemble from the rows of an agent's minibatches, offline until it no longer improves, and online without end.

A row's episode and step, the same at every draw, say what the row is for. Of ten stretches of 50 steps one is held out from all members,
since neighbouring rows are nearly copies. Of the others each member takes every row k times, k ~ Poisson(1) by a hash, which is its own
bootstrap of the data. So nothing needs to be stored, and the same holds in a pool, in a resumed run and for rows that come later.

At every look the held-out loss of what a member has learnt is compared with that of its best weights, on the same rows: it takes their
place where it is less by 0.01. (The squared error, by which others judge, says nothing of the variance, which is learnt for longer.)
Where no member improved in `model_patience` looks the learning ends, at the best weights. Once there are online rows it goes on, and
every look keeps what was trained: rows that were held out before say nothing of states that are new. The members that predict are the
elites, those of the least held-out loss.

Sources: PETS (Chua et al. 2018), MBPO (Janner et al. 2019, app. A). Bootstrap by weights: Oza and Russell 2001.
"""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp
import optax
from flax import struct

from ....data.transition import Batch, Transition
from ...base import Metrics, Params
from ...networks.networks import initialise
from .dynamics import Dynamics, Scales

STRETCH = 50  # steps of an episode that are held out, or not, together
IMPROVEMENT = 0.01  # of the held-out loss, that counts as one
PARTS = (2654435769, 3242174889)  # the golden and the plastic ratio's inverses, of 2³²
POISSON = tuple(math.exp(-1.0) * sum(1.0 / math.factorial(k) for k in range(most + 1)) for most in range(8))


class EnsembleState(struct.PyTreeNode):
    """Everything that the ensemble learns. Leaves of `params`, `best` and their losses are `[M, ...]`.

    Attributes:
        params, best: what is trained, and the weights of the least held-out loss so far.
        loss: held-out loss of `best`.
        elites: `[elites]` int32, the members that predict, the best one first.
        trained_sum, best_sum, held: sums of held-out losses since the last look, and of the rows' weights.
        stale: looks since a member improved.
        updates: minibatches seen.
    """

    params: Params
    best: Params
    optimizer: optax.OptState
    scales: Scales
    loss: jax.Array
    elites: jax.Array
    trained_sum: jax.Array
    best_sum: jax.Array
    held: jax.Array
    stale: jax.Array
    updates: jax.Array


@dataclasses.dataclass(frozen=True)
class Ensemble:
    """The learning of the dynamics that the settings want. Rows are flat: their observations `[B, D]`."""

    dynamics: Dynamics

    @property
    def optimizer(self) -> optax.GradientTransformation:
        return optax.adam(self.dynamics.config.model_lr)

    def init(self, key: jax.Array, rows: Transition, bound: float) -> EnsembleState:
        """A fresh state; `rows` `[N]` give the statistics, and inputs are bent beyond half of `bound` deviations."""
        config, spec = self.dynamics.config, self.dynamics.spec
        members = config.model_members
        params = initialise(self.dynamics.module(members), key, jnp.zeros((1, spec.observation_dim + spec.action_dim)))
        zeros = [jnp.zeros(members) for _ in range(3)]  # a buffer each, since the state is donated
        return EnsembleState(
            params=params,
            best=jax.tree.map(jnp.copy, params),
            optimizer=self.optimizer.init(params),
            scales=Scales.of(rows, bound),
            loss=zeros[0],
            elites=jnp.arange(config.model_elites, dtype=jnp.int32),
            trained_sum=zeros[1],
            best_sum=zeros[2],
            held=jnp.zeros(()),
            stale=jnp.zeros((), jnp.int32),
            updates=jnp.zeros((), jnp.int32),
        )

    def learns(self, state: EnsembleState) -> jax.Array:
        """`[]` bool, whether offline rows still improve it."""
        return state.stale < self.dynamics.config.model_patience

    def step(self, state: EnsembleState, inputs: tuple[Batch, jax.Array]) -> tuple[EnsembleState, tuple[Metrics, jax.Array]]:
        """One gradient step of every member on one minibatch `[B]`, unless the learning is over, and a look where one is due; the key is
        not used. The new state, metrics, and the members' mean squared error of each row, 0 where nothing is learnt any more."""
        batch, _ = inputs
        goes_on = self.learns(state) | jnp.any(~batch.offline)
        state, error = jax.lax.cond(goes_on, self._learn, lambda state, batch: (state, jnp.zeros_like(batch.reward)), state, batch)
        told = {"model/heldout_loss": state.loss[state.elites].mean(), "model/learns": goes_on.astype(jnp.float32)}
        return state.replace(updates=state.updates + 1), (told, error)

    def _learn(self, state: EnsembleState, batch: Batch) -> tuple[EnsembleState, jax.Array]:
        config, scales = self.dynamics.config, state.scales
        held = is_held_out(batch.episode, batch.step, config.model_held_out)
        weight = jnp.where(held, 0.0, batch.weight)[None] * bootstrap(config.model_members, batch.episode, batch.step)
        gradient, (loss, squared) = jax.grad(self.dynamics.loss, has_aux=True)(state.params, scales, batch, weight)
        change, optimizer = self.optimizer.update(gradient, state.optimizer, state.params)
        watched, place = self._held_rows(batch, held)
        best, _ = self.dynamics.errors(state.best, scales, watched)
        state = state.replace(
            trained_sum=state.trained_sum + (loss[:, place] * watched.weight[None]).sum(axis=-1),
            best_sum=state.best_sum + (best * watched.weight[None]).sum(axis=-1),
            held=state.held + watched.weight.sum(),
            params=optax.apply_updates(state.params, change),
            optimizer=optimizer,
        )
        due, online = (state.updates + 1) % config.model_check == 0, jnp.any(~batch.offline)
        return jax.lax.cond(due, self._look, lambda state, _: state, state, online), squared.mean(axis=0)

    def _held_rows(self, batch: Batch, held: jax.Array) -> tuple[Batch, jax.Array]:
        """About as many rows of a minibatch as are held out, these first; others have the weight 0. And where they are in it."""
        count = min(math.ceil(2 * held.shape[0] / self.dynamics.config.model_held_out), held.shape[0])
        place = jnp.argsort(~held, stable=True)[:count]
        return jax.tree.map(lambda leaf: leaf[place], batch).replace(weight=held[place].astype(jnp.float32)), place

    def _look(self, state: EnsembleState, online: jax.Array) -> EnsembleState:
        """Keeps what has improved, and counts a look without any. Where no row is held out nothing is known; then, and where rows are
        `online`, all that was trained is kept."""
        rows, known = jnp.maximum(state.held, 1.0), state.held > 0
        trained, best = state.trained_sum / rows, state.best_sum / rows
        improved = known & (trained < best - IMPROVEMENT)  # [M]
        taken = improved | ~known | online
        loss = jnp.where(taken, trained, best)
        stale = jnp.where(improved.any() | ~known, 0, state.stale + 1)
        over = (stale >= self.dynamics.config.model_patience) & ~online

        def of_each(chosen: jax.Array, new: Params, old: Params) -> Params:
            return jax.tree.map(lambda x, y: jnp.where(chosen.reshape(-1, *(1,) * (x.ndim - 1)), x, y), new, old)

        kept = of_each(taken, state.params, state.best)
        return state.replace(
            best=kept,
            params=jax.tree.map(lambda x, y: jnp.where(over, x, y), kept, state.params),
            loss=jnp.where(known, loss, state.loss),
            elites=jnp.argsort(loss)[: self.dynamics.config.model_elites].astype(jnp.int32),
            trained_sum=jnp.zeros_like(trained),
            best_sum=jnp.zeros_like(best),
            held=jnp.zeros(()),
            stale=stale,
        )

    def elite(self, state: EnsembleState) -> Params:
        """The weights of the members that predict, `[elites, ...]`."""
        return jax.tree.map(lambda leaf: leaf[state.elites], state.best)

    def error(self, state: EnsembleState, batch: Batch) -> jax.Array:
        """Squared error `[B]` of the elites' mean prediction, in units of the targets' deviation."""
        mean, _, _ = self.dynamics.heads(self.elite(state), state.scales, batch.observation, batch.action)
        return jnp.square(mean.mean(axis=0) - self.dynamics.target(state.scales, batch)).mean(axis=-1)

    def predict(self, state: EnsembleState, observation: jax.Array, action: jax.Array) -> jax.Array:
        """Next states `[elites, B, D]` by the mean of each elite, from `[B, D]`, or each from its own `[elites, B, D]`."""
        action = action if observation.ndim == 2 else jnp.broadcast_to(action, (*observation.shape[:-1], action.shape[-1]))
        return self.dynamics.predict(self.elite(state), state.scales, observation, action).state


def is_held_out(episode: jax.Array, step: jax.Array, among: int) -> jax.Array:
    """Whether rows `[...]` are held out: one of `among` stretches, spread evenly over few of them too (a Weyl sequence of two irrationals,
    in 32 bits)."""
    numbers = (
        jnp.asarray(each).astype(jnp.uint32) * jnp.uint32(part) for each, part in zip((episode, step // STRETCH), PARTS, strict=True)
    )
    return sum(numbers, jnp.uint32(1 << 31)) < jnp.uint32((1 << 32) // among)


def bootstrap(members: int, episode: jax.Array, step: jax.Array) -> jax.Array:
    """How often each member's bootstrap has the rows `[B]`: `[M, B]`, Poisson(1), the same at every draw."""
    member = jnp.arange(2, members + 2)[:, None]
    chance = hashed(member, episode[None], step[None]).astype(jnp.float32) / 2.0**32
    return (chance[..., None] > jnp.asarray(POISSON)[None, None]).sum(axis=-1).astype(jnp.float32)


def hashed(*numbers: jax.Array | int) -> jax.Array:
    """A uint32 of whole numbers that are broadcast against each other: MurmurHash3's finaliser (Appleby 2011), over each in turn."""
    found = jnp.uint32(0x9E3779B9)
    for number in numbers:
        found = (found ^ jnp.asarray(number).astype(jnp.uint32)) * jnp.uint32(0x85EBCA6B)
        found = (found ^ (found >> 13)) * jnp.uint32(0xC2B2AE35)
        found ^= found >> 16
    return found
