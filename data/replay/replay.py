"""Prioritized replay on the learner's device: a ring of rows and a sum tree, as pure functions over one PyTree.

Sampling weight of row i (Schaul et al. 2016, with a quality factor): `p_i = q_i (|δ_i| + ε)^α`. A row's *serial* is
its number since the pool began, so a serial also says whether the row has been overwritten since it was drawn.
"""

from __future__ import annotations

import dataclasses
import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from ..errors import WarmloopError
from ..transition import Spec, Transition, example
from . import sum_tree, windows
from .packing import column_of, pack, unpack
from .windows import NONE, ROW, Window

# A slot past the end of every array, so that a scatter drops the write. (The capacity itself is not: the tree is padded.)
NOWHERE = 1 << 30


@dataclasses.dataclass(frozen=True)
class ReplayConfig:
    """Settings of one pool.

    Attributes:
        capacity: rows in the ring.
        alpha: exponent on |δ| + ε; 0 draws by quality alone.
        epsilon: added to |δ|.
        beta: importance exponent at the start; reaches 1 after `beta_updates` updates.
        beta_updates: gradient updates over which beta grows to 1.
        quality_in: "sampling" (rows drawn by quality) or "loss" (quality multiplies the losses). Either way it compares rows of one
            pool: how much the offline pool counts against the online one is for `mixing` to say.
        intervention_rows: room in the fine-tuning's offline pool for rows on which a human intervened; they are never overwritten. Where
            `mixing` draws offline rows alone, there is room for one at every online step at least. A run that is resumed keeps its room.
    """

    capacity: int = 200_000
    alpha: float = 0.6
    epsilon: float = 1e-6
    beta: float = 0.4
    beta_updates: int = 100_000
    quality_in: str = "sampling"
    intervention_rows: int = 5_000

    def __post_init__(self):
        if self.quality_in not in ("sampling", "loss"):
            raise WarmloopError(f'replay.quality_in is "{self.quality_in}"; it must be "sampling" or "loss".')
        if self.capacity < 1:
            raise WarmloopError(f"replay.capacity is {self.capacity}; it must be at least 1.")
        for name in ("alpha", "epsilon", "beta_updates", "intervention_rows"):
            if not 0 <= getattr(self, name) < math.inf:
                raise WarmloopError(f"replay.{name} is {getattr(self, name)}; it must be 0 or more.")
        if not 0 <= self.beta <= 1:
            raise WarmloopError(f"replay.beta is {self.beta}; it must lie in [0, 1].")


class ReplayState(struct.PyTreeNode):
    """One pool.

    Attributes:
        words: the ring, one row of 32-bit words for each of its rows.
        quality: `[capacity]` the rows' quality as sampling sees it.
        tree: priorities `p_i`, one leaf per slot.
        inserted: `[]` int32, rows ever inserted; row `n` lies in slot `n % capacity`.
        max_urgency: `[]` the largest urgency seen; new rows enter with it.
        quality_sum: `[]` sum of the stored rows' sampling quality.
        following: `[capacity]` int32, the serial of the row that follows each in its episode, -1 for none (yet); () where the pool is not
            linked, since rows alone are drawn (`windows.py`).
    """

    words: jax.Array
    quality: jax.Array
    tree: sum_tree.SumTree
    inserted: jax.Array
    max_urgency: jax.Array
    quality_sum: jax.Array
    spec: Spec = struct.field(pytree_node=False)
    following: Any = ()

    @property
    def capacity(self) -> int:
        """Rows that fit."""
        return self.quality.shape[0]

    @property
    def is_linked(self) -> bool:
        """Whether windows can be drawn."""
        return not isinstance(self.following, tuple)

    @property
    def urgency(self) -> jax.Array:
        """`[capacity]` `(|δ_i| + ε)^α`, by which rows are drawn beside their quality; 0 where the quality is."""
        return self.tree.leaves[: self.capacity] / jnp.maximum(self.quality, 1e-30)

    @property
    def rows(self) -> Transition:
        """The whole ring as transitions, leaves `[capacity, ...]`."""
        return unpack(self.words, self.spec)

    @property
    def size(self) -> jax.Array:
        """Rows stored, `[]` int32."""
        return jnp.minimum(self.inserted, self.capacity)


