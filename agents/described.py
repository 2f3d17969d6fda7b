"""An agent as JSON, and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ..data.doors.imports import find_again
from ..data.running.precision import check_precision
from ..data.settings.typed_values import decoded
from ..data.transition import Spec
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
    """The agent that `describe_agent` described. Raises WarmloopError where its agent is gone, a setting is
    not one of the agent's, or JAX computes in 64 bits."""
    check_precision("This machine's JAX_ENABLE_X64, or a module that was imported,")
    agent_class, config_class = agent_classes(description["name"], "the checkpoint's agent.name")
    settings = dict(description["config"])
    known = {field.name for field in dataclasses.fields(config_class)}
    told = {ours: settings.pop(theirs) for theirs, ours in BEFORE.items() if theirs in settings and theirs not in known}
    config = decoded(config_class, settings, "checkpoint.agent.config")
    spec = decoded(Spec, description["spec"], "checkpoint.agent.spec")
    return agent_class(config, spec, decoded(Problem, description.get("problem", told), "checkpoint.agent.problem"))


def agent_of(meta: Mapping[str, Any]) -> Agent:
    """The agent of a checkpoint that `meta` describes; a user's own is looked for where its run found it. Raises WarmloopError where it is
    gone."""
    find_again(meta)
    return rebuild_agent(meta["agent"])
