"""The agent protocol: an algorithm is a frozen description, its state a PyTree of arrays."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, ClassVar, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from flax import struct

from ..data.errors import WarmloopError
from ..data.replay.windows import Window
from ..data.transition import Array, Batch, PyTree, Spec, Transition
from .networks.normaliser import Normaliser, bounded

Metrics = dict[str, jax.Array]
Params = Any


@dataclasses.dataclass(frozen=True)
class Problem:
    """What an algorithm is told of its task and its run, beside the shapes.

    Attributes:
        discount: γ.
        return_low, return_high: the least and the greatest discounted return to go that the reward allows.
        warmup_updates: gradient steps of the offline phase that the agent is for; 0 online.
    """

    discount: float = 0.99
    return_low: float = -math.inf
    return_high: float = math.inf
    warmup_updates: int = 0


class AgentConfig(Protocol):
    """What the learner asks of an algorithm's settings, a frozen dataclass: K critic steps of B rows make an update."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def hidden(self) -> tuple[int, ...]: ...

    @property
    def utd(self) -> int: ...

    @property
    def batch_size(self) -> int: ...

    @property
    def observation_bound(self) -> float: ...


class Agent(Protocol):
    """What the learner and the actor ask of an algorithm. Implementations are frozen, hashable dataclasses of these three.

    A user's own names its settings' class as `Config` (docs/examples/own_algorithm). What more it can do it may say by the methods of
    `HasCritics`, `HasLikelihood`, `Remembers`, `HandsOver` and `TakesOver`; one that learns from stretches of an episode has a property
    `window`, and one that sees cameras by other means than a setting `vision` says so by `sees_cameras = True`.
    """

    @property
    def config(self) -> AgentConfig: ...

    @property
    def spec(self) -> Spec: ...

    @property
    def problem(self) -> Problem: ...

    def init(self, key: jax.Array, example: Transition) -> PyTree:
        """A fresh state. `example` `[N]` gives the shapes, and the statistics of an observation normaliser."""
        ...

    def update(self, state: PyTree, batch: Batch) -> tuple[PyTree, Metrics, jax.Array]:
        """One UTD block of `[K, B]` rows: the new state, scalar metrics, and |TD error| `[K, B]`."""
        ...

    def actor_params(self, state: PyTree) -> PyTree:
        """What acting needs, and what goes over the wire, such as an `Actor`: no optimizer, and no critic that acting does not ask. Its
        `normaliser` tells what the policy sees."""
        ...

    def act(
        self, actor: PyTree, observation: PyTree, key: jax.Array, carry: PyTree, deterministic: bool = False
    ) -> tuple[jax.Array, PyTree]:
        """Action `[A]` for one observation, and the next carry (`()` unless recurrent)."""
        ...


class Actor(struct.PyTreeNode):
    """What acting needs: the policy's parameters, the observation statistics and, where there are cameras, their encoder."""

    params: Params
    normaliser: Normaliser
    encoder: Params = ()


class WarmStart(struct.PyTreeNode):
    """What an algorithm without a temperature hands over; what is None, and the temperature, begins fresh.

    `actor` is a `networks.Policy`'s; its optimizer begins fresh, since the policy's head may have been another.
    """

    actor: PyTree
    critic: PyTree | None
    target_critic: PyTree | None
    critic_optimizer: PyTree | None
    normaliser: PyTree
    key: jax.Array
    updates: jax.Array
    encoder: PyTree = ()


def go_on(agent: Agent, warm: Agent, state: PyTree) -> PyTree:
    """The state with which `agent` goes on from that of `warm`: whole within one algorithm, else handed over; with its own bound on
    observations.

    Raises:
        WarmloopError: the one cannot go on from the other.
    """
    whole = type(agent) is type(warm) and not getattr(agent, "keeps_warm", False)
    return bounded(state if whole else _handed_over(agent, warm, state), agent.config.observation_bound)


