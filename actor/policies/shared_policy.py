"""One agent's actor that acts in several episodes at once, by one compiled call for all of them.

Each episode has a seat, which is a `Policy` of its own: its seed, its steps and its carry are its own. `look` computes the actions that the
seats give next.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ...agents.base import Agent, Remembers
from ...agents.shared.action_chunks import Planned
from ...data.transition import PyTree


class Ask(NamedTuple):
    """An episode waits for an action: its newest observation, and the number of the step to come."""

    observation: PyTree
    step: int


class Seat:
    """The place of one episode at a shared policy, which has looked before it is called.

    Attributes:
        version: version of the parameters that act here; -1 for none given.
    """

    def __init__(self, shared: SharedPolicy, place: int):
        self._shared, self._place = shared, place
        self.seed, self.fresh = np.uint32(0), True  # whether nothing of the episode is carried on
        self.done: np.ndarray | None = None  # the action that was done in place of the newest one
        self.answer: np.ndarray | None = None

    @property
    def version(self) -> int:
        return self._shared.versions[self._place]

    def load(self, actor_params: PyTree, version: int) -> None:
        """Act by these parameters from the next step on, or, while a plan of the old ones is under way, from its end."""
        self._shared.load(actor_params, version, [self._place])

    def begin(self, seed: int) -> None:
        self.seed, self.fresh, self.done = np.uint32(seed), True, None

    def drop_plan(self, done: np.ndarray) -> None:
        """Plans anew at the next step. What is remembered stays, with `done` for the last action."""
        if self._shared.remembers:
            self.done = done
        else:
            self.fresh = True

    def disturb(self, done: np.ndarray) -> None:
        """Remembers `done` for the last action."""
        if self._shared.remembers:
            self.done = done

    def __call__(self, observation: PyTree, step: int) -> np.ndarray:
        answer, self.answer = self.answer, None
        assert answer is not None, "look comes first"
        return answer


class SharedPolicy:
    """See the module.

    Args:
        count: N, episodes at once.
        deterministic: act by the mode.
        seen: what of an episode's observation the agent knows.

    Attributes:
        seats: of the N episodes.
        versions: by seat, the version of the parameters that act there.
        remembers: what was done in an episode belongs to the carry.
    """

    def __init__(
        self, agent: Agent, count: int, deterministic: bool = False, seen: Callable[[PyTree], PyTree] = lambda observation: observation
    ):
        self.remembers, self._seen = isinstance(agent, Remembers), seen
        self._acts, self._device = _jitted_acts(agent, deterministic), jax.devices("cpu")[0]
        self._carry_of = functools.partial(_empty_carry, agent, deterministic)
        self._blank = np.zeros(agent.spec.action_dim, np.float32)
        self.versions = [-1] * count
        self._loaded: dict[int, PyTree] = {}  # by version
        self._newest: tuple[PyTree, int] = ((), -1)
        self._next: list[int | None] = [None] * count  # versions that wait for the end of a plan
        self._carry: PyTree = None  # [N, ...]; None before the first look
        self.seats = tuple(Seat(self, place) for place in range(count))

    def load(self, actor_params: PyTree, version: int, places: Sequence[int] | None = None) -> None:
        """Lets seats, all of them by default, act by these parameters from their next plan on. The parameters are copied."""
        if self._newest[0] is not actor_params or self._newest[1] != version:
            self._newest = actor_params, version
            self._loaded[version] = jax.device_put(jax.tree.map(np.array, actor_params), self._device)
        for place in range(len(self.seats)) if places is None else places:
            self._next[place] = version
        self._swap()

    def look(self, asks: Mapping[int, Ask]) -> None:
        """Computes the actions of the episodes that wait for one, by their seats: one call for each version of the parameters that acts."""
        if not asks:
            return
        self._swap()
        any_observation = self._seen(next(iter(asks.values())).observation)
        observations = [self._seen(asks[place].observation) if place in asks else any_observation for place in range(len(self.seats))]
        stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *observations)
        if self._carry is None:
            self._carry = self._carry_of(self._loaded[self.versions[0]], any_observation, len(self.seats))
        steps = np.array([asks[place].step if place in asks else 0 for place in range(len(self.seats))], np.int32)
        for version in sorted({self.versions[place] for place in asks}):
            self._act(version, [place for place in asks if self.versions[place] == version], stacked, steps)

    def _act(self, version: int, places: list[int], observations: PyTree, steps: np.ndarray) -> None:
        seats, asked = self.seats, np.zeros(len(self.seats), bool)
        asked[places] = True
        rest = _Rest(
            seed=np.array([seat.seed for seat in seats]),
            step=steps,
            asked=asked,
            fresh=np.array([seat.fresh for seat in seats]),
            told=np.array([seat.done is not None for seat in seats]),
            done=np.stack([self._blank if seat.done is None else np.asarray(seat.done, np.float32) for seat in seats]),
        )
        actions, self._carry = self._acts(self._loaded[version], observations, rest, self._carry)
        actions = np.asarray(actions)
        for place in places:
            seats[place].answer, seats[place].fresh, seats[place].done = actions[place], False, None

    def _swap(self) -> None:
        if all(version is None for version in self._next):
            return
        left = np.asarray(self._carry.left) if isinstance(self._carry, Planned) else None
        for place, version in enumerate(self._next):
            if version is not None and (left is None or self.seats[place].fresh or left[place] == 0):
                self.versions[place], self._next[place] = version, None
        kept = {*self.versions, *self._next, self._newest[1]}
        self._loaded = {version: params for version, params in self._loaded.items() if version in kept}


class _Rest(NamedTuple):
    """What an action depends on beside parameters, observation and carry, for each of N seats."""

    seed: np.ndarray
    step: np.ndarray
    asked: np.ndarray
    fresh: np.ndarray
    told: np.ndarray
    done: np.ndarray  # [N, A]


def acting(agent: Agent, deterministic: bool) -> Callable[..., tuple[jax.Array, PyTree]]:
    """`(actor, observation, seed, step, carry) -> (action, carry)`, whose key follows from the episode's seed and the step."""

    def act(actor: PyTree, observation: PyTree, seed: jax.Array, step: jax.Array, carry: PyTree) -> tuple[jax.Array, PyTree]:
        key = jax.random.fold_in(jax.random.key(seed), step)
        action, carry = agent.act(actor, observation, key, carry, deterministic)
        return jnp.clip(action, -1.0, 1.0), carry

    return act


