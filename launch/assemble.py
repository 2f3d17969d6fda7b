"""The parts of a run, made from its configuration: what the training commands wire together."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from pathlib import Path

from ..agents import Agent
from ..configs.schema import RunConfig, build_agent, to_dict
from ..data.errors import WarmloopError
from ..data.sources import Target
from ..data.transition import Spec
from ..data.wire.schema import Schema
from ..learner import checkpoint
from ..learner.assemble import fine_tune, refill, resume
from ..learner.intake import Intake
from ..learner.journal import Journal
from ..learner.loop import Learner, OnRecord
from ..learner.metrics import Recorder
from ..learner.records import segments
from ..learner.state import LearnerParts
from .common import log
from .sources import demonstration_rows


def warm_parts(config: RunConfig, spec: Spec) -> LearnerParts:
    """The offline phase's agent, replay and mixing."""
    agent = build_agent(config.warmup_agent, config.reward, spec, config.learner.warmup_steps)
    return LearnerParts(agent, config.replay, config.mixing, config.frames)


def fine_parts(config: RunConfig, spec: Spec) -> LearnerParts:
    """The fine-tuning's agent, replay and mixing. Where online rows are never drawn there is room for every step's intervention."""
    least = 0 if config.mixing.draws_online else config.learner.online_steps
    replay = dataclasses.replace(config.replay, intervention_rows=max(config.replay.intervention_rows, least))
    return LearnerParts(fine_agent(config, spec), replay, config.mixing, config.frames)


def fine_agent(config: RunConfig, spec: Spec) -> Agent:
    """The agent that fine-tunes."""
    return build_agent(config.agent, config.reward, spec)


def make_learner(
    config: RunConfig,
    environment: Target,
    seed: int,
    directory: Path,
    recorder: Recorder,
    on_record: OnRecord,
    warm: tuple[str | Path | None, int | None],
    demo_paths: Sequence[str],
    resuming: bool,
    lock_step: bool,
) -> tuple[Learner, dict]:
    """The learner of a run, fresh or from the run's own newest checkpoint, and that checkpoint's description ({} if fresh).

    `warm` is the folder of the warm-up's checkpoints and which of them, by its updates; None for none, and for the chosen one.
    Its intake's journal is open; who takes the learner closes it. In lock step it has no thread.

    Nothing is written until all that it begins with was found to fit, and the journal's lock keeps other learners out. What one of
    them saved meanwhile is there only now, so that is looked at with the lock held.

    Raises:
        WarmloopError: demonstrations or a checkpoint that do not fit the environment or the configuration, or another learner is here.
    """
    spec = config.tasks.condition_spec(environment.spec)
    parts = fine_parts(config, spec)
    target, place = directory / "checkpoints", directory / "journal"
    fresh = None
    if not _saved(target, resuming):
        rows = demonstration_rows(config, environment, demo_paths, warm=warm[0] is not None)
        fresh = fine_tune(parts, seed, rows, *warm)
    with contextlib.ExitStack() as opened:
        journal = opened.enter_context(contextlib.closing(Journal(place, background=not lock_step)))
        if fresh is None or _saved(target, resuming):
            state, meta = resume(target, parts)
        else:
            state, meta = fresh, {}
            if resuming:
                log.warning("There is no checkpoint in %s to go on from: the run begins.", target)
        if lock_step:  # the actor repeats what came after the checkpoint
            journal.drop_after(*meta.get("journal_end", (0, 0)))
        elif not meta and segments(place):
            raise WarmloopError(
                f"{place} holds rows, and {target} no checkpoint to go on from; restore it from a copy, or choose another --exp_name."
            )
        schema = Schema.of(spec, config.tasks.label(config.environment.id), action_limits=config.environment.limits)
        intake = Intake(schema, quarantine=directory / "quarantine", journal=journal)
        state, ingest = refill(state, parts, config.reward, intake, meta, config.tasks, config.quality)
        warm_updates = int(meta.get("warm_updates", state.updates))
        description = {"config": to_dict(config), "phase": "online", "seed": seed}
        learner = Learner(state, parts, config.learner, ingest, intake, recorder, target, description, warm_updates, on_record)
        opened.pop_all()
    if state.frames.cameras:
        log.info(state.frames.summary())
    return learner, meta


def _saved(target: Path, resuming: bool) -> bool:
    """Whether the run has a checkpoint. Raises WarmloopError where it has, and is not to go on."""
    saved = bool(checkpoint.steps(target))
    if saved and not resuming:
        raise WarmloopError(f"{target} holds a run already; go on with it by --resume, or choose another --exp_name.")
    return saved
