"""What may make a warm policy fall, each as the settings that switch it off: for `warm_diagnosis.py`."""

from __future__ import annotations

import ast
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from warmloop.configs.schema import RunConfig, from_dict, to_dict

Changes = Mapping[str, Mapping[str, Any]]


@dataclasses.dataclass(frozen=True)
class Cause:
    """A suspect.

    Attributes:
        told: what a run without it does, in one line.
        changes: settings by section.
        warm: the warm-up is made anew under them, where otherwise all runs share one.
        until: environment steps for which they hold; 0 for the whole run.
    """

    told: str
    changes: Changes
    warm: bool = False
    until: int = 0


def of_both(**settings: Any) -> Changes:
    """Of the agents of both phases."""
    return {"agent": settings, "warmup_agent": settings}


FROZEN = {"actor_lr": 0.0, "temperature_lr": 0.0, "actor_tau": 1e-9}  # or what acts would follow what was trained
NARROW = {"target_entropy_per_dim": -3.0, "temperature_lr": 3e-3}
COLD = {"initial_temperature": 1e-6, "temperature_lr": 0.0}
TEN = {"ensemble": 10, "target_subset": 2}
OFFLINE = {"initial_ratio": 1.0, "decay": 1.0, "min_ratio": 1.0}
ALIKE = {"demos": 1.0, "suboptimal": 1.0, "random": 1.0, "interventions": 1.0, "success_bonus": 1.0}

CAUSES: dict[str, Cause] = {
    "sampled-acting": Cause("acts by the policy's mean in training", {"actor": {"deterministic": True}}),
    "width": Cause("a narrow policy from the warm-up on: entropy target -3 a joint, temperature lr 3e-3", of_both(**NARROW), warm=True),
    "width-online": Cause("the same entropy target and temperature lr, online only", {"agent": NARROW}),
    "entropy": Cause("no entropy term from the warm-up on: the temperature is 1e-6", of_both(**COLD), warm=True),
    "cloning": Cause("no cloning term online", {"agent": {"bc_weight": 0.0}}),
    "weak-cloning": Cause("ten times the cloning weight online", {"agent": {"bc_weight": 10.0}}),
    "value-and-entropy": Cause("cloning alone moves the policy online: its weight is 1,000", {"agent": {"bc_weight": 1e3}}),
    "learning-critics": Cause("the critics stay as the warm-up left them", {"agent": {"critic_lr": 0.0}}),
    "fast-actor": Cause("a tenth of the actor's step size online", {"agent": {"actor_lr": 3e-5}}),
    "recorded-returns": Cause("recorded returns are no lower bounds online", {"agent": {"monte_carlo_target": False}}),
    "self-imitation": Cause("own rows are not cloned", {"agent": {"self_imitation": False}}),
    "priorities": Cause("rows are drawn by quality alone online", {"replay": {"alpha": 0.0}}),
    "quality": Cause("all rows have the same quality online", {"quality": ALIKE}),
    "importance": Cause("priorities are not corrected for by importance weights online", {"replay": {"beta": 0.0, "beta_updates": 10**9}}),
    "partial-importance": Cause("importance weights correct priorities in full online", {"replay": {"beta": 1.0}}),
    "observation-bound": Cause("normalised observations are not bounded online", {"agent": {"observation_bound": 0.0}}),
    "averaged-acting": Cause("the policy that is trained acts", {"agent": {"actor_tau": 1.0}}),
    "clipped-targets": Cause("targets are not clipped online", {"agent": {"clip_target": False}}),
    "utd": Cause("one critic step for each environment step", {"agent": {"utd": 1}}),
    "half-online": Cause("nine tenths of every batch are offline rows", {"mixing": {"min_ratio": 0.9}}),
    "online-rows": Cause("all rows are offline ones, as in the warm-up: what it would do by itself", {"mixing": OFFLINE}),
    "mean-of-critics": Cause("the actor's value is the least of the critics", {"agent": {"actor_q": "min"}}),
    "early-actor-1000": Cause("critics alone learn for the first 1,000 steps", {"agent": FROZEN}, until=1_000),
    "early-actor-2000": Cause("critics alone learn for the first 2,000 steps", {"agent": FROZEN}, until=2_000),
    "early-updates-1000": Cause("nothing learns for the first 1,000 steps (WSRL)", {"learner": {"frozen_steps": 1_000}}),
    "two-critics": Cause("ten critics, the least of two in a target, from the warm-up on", of_both(**TEN), warm=True),
}


def by_sac(config: RunConfig) -> RunConfig:
    """The configuration in which the SAC that warms up fine-tunes, too: the recipe that fell, which the causes are of."""
    return config.replace(agent=config.warmup_agent) if config.agent.name == "ibrl" and config.warmup_agent.name == "sac" else config


def changed(config: RunConfig, changes: Changes) -> RunConfig:
    """The configuration with these settings. Raises WarmloopError for one that does not exist, or a wrong value."""
    values = to_dict(config)
    for section, settings in changes.items():
        values[section] = values.get(section, {}) | dict(settings)
    return from_dict(values)


def without(config: RunConfig, names: Sequence[str], throughout: bool, step: int = 0) -> RunConfig:
    """The configuration of a run from `step` on with these causes off; `throughout`: what is of the agent is of the warm-up's too."""
    for cause in (CAUSES[name] for name in names):
        if cause.until and step >= cause.until:
            continue
        config = changed(config, cause.changes)
        if throughout and not cause.until and config.warmup_agent.name == config.agent.name:
            config = changed(config, {"warmup_agent": cause.changes.get("agent", {})})
    return config


def warmed_without(config: RunConfig, names: Sequence[str], throughout: bool) -> RunConfig:
    """The configuration under which the warm-up of such a run is made."""
    return without(config, [name for name in names if not CAUSES[name].until and (throughout or CAUSES[name].warm)], throughout)


def stages(names: Sequence[str], steps: int) -> list[int]:
    """The steps at which a run's settings change, its end among them."""
    return sorted({CAUSES[name].until for name in names if 0 < CAUSES[name].until < steps} | {steps})


def recipe_changes(given: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The overrides `SECTION.NAME=VALUE` among a recipe's words."""
    found: dict[str, dict[str, Any]] = {}
    for word in (word for word in given if "=" in word):
        place, _, text = word.partition("=")
        section, dot, name = place.partition(".")
        if not dot:
            sys.exit(f"--recipe has {word}; write SECTION.NAME=VALUE, as agent.bc_weight=5.0, or the name of a preset.")
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            value = text
        found.setdefault(section, {})[name] = value
    return found