def create(spec: Spec, config: ReplayConfig, capacity: int | None = None, linked: bool = False) -> ReplayState:
    """An empty pool of `capacity` (default: the config's) rows of the spec's shapes; `linked` for windows."""
    capacity = config.capacity if capacity is None else capacity
    return ReplayState(
        words=jnp.zeros((capacity, jax.eval_shape(pack, example(spec)).shape[1]), jnp.int32),
        quality=jnp.zeros(capacity, jnp.float32),
        tree=sum_tree.create(capacity),
        inserted=jnp.zeros((), jnp.int32),
        max_urgency=jnp.ones((), jnp.float32),
        quality_sum=jnp.zeros((), jnp.float32),
        spec=spec,
        following=jnp.full(capacity, NONE, jnp.int32) if linked else (),
    )


@partial(jax.jit, static_argnames="config", donate_argnums=0)
def insert(state: ReplayState, rows: Transition, count: jax.Array, config: ReplayConfig) -> ReplayState:
    """Appends the first `count` of `rows` `[n]`, overwriting the oldest; n ≤ capacity, count may vary without recompiling."""
    n = rows.reward.shape[0]
    order = jnp.arange(n)
    slot = jnp.where(order < count, (state.inserted + order) % state.capacity, NOWHERE)
    new_quality = rows.quality if config.quality_in == "sampling" else jnp.ones_like(rows.quality)
    quality = state.quality.at[slot].set(new_quality, mode="drop")
    return state.replace(
        following=state.following.at[slot].set(NONE, mode="drop") if state.is_linked else (),
        words=state.words.at[slot].set(pack(rows), mode="drop"),
        quality=quality,
        tree=sum_tree.write(state.tree, slot, new_quality * state.max_urgency),
        inserted=state.inserted + count,
        quality_sum=quality.sum(),
    )


def draw(
    state: ReplayState, key: jax.Array, n: int, config: ReplayConfig, beta: jax.Array, count: jax.Array | None = None
) -> tuple[Transition, jax.Array, jax.Array]:
    """`n` rows drawn by priority: `(rows [n], serials [n], importance weights [n])`.

    Draws are stratified: the first `count` (default n) strata cover the whole pool; what follows them is filler for a
    caller that needs fewer rows than the static `n`. Weights are `((Σ p / Σ q) / (|δ_i| + ε)^α)^β`, not yet normalised.
    From an empty pool every row is slot 0; the caller must not use it.
    """
    return draw_at(state, jax.random.uniform(key, (n,)), beta, n if count is None else count)


def draw_at(
    state: ReplayState, jitter: jax.Array, beta: jax.Array, count: jax.Array | int, window: Window = ROW
) -> tuple[Transition, jax.Array, jax.Array]:
    """As `draw`, where `jitter` `[n]` in [0, 1) says at which place of its stratum each draw falls, and windows may begin at the rows."""
    slot, priority = draw_slots(state, jitter, count)
    rows = windows.take(state, slot, window)
    mean_urgency = state.tree.total / jnp.maximum(state.quality_sum, 1e-30)
    # By the priority that the descent met, not by a second look at the leaves: one that is not ordered before the write of new
    # priorities makes XLA copy them all.
    urgency = priority / jnp.maximum(state.quality.at[slot].get(mode="promise_in_bounds"), 1e-30)
    weights = jnp.power(mean_urgency / jnp.maximum(urgency, 1e-30), beta)
    return rows, serial_of(state, slot), weights


