"""Mixed batches: every minibatch of a UTD block holds the same offline share, and that share decays (RLPD, Ball et al. 2023).

`ratio(t) = max(min_ratio, initial_ratio · decay^t)`, where t counts updates since the warm-up began. The share enters the
compiled step as a number, so nothing recompiles as it decays.

The share of rows is the share of the gradient: importance and quality weights have mean 1 over each pool's rows of a minibatch, and
`WEIGHT_LIMIT` is the most that one row weighs. Divided by each pool's maximum instead (Schaul et al. 2016), a pool with a few small
priorities would count for a fraction of its rows.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from .errors import WarmloopError
from .replay import replay
from .replay.replay import ReplayConfig, ReplayState
from .replay.windows import ROW, Stretch, Window
from .transition import Batch, Transition

WEIGHT_LIMIT = 10.0  # most that one row counts, in rows of its pool


@dataclasses.dataclass(frozen=True)
class MixingConfig:
    """The schedule of the offline share.

    Attributes:
        initial_ratio: share of offline rows at t = 0.
        decay: factor per update.
        min_ratio: the share it decays to.
        pooled: the share is that of the offline rows among all rows instead, as if both pools were one data set.
    """

    initial_ratio: float = 1.0
    decay: float = 0.999
    min_ratio: float = 0.5
    pooled: bool = False

    def __post_init__(self):
        for name in ("initial_ratio", "decay", "min_ratio"):
            if not 0 <= getattr(self, name) <= 1:
                raise WarmloopError(f"mixing.{name} is {getattr(self, name)}; it must lie in [0, 1].")

    @property
    def draws_online(self) -> bool:
        """Whether the share is ever below 1, so that online rows are drawn beside offline ones."""
        return self.pooled or (self.min_ratio < 1 and (self.initial_ratio < 1 or self.decay < 1))

    def ratio(self, updates: jax.Array, offline_size: jax.Array | int = 1, online_size: jax.Array | int = 1) -> jax.Array:
        """The offline share `[]` after `updates` updates, from pools of so many rows."""
        if self.pooled:
            return jnp.asarray(offline_size / jnp.maximum(offline_size + online_size, 1), jnp.float32)
        decayed = self.initial_ratio * jnp.power(self.decay, jnp.asarray(updates, jnp.float32))
        return jnp.maximum(self.min_ratio, decayed)


class StretchBatch(Batch):
    """A minibatch of chunks or sequences (`replay/windows.py`), with `valid` `[B, T]` bool.

    Of sequences all that a row has is `[B, T, ...]`; `weight`, `actor_weight` and `offline` are of the window, `[B]`.
    """

    valid: jax.Array


class Drawn(struct.PyTreeNode):
    """Where a block's rows came from, for writing their priorities back. Serials `[K, B]`, `offline [B]` bool."""

    offline_serials: jax.Array
    online_serials: jax.Array
    offline: jax.Array


@dataclasses.dataclass(frozen=True)
class BlockShape:
    """What a block is made of: K = `utd` minibatches of B = `batch_size` rows, or windows of rows, each."""

    utd: int
    batch_size: int
    window: Window = ROW


class Annealed(NamedTuple):
    """What changes as training goes on, `[]` each: the offline share of a minibatch, and β, the exponent of the importance weights."""

    ratio: jax.Array
    beta: jax.Array


def offline_rows(ratio: jax.Array, batch_size: int, offline_size: jax.Array, online_size: jax.Array) -> jax.Array:
    """Offline rows per minibatch, `[]` int32: `round(ratio · B)`; all of them while the online pool is empty, none
    while the offline pool is."""
    wanted = jnp.round(ratio * batch_size).astype(jnp.int32)
    return jnp.where(online_size == 0, batch_size, jnp.where(offline_size == 0, 0, wanted))


