"""The parts of a run, made from its configuration: what the training commands wire together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..agents import Agent
from ..configs.schema import RunConfig, build_agent, to_dict
from ..data.errors import WarmloopError
from ..data.formats import load_sources
from ..data.transition import Spec
from ..data.wire.schema import Schema
from ..learner import checkpoint
from ..learner.assemble import fine_tune, resume
from ..learner.intake import Intake
from ..learner.loop import Learner, OnRecord
from ..learner.metrics import Recorder
from ..learner.offline import prepare
from ..learner.state import LearnerParts


def warm_parts(config: RunConfig, spec: Spec) -> LearnerParts:
    """The offline phase's agent, replay and mixing."""
    return LearnerParts(build_agent(config.warmup_agent, config.reward, spec), config.replay, config.mixing)


def fine_agent(config: RunConfig, spec: Spec) -> Agent:
    """The agent that fine-tunes."""
    return build_agent(config.agent, config.reward, spec)


def make_learner(
    config: RunConfig,
    spec: Spec,
    seed: int,
    directory: Path,
    recorder: Recorder,
    on_record: OnRecord,
    warm_checkpoint: str | None,
    demo_paths: Sequence[str],
    resuming: bool,
) -> tuple[Learner, dict]:
    """The learner of a run, fresh or from the run's own newest checkpoint, and that checkpoint's description ({} if fresh).

    Raises:
        WarmloopError: demonstrations or a checkpoint that do not fit the environment or the configuration.
    """
    parts = LearnerParts(fine_agent(config, spec), config.replay, config.mixing)
    target = directory / "checkpoints"
    intake = Intake(Schema.of(spec, config.environment.id), quarantine=directory / "quarantine")
    meta: dict = {}
    if resuming:
        meta = checkpoint.newest(target).meta
        state = resume(target, parts)
        intake.restore(meta["streams"])
    else:
        if checkpoint.steps(target):
            raise WarmloopError(f"{target} holds a run already; go on with it by --resume, or choose another --exp_name.")
        rows = None
        if demo_paths:
            data = prepare(load_sources(list(demo_paths)), config.reward, config.quality)
            if difference := spec.difference(data.spec, config.environment.id, "the demonstrations"):
                raise WarmloopError(f"The demonstrations do not fit the environment: {difference}.")
            rows = data.rows
        state = fine_tune(parts, seed, rows, warm_checkpoint)
    warm_updates = int(meta.get("warm_updates", int(state.updates)))
    description = {"config": to_dict(config), "phase": "online", "seed": seed}
    learner = Learner(state, parts, config.learner, config.reward, intake, recorder, target, description, warm_updates, on_record)
    return learner, meta
