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
    `HasCritics`, `HasLikelihood`, `HasModel`, `Remembers`, `HandsOver` and `TakesOver`. One that learns from stretches of an episode has a
    property `window`; one whose acting takes a search, or remembers without a method `remember`, says `searches = True` or
    `remembers = True`; one that sees cameras by other means than a setting `vision` says `sees_cameras = True`; and one that cannot be
    exported says why, as `not_exported`.
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


class FlowStart(struct.PyTreeNode):
    """What an algorithm that clones by a flow hands over: the flow, and what it sees by."""

    flow: PyTree
    normaliser: Normaliser
    encoder: PyTree
    key: jax.Array


def go_on(agent: Agent, warm: Agent, state: PyTree) -> PyTree:
    """The state with which `agent` goes on from that of `warm`: whole within one algorithm, else handed over; with its own bound on
    observations.

    Raises:
        WarmloopError: the one cannot go on from the other.
    """
    _check_critics(agent, warm)
    whole = type(agent) is type(warm) and not getattr(agent, "keeps_warm", False)
    return bounded(state if whole else _handed_over(agent, warm, state), agent.config.observation_bound)


def _check_critics(agent: Agent, warm: Agent) -> None:
    """Raises WarmloopError where critics of one shape would mean another thing here than in the warm-up, which no shape tells."""
    new, old = agent.config, warm.config
    if getattr(new, "critic_loss", "mse") == getattr(old, "critic_loss", "mse") == "hl_gauss":
        here, there = (
            f"{getattr(each.config, 'critic_bins', 0)} bins of σ {getattr(each.config, 'critic_sigma', 0.0):g} from "
            f"{each.problem.return_low:g} to {each.problem.return_high:g}"
            for each in (agent, warm)
        )
        if here != there:
            raise WarmloopError(
                f"The warm-up's critics have {there}, and this configuration's {here}: give both one reward, one critic_bins and one "
                "critic_sigma."
            )
    if getattr(new, "unit_rows", False) and not getattr(old, "unit_rows", True):
        raise WarmloopError("agent.unit_rows would change what the warm-up's critics say: set warmup_agent.unit_rows=True too.")


def _handed_over(agent: Agent, warm: Agent, state: PyTree) -> PyTree:
    """The state of `agent` from that of another algorithm. Raises WarmloopError where one of them does not say how."""
    if isinstance(warm, HandsOver) and isinstance(agent, TakesOver):
        return agent.take_over(warm.hand_over(state))
    if isinstance(warm, HandsOverFlow) and isinstance(agent, TakesOverFlow):
        return agent.take_over_flow(warm.hand_over_flow(state))
    new, old = (type(each).__name__ for each in (agent, warm))
    if isinstance(agent, TakesOverFlow):
        raise WarmloopError(f"{new} goes on from a flow, and {old} learns none: warm up with --config.warmup_agent.name=flow_bc.")
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
class HandsOverFlow(Protocol):
    """An agent whose flow another algorithm can go on with."""

    def hand_over_flow(self, state: PyTree) -> FlowStart:
        """The flow, and what it sees by."""
        ...


@runtime_checkable
class TakesOverFlow(Protocol):
    """An agent that can go on with the flow of another algorithm."""

    def take_over_flow(self, warm: FlowStart) -> PyTree:
        """This agent's state with that flow."""
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


@runtime_checkable
class HasModel(Protocol):
    """An agent that learns to predict observations. Observations are here flat, `[B, D]`, as `data.transition.flatten_observation` makes
    them, and one without cameras."""

    def predict(self, state: PyTree, observation: jax.Array, action: jax.Array) -> jax.Array:
        """The next observations `[M, B, D]` that each of M members expects after actions `[B, A]`: from `[B, D]`, or each from its own,
        `[M, B, D]`."""
        ...

    def model_error(self, state: PyTree, batch: Batch) -> jax.Array:
        """Squared error `[B]` of one predicted step, in units of the data's deviation."""
        ...


def not_by_rows(agent: Agent | type[Agent]) -> str:
    """What an agent does so that its actions cannot be asked for at recorded rows, one by one and by the thousand; "" where they can be.

    Such an agent says `searches = True` of its class, or remembers.
    """
    if getattr(agent, "remembers", False) or hasattr(agent, "remember"):
        return "remember what they saw before"
    return "search for each action" if getattr(agent, "searches", False) else ""


def window_of(agent: Agent) -> Window:
    """What an agent learns from: its own `window`, else rows, or returns of `config.n_step` of them."""
    own = getattr(agent, "window", None)
    return own or Window(getattr(agent.config, "n_step", 1), discount=agent.problem.discount)


def judged_by_rows(agent: Agent) -> Agent:
    """The agent whose actions are asked for at thousands of recorded rows, with the same acting parameters: its own `judged`, else itself.

    A planner has such a one, its policy alone.
    """
    return getattr(agent, "judged", agent)


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
