"""What a training command is about to do, in one line, and the numbers that are left to it."""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...configs.schema import AgentChoice, RunConfig
    from ...learner.judging.fqe import FQEConfig


def fitted(config: RunConfig, rows: int) -> RunConfig:
    """The configuration of a warm-up on so many rows, with the numbers in proportion to it: they are saved with the run, so that a resume
    elsewhere does not change them."""
    from ...learner.judging import proportion

    updates = config.learner.warmup_steps
    kept = config.learner.warmup_checkpoints or proportion.checkpoints(updates)
    fqe = fqe_of(config, rows, kept, updates * config.warmup_agent.settings.utd)
    return config.replace(learner={"warmup_checkpoints": kept}, fqe=fqe)


def fqe_of(config: RunConfig, rows: int, candidates: int, gradient_steps: int) -> FQEConfig:
    """The settings of the comparison of so many policies, after so many gradient steps on so many rows."""
    from ...learner.judging import proportion

    if config.fqe.steps:
        return config.fqe
    return dataclasses.replace(config.fqe, steps=proportion.fqe_steps(config.fqe, rows, candidates, gradient_steps))


def told(choice: AgentChoice) -> str:
    """An algorithm's size, and what it runs on: what a person wants to know before hours are spent."""
    import jax

    settings = choice.settings
    device, count = jax.devices()[0], jax.device_count()
    place = f"{device.platform} ({os.cpu_count()} cores)" if device.platform == "cpu" else f"{count} × {device.device_kind}"
    widths = "×".join(map(str, settings.hidden))
    ensemble = getattr(settings, "ensemble", 0)
    critics = f"{ensemble} critics and " if ensemble else ""
    steps = f"{settings.utd} gradient steps of {settings.batch_size}" if settings.utd > 1 else f"a gradient step of {settings.batch_size}"
    return f"{choice.name} on {place}: {critics}a policy, layers of {widths}, {steps} rows an update"


def warm_up_told(config: RunConfig) -> str:
    """As `told`, of a warm-up."""
    learner, kept = config.learner, config.learner.warmup_checkpoints
    compared = f", compared by {config.fqe.steps} FQE steps each" if kept > 1 else ""
    checkpoints = f"{kept} checkpoints" if kept > 1 else "one checkpoint"
    return f"{told(config.warmup_agent)}; {learner.warmup_steps} updates, {checkpoints}{compared}"


def fine_tuning_told(config: RunConfig) -> str:
    """As `told`, of a fine-tuning."""
    return f"{told(config.agent)}; {config.learner.online_steps} environment steps, {config.learner.max_utd:g} updates for each"
