"""Agents that carry something on from step to step: one that plans, and one that remembers."""

import dataclasses
from typing import Any

import jax.numpy as jnp

from warmloop.agents.base import Actor
from warmloop.agents.networks.normaliser import Normaliser
from warmloop.agents.shared.action_chunks import act_by_plan
from warmloop.data.transition import Leaf, Spec, example

SPEC = Spec((Leaf("", (3,), "float32"),), 1)
CHUNK = 4


@dataclasses.dataclass(frozen=True)
class Counting:
    """Plans 0.0, 0.1, 0.2 and 0.3 above the number that its parameters are."""

    config: Any = None
    spec: Spec = SPEC

    def init(self, key, example):
        return jnp.float32(0.0)

    def actor_params(self, state):
        return Actor(state, Normaliser.of(example(SPEC), False))

    def act(self, actor, observation, key, carry, deterministic=False):
        return act_by_plan(lambda: actor.params + 0.1 * jnp.arange(CHUNK)[:, None], carry, CHUNK)


@dataclasses.dataclass(frozen=True)
class Adding:
    """Does 0.1 more than what was done last, which it remembers."""

    config: Any = None
    spec: Spec = SPEC

    def act(self, actor, observation, key, carry, deterministic=False):
        done = (carry if isinstance(carry, dict) else {"action": jnp.zeros(1)})["action"] + 0.1
        return done, {"action": done}

    def remember(self, carry, action):
        return {"action": action}


def actor(number):
    return Actor(jnp.float32(number), Normaliser.of(example(SPEC), False))
