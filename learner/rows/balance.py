"""Equal shares of the batches for every task online, however many rows each has.

A row's quality is multiplied by its task's factor. All rows of the pool carry the same factors at any time: those that gave every
task the same mass when they were last set, and they are set again, for the whole pool, once one of them is off by more than
`TOLERANCE`. So the shares stay right while episodes get shorter, tasks come and go, and the ring turns. The factors follow
from the pool's rows alone; a checkpoint keeps the masses that they were made from.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from ...data.replay import sum_tree
from ...data.replay.packing import column_of
from ...data.replay.replay import ReplayConfig, ReplayState
from ...data.tasks import TaskConfig, shares
from ...data.transition import Transition

TOLERANCE = 0.05
UNITS = np.float64(2**20)


class Balance:
    """The tasks and the qualities of the rows of a pool of `capacity`.

    A mass is a sum of qualities in units of 2⁻²⁰: whole numbers, so that it is the same in whatever order rows came and went.

    Attributes:
        basis: `[tasks]` float64, the masses that the factors were made from.
        factors: `[tasks]` float32, by which the quality of each task's rows is multiplied.
    """

    def __init__(self, tasks: TaskConfig, config: ReplayConfig, capacity: int):
        self.tasks, self.config = tasks, config
        self.basis, self.factors = np.zeros(len(tasks)), np.ones(len(tasks), np.float32)
        self._task = np.zeros(capacity, np.int32)
        self._quality = np.zeros(capacity, np.float32)  # without the factor; 0 for no row
        self._mass = np.zeros(len(tasks))

    def weigh(self, rows: Transition, first: int) -> Transition:
        """Rows `[n]` (n ≤ capacity), of serials from `first` on, with the factors in force on their quality."""
        task = self.tasks.numbers(rows.observation)
        slots = (first + np.arange(len(task))) % len(self._task)
        self._mass -= self._sums(slots)
        self._task[slots], self._quality[slots] = task, rows.quality
        self._mass += self._sums(slots)
        return rows.replace(quality=rows.quality * self.factors[task])

    def forget(self, serials: np.ndarray) -> None:
        """The rows of these serials, all of them in the pool, are not drawn any more."""
        slots = np.unique(serials % len(self._task))
        self._mass -= self._sums(slots)
        self._quality[slots] = 0.0

    def settle(self, pool: ReplayState) -> ReplayState:
        """The pool, with all factors set anew where one is off by too much."""
        wanted = shares(self._mass)
        off = np.abs(self.factors - wanted) > TOLERANCE * wanted
        return self.restore(pool, self._mass) if off.any() else pool

    def restore(self, pool: ReplayState, basis: Sequence[float] | np.ndarray) -> ReplayState:
        """The pool with all its rows under the factors that follow from `basis`."""
        self.basis = np.array(basis, np.float64)
        self.factors = shares(self.basis).astype(np.float32)
        return _reweigh(pool, self._quality * self.factors[self._task], self.config)

    def _sums(self, slots: np.ndarray) -> np.ndarray:
        return np.bincount(self._task[slots], weights=np.rint(self._quality[slots] * UNITS), minlength=len(self.basis))


@partial(jax.jit, static_argnames="config", donate_argnums=0)
def _reweigh(pool: ReplayState, quality: jax.Array, config: ReplayConfig) -> ReplayState:
    """The pool with another quality `[capacity]`, its rows' urgency being what it was."""
    column = column_of(pool.spec, "quality")
    words = pool.words.at[:, column].set(jax.lax.bitcast_convert_type(quality, jnp.int32))
    pool = pool.replace(words=words)
    if config.quality_in == "loss":  # rows are drawn whatever their quality
        return pool
    return pool.replace(quality=quality, quality_sum=quality.sum(), tree=sum_tree.build(pool.urgency * quality))
