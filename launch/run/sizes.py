"""What a training command is about to do, in one line, and the numbers that are left to it."""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ...configs.schema import AgentChoice, RunConfig
    from ...data.transition import Spec
    from ...learner.judging.fqe import FQEConfig

CORE = 1e10  # operations a second of one core of a laptop, on convolutions and beside other work
PASSES = 5  # of a row's pictures in a critic step: forward and backward, of the next observation, and for the policy
LONG = 1.0  # seconds of an update that are worth a warning


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


def told(choice: AgentChoice, spec: Spec, devices: int = 1) -> str:
    """An algorithm's size, what it sees and what it runs on (`learner.devices`): what a person wants to know before hours are spent."""
    import jax

    settings = choice.settings
    device, count = jax.devices()[0], devices or jax.local_device_count()
    place = f"{device.platform} ({os.cpu_count()} cores)" if device.platform == "cpu" else f"{count} × {device.device_kind}"
    widths = "×".join(map(str, settings.hidden))
    ensemble = getattr(settings, "ensemble", 0)
    critics = f"{ensemble} critics and " if ensemble else ""
    steps = f"{settings.utd} gradient steps of {settings.batch_size}" if settings.utd > 1 else f"a gradient step of {settings.batch_size}"
    return f"{choice.name} on {place}: {_seen(spec)}, {critics}a policy, layers of {widths}, {steps} rows an update"


def slow_pictures(choice: AgentChoice, spec: Spec, updates: int) -> str:
    """What to say where an agent's pictures are too large for this machine's processor; "" where they are not."""
    import jax

    from ...data.replay.frames import image_shape

    if not spec.cameras or not hasattr(choice.settings, "vision") or jax.devices()[0].platform != "cpu":
        return ""
    seconds = _operations(choice.settings, spec) / (CORE * (os.cpu_count() or 1))
    if seconds < LONG:
        return ""
    largest = max(map(image_shape, spec.cameras), key=lambda shape: shape[0] * shape[1])
    return (
        f"The pictures are large for a processor ({'×'.join(map(str, largest))}): an update takes about {seconds:.0f} s, and {updates} of "
        f"them {seconds * updates / 3600:.1f} h. Train on a machine with a GPU, or make the environment's and the data's pictures smaller "
        "(the wrapper resize:64), or take a smaller batch_size."
    )


def warm_up_told(config: RunConfig, spec: Spec) -> str:
    """As `told`, of a warm-up."""
    learner, kept = config.learner, config.learner.warmup_checkpoints
    compared = f", compared by {config.fqe.steps} FQE steps each" if kept > 1 else ""
    checkpoints = f"{kept} checkpoints" if kept > 1 else "one checkpoint"
    return f"{told(config.warmup_agent, spec, learner.devices)}; {learner.warmup_steps} updates, {checkpoints}{compared}"


def fine_tuning_told(config: RunConfig, spec: Spec) -> str:
    """As `told`, of a fine-tuning."""
    pace = config.learner.max_utd
    updates = f"{pace:g} update{'' if pace == 1 else 's'} for each"
    return f"{told(config.agent, spec, config.learner.devices)}; {config.learner.online_steps} environment steps, {updates}"


def _seen(spec: Spec) -> str:
    """What goes in and what comes out."""
    pictures = [f"a picture of {'×'.join(map(str, leaf.shape))}" for leaf in spec.cameras]
    numbers = [f"{spec.observation_dim} numbers"] if spec.observation_dim or not pictures else []
    return f"{' and '.join([*numbers, *pictures])} to {spec.action_dim}"


def _operations(settings: Any, spec: Spec) -> float:
    """Of an update on its pictures, by the program of their encoder."""
    import jax
    import jax.numpy as jnp

    from ...agents.networks.vision import Vision

    vision = Vision(settings.vision, spec)
    params = jax.eval_shape(vision.init, jax.random.key(0))
    images = {leaf.name: jax.ShapeDtypeStruct((1, *leaf.shape), jnp.uint8) for leaf in spec.cameras}
    costs = jax.jit(vision.encoder.apply).lower(params, images).cost_analysis()
    return (costs or {}).get("flops", 0.0) * settings.batch_size * settings.utd * PASSES
