"""Agents by name: those of `AGENTS`, and `MODULE:Name` for a user's own.

A user's agent is a frozen dataclass of `config`, `spec` and `problem` with the methods of `base.Agent`; its settings' class is its
attribute `Config`.
"""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

import jax

from ..data.doors.door import Door
from ..data.errors import WarmloopError
from ..data.transition import Spec, example
from . import AGENTS
from .base import Agent, Problem
from .networks.normaliser import Normaliser

METHODS = ("init", "update", "actor_params", "act")
SETTINGS = ("hidden", "utd", "batch_size", "observation_bound")
DOOR = Door("an agent", "a class with the methods of agents.base.Agent and its settings' class as `Config`", tuple(AGENTS))


def agent_classes(name: str, where: str) -> tuple[type, type]:
    """The class of the agent `name`, and its settings'; `where` is the setting that names it.

    Raises:
        WarmloopError: there is none of that name, importing it failed, or what it names is no agent.
    """
    if name in AGENTS:
        return AGENTS[name]
    DOOR.check(name, where)
    found: Any = DOOR.open(name, where)
    config = getattr(found, "Config", None)
    if not inspect.isclass(found) or config is None:
        raise DOOR.refused(name, where, found)
    _check_class(found, config, f"{where}={name}")
    return found, config


def name_of(agent: type) -> str:
    """The name under which commands find an agent's class."""
    own = {kind: name for name, (kind, _) in AGENTS.items()}
    return own.get(agent, f"{agent.__module__}:{agent.__qualname__}")


def make_agent(name: str, where: str, config: Any, spec: Spec, problem: Problem) -> Agent:
    """The agent of these settings. Raises WarmloopError where its state or its acting parameters are not what the learner needs."""
    kind, _ = agent_classes(name, where)
    if name in AGENTS:
        return kind(config, spec, problem)
    agent = DOOR.call(name, where, "made of its settings, the spec and the problem", lambda: kind(config, spec, problem))
    made = DOOR.call(name, where, "asked to init", lambda: jax.eval_shape(lambda: agent.init(jax.random.key(0), example(spec))))
    if not all(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in jax.tree.leaves(made)):
        raise WarmloopError(f"{where}={name}: its init gives more than arrays; a state is a PyTree of arrays and nothing else.")
    actor = DOOR.call(name, where, "asked for its actor_params", lambda: jax.eval_shape(agent.actor_params, made))
    if not isinstance(getattr(actor, "normaliser", None), Normaliser):
        raise WarmloopError(
            f"{where}={name}: its actor_params have no `normaliser`, by which the learner tells what the policy sees; return an "
            "agents.base.Actor, with Normaliser.of(example, False) where nothing is normalised."
        )
    return agent


def _check_class(found: type, config: Any, said: str) -> None:
    """Raises WarmloopError for an agent's class that lacks something, or that no other process would find again."""
    if missing := [name for name in METHODS if not callable(getattr(found, name, None))]:
        raise WarmloopError(f"{said} has no {' and no '.join(missing)}; an agent needs {', '.join(METHODS)} (agents.base.Agent).")
    if not (inspect.isclass(config) and dataclasses.is_dataclass(config) and _frozen(config) and _frozen(found)):
        raise WarmloopError(f"{said}: it and its Config must be frozen dataclasses: write @dataclasses.dataclass(frozen=True) above both.")
    fields = dataclasses.fields(config)
    if missing := [name for name in SETTINGS if name not in {field.name for field in fields}]:
        raise WarmloopError(f"{said}: its Config has no {' and no '.join(missing)}; the learner needs {', '.join(SETTINGS)}.")
    for field in fields:
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise WarmloopError(f"{said}: its Config has no default for {field.name}; every setting needs one.")
    if DOOR.open(name_of(found), said) is not found:
        raise WarmloopError(f"{said}: {name_of(found)} is another class; define it at the top level of its module, under its own name.")


def _frozen(kind: type) -> bool:
    parameters = getattr(kind, "__dataclass_params__", None)
    return bool(parameters and parameters.frozen)