def _empty_carry(agent: Agent, deterministic: bool, actor: PyTree, observation: PyTree, count: int) -> PyTree:
    """Carries `[N, ...]` of which nothing counts; () where the agent has none."""
    shapes = jax.eval_shape(acting(agent, deterministic), actor, observation, np.uint32(0), np.int32(0), ())[1]
    return jax.tree.map(lambda leaf: jnp.zeros((count, *leaf.shape), leaf.dtype), shapes)


@functools.lru_cache(maxsize=8)
def _jitted_acts(agent: Agent, deterministic: bool) -> Callable[..., tuple[jax.Array, PyTree]]:
    """`(actor, observations, rest, carry) -> (actions [N, A], carry)`, compiled once per agent and N.

    Where something is carried on, the episodes are computed one after the other within the call: side by side, all plans would be made anew
    at every step of any.
    """
    act = acting(agent, deterministic)
    remember = agent.remember if isinstance(agent, Remembers) else None

    def one(actor: PyTree, observation: PyTree, rest: _Rest, carry: PyTree) -> tuple[jax.Array, PyTree]:
        def begin() -> tuple[jax.Array, PyTree]:
            return _alike(act(actor, observation, rest.seed, rest.step, ()), carry)

        def go_on() -> tuple[jax.Array, PyTree]:
            kept = carry
            if remember is not None:
                kept = jax.tree.map(lambda new, old: jnp.where(rest.told, new, old), remember(carry, rest.done), carry)
            return _alike(act(actor, observation, rest.seed, rest.step, kept), carry)

        def stay() -> tuple[jax.Array, PyTree]:
            return jnp.zeros_like(rest.done), carry

        return jax.lax.cond(rest.asked, lambda: jax.lax.cond(rest.fresh, begin, go_on), stay)

    @jax.jit
    def acts(actor: PyTree, observations: PyTree, rest: _Rest, carry: PyTree) -> tuple[jax.Array, PyTree]:
        if not jax.tree.leaves(carry):
            side_by_side = jax.vmap(lambda observation, seed, step: act(actor, observation, seed, step, ())[0])
            return side_by_side(observations, rest.seed, rest.step), carry
        return jax.lax.map(lambda each: one(actor, *each), (observations, rest, carry))

    return acts


def _alike(acted: tuple[jax.Array, PyTree], carry: PyTree) -> tuple[jax.Array, PyTree]:
    """What was acted, its carry of the types that `carry` has."""
    return acted[0], jax.tree.map(lambda new, old: jnp.asarray(new, old.dtype), acted[1], carry)


def no_look(asks: Mapping[int, Any]) -> None:
    """For policies that compute their actions when they are called."""
