"""The agents of a configuration that names none, for its kind of reward and at a size that fits this machine."""

from __future__ import annotations

import dataclasses
import importlib.util
from pathlib import Path

import jax

from ...agents import IBRLConfig, SACConfig
from ...agents.sac import ActorCriticSettings

# Where an accelerator's driver shows, and the packages by which JAX uses it.
ACCELERATORS = {
    "/dev/nvidiactl": ("jax_cuda12_plugin", "jax_cuda13_plugin"),
    "/dev/kfd": ("jax_rocm60_plugin", "jax_rocm7_plugin"),
    "/dev/accel0": ("libtpu",),
    "/dev/vfio/0": ("libtpu",),
}


# What warms up where success alone is rewarded (docs/sparse.md).
SPARSE = SACConfig(
    ensemble=2,
    utd=2,
    batch_size=128,
    initial_temperature=1e-2,
    clip_target=True,
    monte_carlo_target=True,
    bc_weight=1.0,
    self_imitation=True,
    actor_tau=0.005,
    observation_floor=1e-3,
)


def going_on_from(warm: SACConfig) -> IBRLConfig:
    """What fine-tunes what a SAC of these settings warmed up, and never gives it up (docs/sparse.md). Returns of five steps carry a success
    back along an episode; those of a whole episode, as bounds, would count luck as skill."""
    return IBRLConfig(**warm.part(ActorCriticSettings) | {"monte_carlo_target": False, "bc_weight": 5.0, "n_step": 5})


def has_accelerator() -> bool:
    """Whether JAX will use one. Found without starting JAX's devices: an actor that loads its configuration takes no memory of a GPU."""
    if platforms := getattr(jax.config, "jax_platforms", ""):
        return platforms.split(",")[0] != "cpu"
    return any(Path(device).exists() and any(map(importlib.util.find_spec, names)) for device, names in ACCELERATORS.items())


def fitting_sac(sparse: bool) -> SACConfig:
    """SAC that warms up for rewards of success alone, as in the preset `sparse`, or learns from any other: RLPD's size with an
    accelerator, two critics and two critic steps of 128 rows on a CPU.

    The policy is the same on both, so an actor without an accelerator fits a learner that has one.
    """
    if sparse:
        return dataclasses.replace(SPARSE, batch_size=256) if has_accelerator() else SPARSE
    return SACConfig() if has_accelerator() else SACConfig(ensemble=2, target_subset=2, utd=2, batch_size=128)