def draw_mixed(
    offline: ReplayState,
    online: ReplayState,
    key: jax.Array,
    block: BlockShape,
    annealed: Annealed,
    config: ReplayConfig,
) -> tuple[Batch, Drawn]:
    """A block of K minibatches of B rows or windows, each with the same number of offline ones, first in the batch.

    Both pools are drawn stratified over the whole block, and consecutive draws go to different minibatches, so that each
    minibatch covers its pool evenly. Weights are as `unit_weights` makes them, within minibatch and pool.
    """
    utd, batch_size = block.utd, block.batch_size
    count = offline_rows(annealed.ratio, batch_size, offline.size, online.size)
    is_offline = jnp.arange(batch_size) < count  # [B]

    def from_pool(pool, jitter, rows_per_batch):
        drawn = replay.draw_at(pool, jitter, annealed.beta, utd * rows_per_batch, block.window)
        return jax.tree.map(lambda x: _deal(x, utd, batch_size), drawn)

    jitter = jax.random.uniform(key, (2, utd * batch_size))
    off_rows, off_serials, off_weights = from_pool(offline, jitter[0], count)
    # The used rows are the first of each deal; turned round, the online ones fill the batch from its end.
    from_online = from_pool(online, jitter[1], batch_size - count)
    on_rows, on_serials, on_weights = jax.tree.map(lambda x: jnp.flip(x, axis=1), from_online)
    rows = jax.tree.map(lambda a, b: jnp.where(_align(is_offline, a), a, b), off_rows, on_rows)
    importance = jnp.where(is_offline[None], off_weights, on_weights)
    batch = _as_batch(rows, importance, is_offline, config)
    return batch, Drawn(off_serials, on_serials, is_offline)


def write_priorities(
    offline: ReplayState, online: ReplayState, drawn: Drawn, td_error: jax.Array, config: ReplayConfig
) -> tuple[ReplayState, ReplayState]:
    """Both pools with the priorities of a block's rows set from its |δ| `[K, B]`."""
    is_offline = jnp.broadcast_to(drawn.offline, td_error.shape).ravel()
    error = td_error.ravel()
    return (
        replay.update_priorities(offline, drawn.offline_serials.ravel(), error, config, is_offline),
        replay.update_priorities(online, drawn.online_serials.ravel(), error, config, ~is_offline),
    )


def unit_weights(weights: jax.Array, is_offline: jax.Array) -> jax.Array:
    """Weights `[K, B]` scaled to mean 1 over each pool's rows of each minibatch, none above `WEIGHT_LIMIT`.

    What the limit takes from a row is spread over the other rows of its pool, in proportion to what each is below the limit. Rows of
    weight 0 keep it; where all others at the limit do not reach the mean of 1, the limit holds.
    """

    def of_pool(used: jax.Array) -> jax.Array:
        def mean(x: jax.Array) -> jax.Array:
            return jnp.sum(x, axis=1, keepdims=True, where=used[None]) / jnp.maximum(used.sum(), 1)

        scaled = jnp.minimum(weights / jnp.maximum(mean(weights), 1e-30), WEIGHT_LIMIT)
        room = jnp.where(weights > 0, WEIGHT_LIMIT - scaled, 0.0)
        return scaled + room * jnp.clip((1.0 - mean(scaled)) / jnp.maximum(mean(room), 1e-30), 0.0, 1.0)

    return jnp.where(is_offline[None], of_pool(is_offline), of_pool(~is_offline))


def _as_batch(rows: Transition, importance: jax.Array, is_offline: jax.Array, config: ReplayConfig) -> Batch:
    weight, actor_weight = unit_weights(importance, is_offline), jnp.ones_like(importance)
    if config.quality_in == "loss":
        quality = rows.quality if rows.quality.ndim == importance.ndim else rows.quality[..., 0]  # of a sequence the first row's
        weight, actor_weight = unit_weights(importance * quality, is_offline), unit_weights(quality, is_offline)
    fields = {name: getattr(rows, name) for name in rows.__dataclass_fields__}
    kind = StretchBatch if isinstance(rows, Stretch) else Batch
    return kind(**fields, weight=weight, actor_weight=actor_weight, offline=jnp.broadcast_to(is_offline, importance.shape))


def _deal(x: jax.Array, utd: int, batch_size: int) -> jax.Array:
    """`[K·B, ...]` dealt like cards: draw i goes to minibatch `i % K`, position `i // K`; `[K, B, ...]`."""
    return jnp.swapaxes(x.reshape(batch_size, utd, *x.shape[1:]), 0, 1)


def _align(mask: jax.Array, like: jax.Array) -> jax.Array:
    return mask.reshape(1, -1, *(1,) * (like.ndim - 2))
