"""Several devices for one learner: the state lies on each of them, and every minibatch is divided among them.

An update stays one program. XLA sums the gradients of the parts over the devices, once for each gradient step. The members of a critic
ensemble can be divided instead: then no gradient of theirs is summed, only their minimum or mean is, and every device sees all rows.
Updates are the same to the bit for the same number of devices, and for another number up to rounding.
"""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from ..agents.base import Agent
from ..data.errors import WarmloopError
from ..data.transition import PyTree

AXIS = "devices"
CRITICS = {"critic", "target_critic", "critic_optimizer"}  # fields of agents' states whose leaves are [E, ...] (agents/shared/critics.py)


@dataclasses.dataclass(frozen=True)
class Devices:
    """Where the updates run: on the first `count` devices, which `divide` the "rows" of each minibatch or the critics' "ensemble"."""

    count: int = 1
    divide: str = "rows"

    @property
    def are_several(self) -> bool:
        return self.count > 1

    def everywhere(self, tree: PyTree) -> PyTree:
        """Arrays copied to each of the devices."""
        return jax.device_put(tree, self._sharding())

    def place(self, agent: PyTree) -> PyTree:
        """An agent's state where the updates want it. It is given away: the result may be the same memory."""
        return jax.device_put(agent, self._of(agent))

    def hold(self, state: PyTree, agent: PyTree) -> tuple[PyTree, PyTree]:
        """Within a program: what a learner and its agent know, where `everywhere` and `place` put it."""
        if not self.are_several:
            return state, agent
        return _constrained(state, self._sharding()), _constrained(agent, self._of(agent))

    def divided(self, batch: PyTree) -> PyTree:
        """Within a program: a block `[K, B, ...]` with each device's part of the rows there, where rows are divided."""
        if not self.are_several:
            return batch
        whole = _constrained(batch, self._sharding())  # else the draw is divided, and its order costs messages between devices
        return _constrained(whole, self._sharding(None, AXIS)) if self.divide == "rows" else whole

    def _of(self, agent: PyTree) -> PyTree:
        """The sharding of each leaf of an agent's state."""

        def sharding(path: tuple[Any, ...], leaf: jax.Array) -> NamedSharding:
            is_member = any(getattr(part, "name", None) in CRITICS for part in path) and leaf.ndim > 0
            return self._sharding(AXIS) if is_member and self.divide == "ensemble" else self._sharding()

        return jax.tree_util.tree_map_with_path(sharding, agent)

    def _sharding(self, *axes: str | None) -> NamedSharding:
        return NamedSharding(_mesh(self.count), PartitionSpec(*axes))


def devices_for(agent: Agent, count: int, divide: str) -> Devices:
    """The devices that a learner of `agent` uses; a count of 0 is all that are here.

    Raises:
        WarmloopError: there are not as many, or what they are to divide does not come out even.
    """
    here = jax.local_device_count()
    used = count or here
    if used > here:
        raise WarmloopError(f"learner.devices is {count}, and JAX finds {here} here ({jax.devices()[0].platform}); 0 takes all.")
    name = {"rows": "batch_size", "ensemble": "ensemble"}[divide]
    number = getattr(agent.config, name, None)
    if used == 1:
        return Devices()
    if number is None:
        raise WarmloopError(f'learner.divide is "{divide}", and {type(agent).__name__} has no {name}; set it to "rows".')
    if number % used:
        raise WarmloopError(f"agent.{name} is {number}, which {used} devices (learner.devices) cannot divide; take a multiple of {used}.")
    return Devices(used, divide)


@cache
def _mesh(count: int) -> Mesh:
    return jax.make_mesh((count,), (AXIS,), axis_types=(AxisType.Auto,), devices=jax.local_devices()[:count])


def _constrained(tree: PyTree, sharding: PyTree) -> PyTree:
    return jax.lax.with_sharding_constraint(tree, sharding)
