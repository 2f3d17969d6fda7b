"""The transition: the one record of experience in the project, and the shapes it has."""

from __future__ import annotations

import dataclasses
import enum
import math
from collections.abc import Collection, Sequence
from typing import Any

import gymnasium as gym
import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from .errors import WarmloopError

BASE = "base_action"  # the part of an observation with a base policy's proposals for it, side by side
STATE = "state"  # what an observation without parts is called beside them
PyTree = Any
Array = Any  # a NumPy array on the host, a jax.Array on the device


class Source(enum.IntEnum):
    """Where a row comes from; the quality weights are keyed by it."""

    DEMOS = 0
    SUBOPTIMAL = 1
    RANDOM = 2
    ONLINE = 3
    INTERVENTION = 4


class Transition(struct.PyTreeNode):
    """Steps of experience; every leaf has the same leading shape, written `[...]` here.

    Attributes:
        observation: `[..., *]`, an array or a dict of arrays (float32; images uint8).
        action: `[..., A]` float32 in [-1, 1].
        reward: `[...]` float32, as the learner sees it (scaled).
        mask: `[...]` float32, `1 - terminated`; a time limit keeps 1.
        next_observation: as `observation`; at a truncation the true last observation.
        truncated: `[...]` bool, the episode was cut here without being over.
        mc_return: `[...]` float32, discounted return to go; -inf where not (yet) known.
        quality: `[...]` float32, the row's quality weight (1 for online data).
        source: `[...]` int32, a `Source`.
        intervened: `[...]` bool, a human chose the action.
        policy_version: `[...]` int32, version of the weights that acted; -1 for none.
        episode: `[...]` int32, number of the episode within its stream or file.
        step: `[...]` int32, number of the step within its episode.
    """

    observation: PyTree
    action: Array
    reward: Array
    mask: Array
    next_observation: PyTree
    truncated: Array
    mc_return: Array
    quality: Array
    source: Array
    intervened: Array
    policy_version: Array
    episode: Array
    step: Array


class Batch(Transition):
    """A minibatch as an agent sees it, leading shape `[B]` (or `[K, B]` for a UTD block).

    Attributes:
        weight: `[B]` float32, multiplies the critic's loss (importance and quality).
        actor_weight: `[B]` float32, multiplies the actor's losses (quality only).
        offline: `[B]` bool, the row was drawn from the offline pool.
    """

    weight: Array
    actor_weight: Array
    offline: Array


@dataclasses.dataclass(frozen=True)
class Leaf:
    """Shape and dtype of one array of an observation; `name` is "" for a bare array."""

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclasses.dataclass(frozen=True)
class Spec:
    """What an environment and a data set must agree on. Hashable, so that agents are.

    Attributes:
        observation: the observation's leaves sorted by name (a single one named "" for a bare array).
        action_dim: A; actions are float32 in [-1, 1]^A.
    """

    observation: tuple[Leaf, ...]
    action_dim: int

    @classmethod
    def from_spaces(cls, observation: gym.Space, action: gym.Space) -> Spec:
        """The spec of Gymnasium spaces. Raises WarmloopError for a space that no agent takes."""
        if not isinstance(action, gym.spaces.Box) or len(action.shape) != 1:
            raise WarmloopError(f"Actions must be a one-dimensional Box, and this environment's are {action}.")
        if isinstance(observation, gym.spaces.Dict):
            parts = {str(name): space for name, space in observation.spaces.items()}
        else:
            parts = {"": observation}
        for name, space in parts.items():
            if not isinstance(space, gym.spaces.Box):
                raise WarmloopError(f"Observation {name or 'space'} is {space}; only a Box or a flat Dict of Boxes is supported.")
        return cls(
            tuple(Leaf(name, tuple(space.shape or ()), storage_dtype(space.dtype, space.shape)) for name, space in sorted(parts.items())),
            int(action.shape[0]),
        )

    @classmethod
    def of(cls, steps: Transition) -> Spec:
        """The spec of recorded steps `[T, ...]`."""
        observation = steps.observation
        parts = observation if isinstance(observation, dict) else {"": observation}
        return cls(
            tuple(Leaf(name, tuple(np.shape(x)[1:]), storage_dtype(x.dtype, np.shape(x)[1:])) for name, x in sorted(parts.items())),
            int(np.shape(steps.action)[-1]),
        )

    @property
    def cameras(self) -> tuple[Leaf, ...]:
        """The leaves that are images, `[H, W, C]`, `[H, W]` or stacks of them, `[k, H, W, C]`."""
        return tuple(leaf for leaf in self.observation if leaf.dtype == "uint8")

    @property
    def observation_dim(self) -> int:
        """Total size of the observation without its images, flattened."""
        return sum(math.prod(leaf.shape) for leaf in self.observation if leaf.dtype != "uint8")

    def difference(self, other: Spec, mine: str, theirs: str) -> str | None:
        """One phrase saying how `other` differs, or None when it does not."""
        if self == other:
            return None
        if self.action_dim != other.action_dim:
            return f"{mine} has {self.action_dim} action dimensions and {theirs} {other.action_dim}"
        described = [", ".join(f"{leaf.name or 'array'} {leaf.shape} {leaf.dtype}" for leaf in spec.observation) for spec in (self, other)]
        return f"{mine} has observations of {described[0]} and {theirs} of {described[1]}"


