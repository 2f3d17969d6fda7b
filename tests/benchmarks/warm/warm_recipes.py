"""The recipes that the bench compares: presets on top of a task's configuration, and settings changed after them.

A candidate is one line more in RECIPES.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from warm_data import specification
from warm_tasks import Task

from warmloop.agents import SACConfig
from warmloop.configs import load
from warmloop.configs.recipes.algorithms import apply
from warmloop.configs.recipes.kinds import kind, sparse_reward
from warmloop.configs.schema import AgentChoice, RunConfig, to_dict

# The preset sparse as it was before issue 21.
OLD_SPARSE = SACConfig(
    ensemble=2,
    utd=2,
    batch_size=128,
    initial_temperature=1e-2,
    clip_target=True,
    monte_carlo_target=True,
    bc_weight=1.0,
    self_imitation=True,
    actor_tau=0.005,
)


def as_it_was(config: RunConfig) -> RunConfig:
    """The configuration with the old preset sparse, whatever that is now, where success is rewarded."""
    if not sparse_reward(config):
        return config
    agent = AgentChoice("sac", OLD_SPARSE).replace(bc_reduction="sum" if kind(config) == "dexterous" else "mean")
    return config.replace(agent=agent, warmup_agent=agent)


def by_histograms(settings: Mapping[str, Any], config: RunConfig) -> RunConfig:
    """The configuration with these settings of its critics, where the return has bounds."""
    return config.replace(agent=dict(settings), warmup_agent=dict(settings)) if sparse_reward(config) else config


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a task is learnt.

    Attributes:
        presets: on top of the task's configuration, as --config takes them after a comma.
        changes: of settings, by section, for every task alike.
        first: what is done to the task's configuration before the presets.
        about: what it is, for the report.
        base: the recipe whose warm-up is the base policy that this one improves (`environment.base`); "" for none.
    """

    presets: tuple[str, ...] = ()
    changes: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    about: str = ""
    first: Callable[[RunConfig], RunConfig] = lambda config: config
    base: str = ""


HALF = {"initial_ratio": 0.5, "decay": 1.0, "min_ratio": 0.5, "pooled": False}
GAUSS: dict[str, Any] = {"critic_loss": "hl_gauss"}
UNIT = GAUSS | {"unit_rows": True}
PLAIN = {"bc_weight": 0.0, "self_imitation": False, "monte_carlo_target": False}

RECIPES = {
    "old": Recipe(
        changes={"learner": {"keep_best": "keep"}},
        about="as shipped before issue 21: the preset sparse where success is rewarded, SAC elsewhere",
        first=as_it_was,
    ),
    "new": Recipe(about="as shipped now: where success is rewarded, the same warm-up, then IBRL with returns of five steps; SAC elsewhere"),
    "one-step": Recipe(changes={"agent": {"n_step": 1}}, about="as shipped now, but for returns of one step"),
    "gauss": Recipe(about="as shipped now, but for critics by HL-Gauss where success is rewarded", first=partial(by_histograms, GAUSS)),
    "gauss-unit": Recipe(about="the same, with weights of length 1", first=partial(by_histograms, UNIT)),
    "rlpd": Recipe(
        ("rlpd",),
        {"agent": {"utd": 4}, "learner": {"frozen_steps": 1_000}, "actor": {"random_steps": 1_000}},
        "the published preset, which has no warm-up, at a budget of minutes: 4 critic steps instead of 20, and 1,000 random steps "
        "instead of 5,000",
    ),
    "wsrl": Recipe(
        ("wsrl", "small"),
        {"agent": {"utd": 4}, "learner": {"frozen_steps": 1_000}},
        "the published preset at the size `small`: 2 critics, layers of 128, 5,000 Cal-QL updates; its 4 critic steps; 1,000 frozen steps "
        "instead of 5,000",
    ),
    "bc5050": Recipe(
        ("bc", "then_sac"),
        {"agent": PLAIN, "mixing": HALF},
        "behaviour cloning, then SAC of warmloop's size on half demonstrations, without any cloning or bounds from recorded returns",
    ),
    "flow": Recipe(("flow_bc", "small"), about="cloning by a flow in chunks of five, which goes on online"),
    "qc": Recipe(("qc", "small"), about="Q-chunking at the size `small`: the best of the flow's chunks"),
    "qc_fql": Recipe(("qc_fql", "small"), about="Q-chunking with a one-step actor, at the size `small`"),
    "edit-bc": Recipe(("edit", "small"), about="edits of a policy that `bc` cloned", base="bc5050"),
    "edit-flow": Recipe(
        ("edit", "small"), {"environment": {"base_proposals": 4}}, "edits of four proposals of a policy that `flow_bc` cloned", base="flow"
    ),
    "mpc": Recipe(("mpc", "small"), about="TD-MPC2 with demonstrations, at the size `small`"),
}
# Of every run: the last weights of the warm-up, as in the published figures, and a checkpoint at each evaluation only.
COMMON = {"learner": {"held_out": 0.0, "warmup_checkpoints": 1, "checkpoint_every": 0}}


def configured(task: Task, recipe: Recipe, steps: int, warmup_steps: int | None = None) -> RunConfig:
    """The configuration of a run of so many environment steps; `warmup_steps` takes the place of the recipe's own, where it has any.

    Raises:
        WarmloopError: a setting that there is not, or presets that do not go together.
    """
    config = apply(recipe.first(load(specification(task))), recipe.presets)
    for changes in (recipe.changes, COMMON):
        config = config.replace(**{section: dict(values) for section, values in changes.items()})
    if warmup_steps is not None and config.learner.warmup_steps:
        config = config.replace(learner={"warmup_steps": warmup_steps})
    return config.replace(learner={"online_steps": steps})


def settings_of(config: RunConfig, episodes: int) -> dict[str, Any]:
    """All that decides a run, and by how many episodes it is judged, but its seed, its data and its environment steps: plain values."""
    values = {f"{section}.{name}": value for section, fields in to_dict(config).items() for name, value in fields.items()}
    return {name: value for name, value in values.items() if name != "learner.online_steps"} | {"episodes of an evaluation": episodes}


def warmup_digest(config: RunConfig) -> str:
    """Of all that decides a warm-up, but its seed, its data and a base policy: recipes that share it share the warm-up."""
    values = to_dict(config)
    for section in ("agent", "actor"):
        values.pop(section)
    of_warmup = ("warmup_steps", "warmup_checkpoints", "held_out", "early_stop_after", "early_stop_on")
    values["learner"] = {name: values["learner"][name] for name in of_warmup}
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()[:16]
