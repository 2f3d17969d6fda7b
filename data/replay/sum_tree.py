"""A 16-ary sum tree over priorities, as pure functions inside jit.

Sixteen float32 children are one cache line, so a descent touches one line per level: five for a million leaves.
Wide nodes also make the upper levels so small that rebuilding them whole is cheaper than scattering into them.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

FANOUT = 16
# Levels up to this many nodes are rebuilt by a reduction; larger ones are updated at the touched nodes only.
REBUILD_BELOW = 1 << 14
SLOTS = np.arange(FANOUT, dtype=np.int32)[None]
# Inclusive prefix sums of a node's children, as one small product: [children] @ [16, 16].
PREFIX = np.triu(np.ones((FANOUT, FANOUT), np.float32))


class SumTree(struct.PyTreeNode):
    """Levels from the leaves up; level `i + 1` node `j` is the sum of level `i` nodes `16 j … 16 j + 15`.

    Attributes:
        levels: float32 arrays whose sizes are multiples of 16; the last has 16 nodes.
    """

    levels: tuple[jax.Array, ...]

    @property
    def leaves(self) -> jax.Array:
        """Priorities `[capacity rounded up]`, zero where nothing is stored."""
        return self.levels[0]

    @property
    def total(self) -> jax.Array:
        """Sum of all priorities, `[]`."""
        return self.levels[-1].sum()


def create(capacity: int) -> SumTree:
    """An empty tree over `capacity` leaves."""
    sizes = [_round_up(capacity)]
    while sizes[-1] > FANOUT:
        sizes.append(_round_up(sizes[-1] // FANOUT))
    return SumTree(tuple(jnp.zeros(size, jnp.float32) for size in sizes))


def build(priority: jax.Array) -> SumTree:
    """The tree over the leaves `priority` `[capacity]`, all of them written at once."""
    levels = [_padded(priority)]
    while levels[-1].size > FANOUT:
        levels.append(_padded(levels[-1].reshape(-1, FANOUT).sum(axis=1)))
    return SumTree(tuple(levels))


def write(tree: SumTree, index: jax.Array, priority: jax.Array) -> SumTree:
    """Sets leaves `index` `[n]` to `priority` `[n]`; an index past the end is ignored, of equal indices one wins."""
    levels = [tree.levels[0].at[index].set(priority, mode="drop")]
    node = index
    for above in tree.levels[1:]:
        below = levels[-1].reshape(-1, FANOUT)
        if above.size <= REBUILD_BELOW:
            sums = below.sum(axis=1)
            levels.append(jnp.zeros_like(above).at[: sums.size].set(sums))
        else:
            node = node // FANOUT
            sums = below.at[node].get(mode="clip").sum(axis=1)
            levels.append(above.at[node].set(sums, mode="drop"))
    return SumTree(tuple(levels))


def find(tree: SumTree, mass: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Leaves `[n]` int32 at which the running sum of priorities first exceeds `mass` `[n]`, and their priorities `[n]`.

    Rounding never leads to a leaf of zero priority (unless all are zero, which gives leaf 0).
    """
    node, priority = jnp.zeros(mass.shape, jnp.int32), mass
    for level in reversed(tree.levels):
        children = level.reshape(-1, FANOUT).at[node].get(mode="promise_in_bounds")  # [n, 16]
        running = jnp.dot(children, PREFIX, precision="highest")  # [n, 16]
        # Rounding may lift a running sum across a child of zero, so a child is chosen among the positive ones only.
        positive = children > 0
        first = jnp.where(positive & (running > mass[:, None]), SLOTS, FANOUT).min(axis=1)
        child = jnp.minimum(first, jnp.where(positive, SLOTS, 0).max(axis=1))
        before = jnp.where(child[:, None] > SLOTS, children, 0.0).sum(axis=1)
        mass = mass - before
        priority = jnp.where(child[:, None] == SLOTS, children, 0.0).sum(axis=1)
        node = node * FANOUT + child
    return node, priority


def _padded(nodes: jax.Array) -> jax.Array:
    return jnp.zeros(_round_up(nodes.size), jnp.float32).at[: nodes.size].set(nodes)


def _round_up(count: int) -> int:
    return -(-count // FANOUT) * FANOUT