def storage_dtype(dtype: Any, shape: Sequence[int] | None) -> str:
    """The dtype under which an observation leaf is stored: images stay uint8, everything else is float32."""
    return "uint8" if np.dtype(dtype) == np.uint8 and len(shape or ()) >= 2 else "float32"


def example(spec: Spec, count: int = 1) -> Transition:
    """`count` rows of zeros in the spec's shapes, for initialising networks and storage."""
    leaves = {leaf.name: np.zeros((count, *leaf.shape), leaf.dtype) for leaf in spec.observation}
    observation = leaves[""] if set(leaves) == {""} else leaves
    f32, i32, flag = np.zeros(count, np.float32), np.zeros(count, np.int32), np.zeros(count, bool)
    return Transition(
        observation=observation,
        action=np.zeros((count, spec.action_dim), np.float32),
        reward=f32,
        mask=f32 + 1,
        next_observation=observation,
        truncated=flag,
        mc_return=np.full(count, -np.inf, np.float32),
        quality=f32 + 1,
        source=np.full(count, Source.ONLINE, np.int32),
        intervened=flag,
        policy_version=i32 - 1,
        episode=i32,
        step=i32,
    )


def length(steps: Transition) -> int:
    """Number of rows of a `[T, ...]` record."""
    return len(steps.reward)


def take(steps: Transition, index: Any) -> Transition:
    """Rows of a host record by slice, mask or index array."""
    return jax.tree.map(lambda x: np.asarray(x)[index], steps)


def concatenate(parts: Sequence[Transition]) -> Transition:
    """Host records joined along their first axis."""
    return jax.tree.map(lambda *xs: np.concatenate(xs), *parts)


def without(observation: PyTree, names: Collection[str]) -> PyTree:
    """An observation without the leaves of these names."""
    return {name: leaf for name, leaf in observation.items() if name not in names} if names else observation


def beside(observation: PyTree, proposals: Array) -> PyTree:
    """An observation with a base policy's proposals `[..., N·A]` as its leaf `BASE`; a bare one becomes the leaf `STATE`."""
    return (observation if isinstance(observation, dict) else {STATE: observation}) | {BASE: proposals}


def spec_beside(spec: Spec, proposals: int) -> Spec:
    """The shapes of observations that are `beside` N proposals."""
    leaves = [dataclasses.replace(leaf, name=leaf.name or STATE) for leaf in spec.observation]
    leaves.append(Leaf(BASE, (proposals * spec.action_dim,), "float32"))
    return dataclasses.replace(spec, observation=tuple(sorted(leaves, key=lambda leaf: leaf.name)))


def alone(observation: PyTree, spec: Spec | None) -> PyTree:
    """An observation without a base policy's proposals, bare where the environment's, of shapes `spec`, are; itself where it has none."""
    if not (isinstance(observation, dict) and BASE in observation):
        return observation
    rest = without(observation, (BASE,))
    bare = spec is not None and [leaf.name for leaf in spec.observation] == [""]
    return rest[STATE] if bare and set(rest) == {STATE} else rest


def flatten_observation(observation: PyTree) -> jax.Array:
    """`[..., D]` float32: a dict's leaves but for its images, in name order, each with one feature axis, side by side.

    An observation of images alone gives what has no leading axis, `[0]`.
    """
    if not isinstance(observation, dict):
        return jnp.zeros(0) if observation.dtype == np.uint8 else observation
    vectors = [observation[name] for name in sorted(observation) if observation[name].dtype != np.uint8]
    return jnp.concatenate(vectors, axis=-1) if vectors else jnp.zeros(0)
