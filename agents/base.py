"""The agent protocol: an algorithm is a frozen description, its state a PyTree of arrays."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

import jax

from ..data.transition import Batch, PyTree, Spec, Transition

Metrics = dict[str, jax.Array]


class Agent(Protocol):
    """What the learner and the actor ask of an algorithm. Implementations are frozen, hashable dataclasses."""

    name: ClassVar[str]

    @property
    def config(self) -> Any: ...

    @property
    def spec(self) -> Spec: ...

    def init(self, key: jax.Array, example: Transition) -> PyTree:
        """A fresh state. `example` `[N]` gives the shapes, and the statistics of an observation normaliser."""
        ...

    def update(self, state: PyTree, batch: Batch) -> tuple[PyTree, Metrics, jax.Array]:
        """One UTD block of `[K, B]` rows: the new state, scalar metrics, and |TD error| `[K, B]`."""
        ...

    def actor_params(self, state: PyTree) -> PyTree:
        """What acting needs, and what goes over the wire: no critics, no optimizer."""
        ...

    def act(
        self, actor: PyTree, observation: PyTree, key: jax.Array, carry: PyTree, deterministic: bool = False
    ) -> tuple[jax.Array, PyTree]:
        """Action `[A]` for one observation, and the next carry (`()` unless recurrent)."""
        ...

    def hand_over(self, state: PyTree) -> PyTree:
        """The state as `sac` knows it, optimizers included, for the agent that goes on after the warm-up."""
        ...

    def take_over(self, state: PyTree) -> PyTree:
        """This agent's state from what another one handed over."""
        ...