def draw_slots(state: ReplayState, jitter: jax.Array, count: jax.Array | int) -> tuple[jax.Array, jax.Array]:
    """Slots `[n]` int32 of a stratified draw by priority over `count` strata, in increasing order of mass; and their priorities."""
    stratum = jnp.arange(jitter.size) % jnp.maximum(count, 1)
    mass = (stratum + jitter) / jnp.maximum(count, 1) * state.tree.total
    slot, priority = sum_tree.find(state.tree, mass)
    return jnp.minimum(slot, state.capacity - 1), priority


def serial_of(state: ReplayState, slot: jax.Array) -> jax.Array:
    """The serial of the row that lies in each slot now."""
    newest = state.inserted - 1
    return newest - (newest - slot) % state.capacity


def update_priorities(
    state: ReplayState, serials: jax.Array, td_error: jax.Array, config: ReplayConfig, used: jax.Array | None = None
) -> ReplayState:
    """Sets the priorities of rows `serials` `[n]` from their |δ| `[n]`; rows overwritten since, or not `used`, are left alone."""
    alive = (serials >= state.inserted - state.capacity) & (serials >= 0) & (serials < state.inserted)
    if used is not None:
        alive &= used
    slot = jnp.where(alive, serials % state.capacity, NOWHERE)
    urgency = jnp.power(jnp.abs(td_error) + config.epsilon, config.alpha)
    quality = state.quality.at[slot].get(mode="clip")
    return state.replace(
        tree=sum_tree.write(state.tree, slot, quality * urgency),
        max_urgency=jnp.maximum(state.max_urgency, jnp.where(alive, urgency, 0.0).max()),
    )


@partial(jax.jit, donate_argnums=0)
def set_returns(state: ReplayState, serials: jax.Array, mc_return: jax.Array) -> ReplayState:
    """Writes the Monte-Carlo returns `[n]` of rows `serials` `[n]`, known once their episode ended; serial -1 is skipped."""
    alive = (serials >= state.inserted - state.capacity) & (serials >= 0)
    slot = jnp.where(alive, serials % state.capacity, NOWHERE)
    column = column_of(state.spec, "mc_return")
    words = state.words.at[slot, column].set(jax.lax.bitcast_convert_type(mc_return, jnp.int32), mode="drop")
    return state.replace(words=words)


@partial(jax.jit, donate_argnums=0)
def link(state: ReplayState, serials: jax.Array, following: jax.Array) -> ReplayState:
    """Notes that rows `following` `[n]` follow rows `serials` `[n]` in their episodes; serial -1, and overwritten rows, are skipped."""
    alive = (serials >= state.inserted - state.capacity) & (serials >= 0)
    slot = jnp.where(alive, serials % state.capacity, NOWHERE)
    return state.replace(following=state.following.at[slot].set(following, mode="drop"))


@partial(jax.jit, donate_argnums=0)
def retire(state: ReplayState, serials: jax.Array) -> ReplayState:
    """The pool with the rows of serials `[n]` never drawn again; -1, and rows that are overwritten, are skipped."""
    alive = (serials >= state.inserted - state.capacity) & (serials >= 0)
    slot = jnp.where(alive, serials % state.capacity, NOWHERE)
    quality = state.quality.at[slot].set(0.0, mode="drop")
    tree = sum_tree.write(state.tree, slot, jnp.zeros(slot.shape))
    return state.replace(quality=quality, quality_sum=quality.sum(), tree=tree)


@partial(jax.jit, donate_argnums=0)
def forget_priorities(state: ReplayState) -> ReplayState:
    """The pool with all rows drawn by their quality alone, as if new: what their priorities came from is not to be believed."""
    return state.replace(tree=sum_tree.build(state.quality), max_urgency=jnp.ones_like(state.max_urgency), quality_sum=state.quality.sum())


def beta_at(config: ReplayConfig, updates: jax.Array) -> jax.Array:
    """The importance exponent after `updates` gradient updates."""
    return config.beta + (1.0 - config.beta) * jnp.minimum(updates / max(config.beta_updates, 1), 1.0)
