"""Presets that change what the ones before them chose: what fine-tunes, the gripper, the size."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ...agents import GraspSACConfig
from ...data.errors import WarmloopError
from ..schema import AgentChoice, RunConfig
from .kinds import kind, sparse_reward
from .own import SPARSE

# Arms whose last number is a gripper that +1 closes, and where their observations tell its state: gym-hil's has its command, 0 to 255.
GRIPPERS: dict[str, dict[str, Any]] = {
    "gym_hil/": {"grasp_penalty": 0.02, "gripper_states": (14,), "gripper_closed": 255.0},
    "Meta-World/": {},
    "Fetch": {},
}
# Few updates of small networks, so larger steps and faster targets.
SMALL = {
    "hidden": (128, 128),
    "actor_hidden": (),
    "vae_hidden": (128, 128),
    "batch_size": 128,
    "ensemble": 2,
    "utd": 1,
    "cql_actions": 4,
    "backup_actions": 4,
    "clone_updates": 0,
    "actor_lr": 1e-3,
    "critic_lr": 1e-3,
    "value_lr": 1e-3,
    "vae_lr": 1e-3,
    "tau": 0.01,
    "flow_hidden": (128, 128),
    "flow_steps": 5,
    "distillation_steps": 2,
    "samples": 4,
    "partial_chunks": True,
    "distillation_weight": 1.0,
    "normalise_q": True,
    "model_members": 5,
    "model_elites": 4,
    "model_hidden": (128, 128, 128),
    "rollout_after": 1_000,
    "model_rows": 25_000,
    "plan_horizon": 20,
    "plan_samples": 150,
    "plan_elites": 15,
    "plan_iterations": 4,
    "plan_particles": 1,
    "encoder_hidden": (128,),
    "latent_dim": 64,
    "model_lr": 1e-3,
    "iterations": 4,
    "population": 128,
    "elites": 16,
    "plan_colour": 2.0,  # smooth sequences: few samples find more
    "plan_kept": 0.3,
}
SMALL_OF: dict[str, dict[str, Any]] = {  # of algorithms by name, beyond what all have
    "pets": {"hidden": (64, 64, 64), "utd": 16, "batch_size": 64, "model_lr": 1e-3},  # its plan is to take milliseconds
    "trajectory_transformer": {
        "hidden": (64, 64), "batch_size": 64, "dropout": 0.0, "bins": 50, "beams": 16, "plan_steps": 3, "context": 3,
    },
    "dreamer": {"hidden": (32, 32), "batch_size": 8, "length": 32, "learning_rate": 1e-3, "learning_rate_warmup": 100},
}  # fmt: skip
PACE_OF = {"dreamer": {"warmup_steps": 2_000, "frozen_steps": 500, "max_utd": 0.5, "publish_every": 10}}
FULL = {"hidden": (256, 256), "batch_size": 256, "cql_actions": 10}


def then_sac(config: RunConfig) -> RunConfig:
    """Fine-tunes by SAC, as `sparse` has it, what the algorithm named before it warms up: `door,iql,then_sac`.

    The networks have the same shapes, and the deviation the same floor. Rewards are left as they are in the warm-up, too.
    """
    warm, sparse = config.warmup_agent, sparse_reward(config)
    if getattr(warm.settings, "return_span", 0.0):
        warm = warm.replace(return_span=0.0)  # SAC could make nothing of critics of scaled rewards
    shapes = ("hidden", "actor_hidden", "actor_network", "activation", "ensemble", "critic_layer_norm", "actor_layer_norm", "vision")
    histogram = ("critic_loss", "critic_bins", "critic_sigma", "unit_rows")
    seen = ("normalise_observations", "observation_bound", "observation_floor", "log_std_min")
    same = {name: getattr(warm.settings, name) for name in (*shapes, *histogram, *seen) if hasattr(warm.settings, name)}
    reduction = "sum" if kind(config) == "dexterous" else "mean"
    settings = dataclasses.replace(SPARSE, clip_target=sparse, monte_carlo_target=sparse, bc_reduction=reduction, **same)
    return config.replace(agent=AgentChoice("sac", settings), warmup_agent=warm)


def grasp(config: RunConfig) -> RunConfig:
    """The gripper as three commands with a critic of their own, in what is sac so far (HIL-SERL, Luo et al. 2024): `pick-cube,grasp`. Where
    the preset `sparse` warms up by SAC, that one fine-tunes, too.

    Raises:
        WarmloopError: the task's gripper is not known, or the agent is not sac.
    """
    environment = config.environment.id
    settings = next((settings for name, settings in GRIPPERS.items() if environment.startswith(name)), None)
    if settings is None:
        raise WarmloopError(
            f'The preset grasp knows the grippers of {", ".join(GRIPPERS)}, and not of "{environment}": '
            'have a config file of your own choose the agent "sac_grasp" with its grippers.'
        )
    if config.agent.name == "ibrl" and config.warmup_agent.name == "sac":
        config = config.replace(agent=config.warmup_agent)
    if config.agent.name != "sac":
        raise WarmloopError(f'The preset grasp changes the agent "sac", and the agent is "{config.agent.name}".')
    changed = {
        section: AgentChoice("sac_grasp", GraspSACConfig(**vars(choice.settings) | settings))
        for section in ("agent", "warmup_agent")
        if (choice := getattr(config, section)).name == "sac"
    }
    return config.replace(**changed)


def small(config: RunConfig) -> RunConfig:
    """What comes before it, in few updates of small networks, for a laptop: `door,cql,small`."""
    return _sized(config, SMALL, 5_000, SMALL_OF).replace(learner=PACE_OF.get(config.agent.name, {}))


def full(config: RunConfig) -> RunConfig:
    """A recipe of warmloop's own at the size of published results: two layers of 256, batches of 256, a million updates:
    `hopper,cql_tuned,full`. Presets of a paper's name have their published size."""
    return _sized(config, FULL, 1_000_000, {})


def _sized(config: RunConfig, size: Mapping[str, Any], updates: int, own: Mapping[str, Mapping[str, Any]]) -> RunConfig:
    """The configuration with those of the settings that its agents have, `own` first; one critic in a target's minimum stays one."""
    sections = {}
    for section in ("agent", "warmup_agent"):
        choice = getattr(config, section)
        settings = choice.settings
        known = {name: value for name, value in {**size, **own.get(choice.name, {})}.items() if hasattr(settings, name)}
        if "ensemble" in known and hasattr(settings, "target_subset"):
            known["target_subset"] = min(settings.target_subset, known["ensemble"])
        sections[section] = known
    return config.replace(**sections, learner={"warmup_steps": updates})
