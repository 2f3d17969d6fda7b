"""What chooses actions: an agent's actor, random actions, or another policy made noisy."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Protocol

import jax
import numpy as np

from ...agents.base import Agent, Remembers
from ...agents.shared.action_chunks import Planned
from ...data.errors import WarmloopError
from ...data.transition import PyTree, Spec, alone
from .shared_policy import SharedPolicy, acting

BURST_STEPS = 10


class Policy(Protocol):
    """Chooses the actions of one episode at a time."""

    def begin(self, seed: int) -> None:
        """A new episode, whose whole randomness `seed` decides."""
        ...

    def __call__(self, observation: PyTree, step: int) -> np.ndarray:
        """The action `[A]` float32 in [-1, 1] for the observation of step `step` of the episode."""
        ...


def drop_plan(policy: Policy, done: np.ndarray) -> None:
    """Tells a policy that somebody else has done the action `done` `[A]` in its place, so that what it had planned is not what comes next;
    most policies plan nothing."""
    drop = getattr(policy, "drop_plan", None)
    if drop is not None:
        drop(done)


def disturb(policy: Policy, done: np.ndarray) -> None:
    """Tells a policy that `done` `[A]` is what became of its action; its plan stays."""
    disturbed = getattr(policy, "disturb", None)
    if disturbed is not None:
        disturbed(done)


class RandomPolicy:
    """Uniform actions in [-1, 1]^A."""

    def __init__(self, action_dim: int):
        self.action_dim = action_dim

    def begin(self, seed: int) -> None:
        self._rng = np.random.default_rng([seed, 1])

    def __call__(self, observation: PyTree, step: int) -> np.ndarray:
        return self._rng.uniform(-1.0, 1.0, self.action_dim).astype(np.float32)


class StillPolicy:
    """Stands still, where 0 does, as for motions it does: for a person to act alone."""

    def __init__(self, action_dim: int):
        self._action = np.zeros(action_dim, np.float32)

    def begin(self, seed: int) -> None:
        """Every episode is alike."""

    def __call__(self, observation: PyTree, step: int) -> np.ndarray:
        return self._action.copy()


class NoisyPolicy:
    """Another policy with Gaussian noise on its actions and, now and then, a burst of one random action.

    Args:
        policy: the one that is disturbed.
        scale: standard deviation of the noise; actions are clipped to [-1, 1] after it.
        random_share: expected share of the steps that are random; they come in bursts of `BURST_STEPS` steps that hold one
            uniform action, because single random steps hardly move a robot off its path.
    """

    def __init__(self, policy: Policy, scale: float, random_share: float = 0.0):
        if scale < 0 or not 0 <= random_share < 1:
            raise WarmloopError(f"Noise needs a scale of at least 0 and a random share in [0, 1), not {scale} and {random_share}.")
        self.policy, self.scale, self.random_share = policy, scale, random_share

    def begin(self, seed: int) -> None:
        self.policy.begin(seed)
        self._rng = np.random.default_rng([seed, 2])
        self._burst, self._left = np.zeros(0, np.float32), 0

    def drop_plan(self, done: np.ndarray) -> None:
        drop_plan(self.policy, done)

    def __call__(self, observation: PyTree, step: int) -> np.ndarray:
        action = self._disturbed(self.policy(observation, step))
        disturb(self.policy, action)
        return action

    def _disturbed(self, action: np.ndarray) -> np.ndarray:
        action = np.clip(action + self.scale * self._rng.standard_normal(action.shape), -1.0, 1.0).astype(np.float32)
        # Started at this rate outside bursts, bursts fill `random_share` of the steps.
        start = self.random_share / (self.random_share + BURST_STEPS * (1.0 - self.random_share))
        if self._left == 0 and self._rng.random() < start:
            self._burst, self._left = self._rng.uniform(-1.0, 1.0, action.shape).astype(np.float32), BURST_STEPS
        if self._left == 0:
            return action
        self._left -= 1
        return self._burst


class Unaided:
    """A policy that knows nothing of a base policy, in an environment whose observations have its proposals.

    Args:
        policy: the one that acts.
        spec: the shapes of the observations that it knows.
    """

    def __init__(self, policy: Policy, spec: Spec):
        self.policy, self.spec = policy, spec
        progress = getattr(policy, "progress", None)  # a teacher's measure
        if progress is not None:
            self.progress = lambda observation: progress(alone(observation, spec))

    def begin(self, seed: int) -> None:
        self.policy.begin(seed)

    def drop_plan(self, done: np.ndarray) -> None:
        drop_plan(self.policy, done)

    def __call__(self, observation: PyTree, step: int) -> np.ndarray:
        return self.policy(alone(observation, self.spec), step)


class AgentPolicy:
    """An agent's actor on the CPU beside the robot.

    Each step's key is folded from the episode's seed and the step, so that an episode depends on nothing before it.

    Attributes:
        version: version of the parameters that act; -1 for none given.
    """

    def __init__(self, agent: Agent, actor_params: PyTree, deterministic: bool = False, version: int = -1):
        self._agent, self._deterministic = agent, deterministic
        self._act, self._remembers = _jitted_act(agent, deterministic), agent if isinstance(agent, Remembers) else None
        self._device = jax.devices("cpu")[0]
        self._seed = np.uint32(0)
        self._carry: PyTree = ()
        self._next: tuple[PyTree, int] | None = None
        self.load(actor_params, version)

    def load(self, actor_params: PyTree, version: int) -> None:
        """Act by these parameters from the next step on, or, while a plan of the old ones is under way, from its end. They are copied: a
        learner may give its own away to the next update."""
        self._next = jax.device_put(jax.tree.map(np.array, actor_params), self._device), version
        self._swap()

    def shared(self, count: int, seen: Callable[[PyTree], PyTree] = lambda observation: observation) -> SharedPolicy:
        """The same policy for `count` episodes at once, which see `seen` of their observations."""
        shared = SharedPolicy(self._agent, count, self._deterministic, seen)
        shared.load(*(self._next or (self._actor, self.version)))
        return shared

    def begin(self, seed: int) -> None:
        self._seed, self._carry = np.uint32(seed), ()

    def drop_plan(self, done: np.ndarray) -> None:
        """Plans anew at the next step. What is remembered stays, with `done` for the last action."""
        self._carry = () if self._remembers is None else self._remembers.remember(self._carry, done)

    def disturb(self, done: np.ndarray) -> None:
        """Remembers `done` for the last action."""
        if self._remembers is not None:
            self._carry = self._remembers.remember(self._carry, done)

    def _swap(self) -> None:
        if self._next is not None and not (isinstance(self._carry, Planned) and int(self._carry.left) > 0):
            (self._actor, self.version), self._next = self._next, None

    def __call__(self, observation: PyTree, step: int) -> np.ndarray:
        self._swap()
        action, self._carry = self._act(self._actor, observation, self._seed, np.int32(step), self._carry)
        return np.asarray(action)


@functools.lru_cache(maxsize=8)
def _jitted_act(agent: Agent, deterministic: bool) -> Callable[..., tuple[jax.Array, Any]]:
    """`(actor, observation, seed, step, carry) -> (action, carry)`, compiled once per agent."""

    return jax.jit(acting(agent, deterministic))