def _handed_over(agent: Agent, warm: Agent, state: PyTree) -> PyTree:
    """The state of `agent` from that of another algorithm. Raises WarmloopError where one of them does not say how."""
    if isinstance(warm, HandsOver) and isinstance(agent, TakesOver):
        return agent.take_over(warm.hand_over(state))
    new, old = (type(each).__name__ for each in (agent, warm))
    lacking = f"{new} has no take_over" if isinstance(warm, HandsOver) else f"{old} has no hand_over"
    raise WarmloopError(
        f"{new} cannot go on from {old}'s warm-up: {lacking}. Fine-tune with the agent that warmed up: the same name in "
        "--config.agent.name and --config.warmup_agent.name."
    )


@runtime_checkable
class HandsOver(Protocol):
    """An agent from which another algorithm can go on."""

    def hand_over(self, state: PyTree) -> PyTree:
        """The state as `sac` knows it (a `SACState`, or a `WarmStart` where parts of one are missing), optimizers included.

        Raises WarmloopError where another algorithm can make nothing of it.
        """
        ...


@runtime_checkable
class TakesOver(Protocol):
    """An agent that can go on from what another algorithm learnt."""

    def take_over(self, state: PyTree) -> PyTree:
        """This agent's state from what another algorithm handed over. Raises WarmloopError where it can make nothing of it."""
        ...


@runtime_checkable
class HasLikelihood(Protocol):
    """An agent whose policy has a density. One that is deterministic, or has only samples, has not this method."""

    def log_prob(self, actor: PyTree, observation: PyTree, action: jax.Array) -> jax.Array:
        """log π(a|s) `[B]` of actions `[B, A]` by `actor_params`, dropout off."""
        ...


@runtime_checkable
class HasCritics(Protocol):
    """An agent that learns values of actions."""

    def q_values(self, state: PyTree, observation: PyTree, action: jax.Array) -> jax.Array:
        """Q_i(s, a) `[E, B]` of the online critics."""
        ...

    def td_error(self, state: PyTree, batch: Batch, key: jax.Array) -> jax.Array:
        """|Q_i(s, a) − y| `[B]`, the ensemble's mean, by the agent's own target."""
        ...


@runtime_checkable
class Remembers(Protocol):
    """An agent whose carry is what it remembers of an episode, and not a plan: one observation alone does not tell what it does."""

    def remember(self, carry: PyTree, action: Array) -> PyTree:
        """The carry after a step in which `action` `[A]` was done in place of the agent's own."""
        ...


def window_of(agent: Agent) -> Window:
    """What an agent learns from: its own `window`, else rows, or returns of `config.n_step` of them."""
    own = getattr(agent, "window", None)
    return own or Window(getattr(agent.config, "n_step", 1), discount=agent.problem.discount)


def run_block(step: Callable[..., tuple[PyTree, PyTree]], state: PyTree, batch: Batch, keys: jax.Array) -> tuple[PyTree, PyTree]:
    """`step(state, (minibatch, key))` for each of the K minibatches of `batch [K, B]`; outputs stacked along K.

    A single minibatch needs no loop, whose carried state XLA would copy. With images the loop is unrolled: within one, XLA computes
    convolutions on a CPU many times slower.
    """
    if batch.reward.shape[0] > 1:
        images = any(leaf.dtype == jnp.uint8 for leaf in jax.tree.leaves(batch.observation))
        return jax.lax.scan(step, state, (batch, keys), unroll=batch.reward.shape[0] if images else 1)
    state, outputs = step(state, jax.tree.map(lambda x: x[0], (batch, keys)))
    return state, jax.tree.map(lambda x: x[None], outputs)


def critic_metrics(loss: jax.Array, q: jax.Array, target: jax.Array) -> Metrics:
    """What every critic step logs."""
    return {"critic/loss": loss, "critic/q_mean": q.mean(), "critic/q_max": q.max(), "critic/target_mean": target.mean()}
