"""An agent as JSON, and back."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any

from ..data.doors.imports import find_again
from ..data.running.precision import check_precision
from ..data.transition import Leaf, Spec
from .base import Agent, Problem
from .registry import agent_classes, name_of

# In older checkpoints the problem is among the settings, by these names.
BEFORE = {
    "discount": "discount",
    "target_low": "return_low",
    "target_high": "return_high",
    "actor_decay_updates": "warmup_updates",
}


def describe_agent(agent: Agent) -> dict[str, Any]:
    """JSON from which `rebuild_agent` makes the same agent."""
    parts = {name: dataclasses.asdict(getattr(agent, name)) for name in ("config", "spec", "problem")}
    return {"name": name_of(type(agent)), **parts}


def rebuild_agent(description: dict[str, Any]) -> Agent:
    """The agent that `describe_agent` described. Raises WarmloopError where JAX computes in 64 bits."""
    check_precision("This machine's JAX_ENABLE_X64, or a module that was imported,")
    leaves = tuple(Leaf(leaf["name"], tuple(leaf["shape"]), leaf["dtype"]) for leaf in description["spec"]["observation"])
    spec = Spec(leaves, description["spec"]["action_dim"])
    agent_class, config_class = agent_classes(description["name"], "the checkpoint's agent.name")
    settings = dict(description["config"])
    told = {ours: settings.pop(theirs) for theirs, ours in BEFORE.items() if theirs in settings and not _has(config_class, theirs)}
    return agent_class(_config_of(config_class, settings), spec, Problem(**description.get("problem", told)))


def agent_of(meta: Mapping[str, Any]) -> Agent:
    """The agent of a checkpoint that `meta` describes; a user's own is looked for where its run found it. Raises WarmloopError where it is
    gone."""
    find_again(meta)
    return rebuild_agent(meta["agent"])


def _config_of(config_class: type, values: dict[str, Any]) -> Any:
    """Settings from their JSON: lists are tuples, and objects are settings themselves."""
    kinds = typing.get_type_hints(config_class)

    def of(name: str, value: Any) -> Any:
        return _config_of(kinds[name], value) if isinstance(value, dict) else tuple(value) if isinstance(value, list) else value

    return config_class(**{name: of(name, value) for name, value in values.items()})


def _has(config_class: type, name: str) -> bool:
    return name in {field.name for field in dataclasses.fields(config_class)}
