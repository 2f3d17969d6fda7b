"""Parts of a user's own, for tests of the doors: what each kind may be, and what is none."""

import dataclasses

import gymnasium as gym
import jax.numpy as jnp
from flax import linen as nn

from warmloop.agents import BC, BCConfig

NUMBER = 42


class Trunk(nn.Module):
    """A policy's network, or an encoder."""

    @nn.compact
    def __call__(self, x):
        return nn.relu(nn.Dense(5)(x.reshape(x.shape[0], -1)))


class OfOneRow(nn.Module):
    """Forgets how many rows there were."""

    @nn.compact
    def __call__(self, x):
        return nn.Dense(5)(x).mean(axis=0, keepdims=True)


class Failing(nn.Module):
    """Raises."""

    @nn.compact
    def __call__(self, x):
        raise KeyError("joint")


def softer(x):
    return jnp.tanh(0.5 * x)


class Doubled(gym.RewardWrapper):
    """A wrapper."""

    def reward(self, reward):
        return 2 * float(reward)


def upright(outcome):
    """A rule of success."""
    return bool(outcome.observation[0] > 0.9)


class Held:
    """A rule of success that remembers: upright for three steps in a row."""

    def begin(self):
        self.steps = 0

    def __call__(self, outcome):
        self.steps = self.steps + 1 if upright(outcome) else 0
        return self.steps >= 3


def a_word(outcome):
    return "yes"


def fails(*given):
    raise KeyError("joint")


@dataclasses.dataclass(frozen=True)
class Cloning(BC):
    """An agent that inherits the name of another."""

    Config = BCConfig


@dataclasses.dataclass(frozen=True)
class WithoutConfig:
    """No agent: it names no settings."""

    config: BCConfig
    spec: object


@dataclasses.dataclass(frozen=True)
class WithoutUpdate:
    """No agent: it does not learn."""

    config: BCConfig
    spec: object
    Config = BCConfig

    def init(self, key, example): ...

    def actor_params(self, state): ...

    def act(self, actor, observation, key, carry, deterministic=False): ...


@dataclasses.dataclass(frozen=True)
class WithoutDefault(BC):
    """No agent: one of its settings has no default."""

    @dataclasses.dataclass(frozen=True)
    class Config:
        width: int
        hidden: tuple[int, ...] = (8,)
        utd: int = 1
        batch_size: int = 8
        observation_bound: float = 10.0


class Thawed(BC):
    """No agent: its settings can be changed, so that no compiled program may depend on them."""

    @dataclasses.dataclass
    class Config:
        hidden: tuple[int, ...] = (8,)
        utd: int = 1
        batch_size: int = 8
        observation_bound: float = 10.0


@dataclasses.dataclass(frozen=True)
class Blind(BC):
    """No agent: its acting parameters have no normaliser."""

    Config = BCConfig

    def actor_params(self, state):
        return state.actor


Elsewhere = dataclasses.make_dataclass("Hidden", [], bases=(Cloning,), frozen=True)
