"""The parts of a run, made from its configuration: what the training commands wire together."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...agents import Agent
from ...configs.rows import row_settings, run_settings
from ...configs.schema import RunConfig, build_agent
from ...data.errors import WarmloopError
from ...data.plausible import find_limits
from ...data.replay import ReplayConfig
from ...data.sources.sources import Target
from ...data.transition import Spec
from ...data.wire.row_schema import Schema, advice, differences, settings_told
from ...learner.checkpoints import complete_checkpoints
from ...learner.checkpoints.leftovers import tidy
from ...learner.checkpoints.saver import Saver
from ...learner.devices import devices_for
from ...learner.diagnosis.metrics import Recorder
from ...learner.journal.journal import Journal
from ...learner.journal.records import segments
from ...learner.judging.best import BestPolicy
from ...learner.judging.reported import EVALUATION, TRAINING
from ...learner.loop import Learner, Listeners, OnRecord, Start
from ...learner.receiving.intake import Intake
from ...learner.rows.ingest import RowRules
from ...learner.starting_state import fine_tune, refill, restore_best, resume
from ...learner.state import LearnerParts
from ..flags.common import log
from .plan import Plan
from .recorded_data import demonstration_rows
from .run_record import begun_with, config_of, described


def warm_parts(config: RunConfig, spec: Spec) -> LearnerParts:
    """The offline phase's agent, replay and mixing."""
    agent = build_agent(config.warmup_agent, config.reward, spec, config.learner.warmup_steps)
    return parts_of(config, agent, config.replay)


def fine_parts(config: RunConfig, spec: Spec) -> LearnerParts:
    """The fine-tuning's agent, replay and mixing. Where online rows are never drawn there is room for every step's intervention."""
    least = 0 if config.mixing.draws_online else config.learner.online_steps
    replay = dataclasses.replace(config.replay, intervention_rows=max(config.replay.intervention_rows, least))
    return parts_of(config, fine_agent(config, spec), replay)


def parts_of(config: RunConfig, agent: Agent, replay: ReplayConfig) -> LearnerParts:
    """What a learner of this agent is made of. Raises WarmloopError where there are not the devices that are asked for."""
    devices = devices_for(agent, config.learner.devices, config.learner.divide)
    return LearnerParts(agent, replay, config.mixing, config.frames, devices, config.learner.precision)


def fine_agent(config: RunConfig, spec: Spec) -> Agent:
    """The agent that fine-tunes."""
    return build_agent(config.agent, config.reward, spec)


def schema_of(config: RunConfig, target: Target) -> Schema:
    """What an actor and its learner must agree on: what the rows look like, and all that decides them."""
    spec, label = config.tasks.condition_spec(target.whole_spec), config.tasks.label(config.environment.id)
    settings = row_settings(config, target.time_limit, target.control_hz)
    return Schema.of(spec, label, action_limits=config.environment.limits, settings=settings)


def refuse_other_rows(config: RunConfig, meta: Mapping[str, Any], checkpoints: Path) -> None:
    """Raises WarmloopError where the rows of the run to resume were made by other settings than those of now: it has them in its pools."""
    if differing := list(differences(run_settings(config_of(meta)), run_settings(config))):
        raise WarmloopError(
            f"The run to resume has rows that other settings made: {settings_told(differing, 'its', 'now it')}. Resume it with its own, or "
            f"begin another run from its policy by --checkpoint_path={checkpoints} and another --exp_name{advice(differing)}."
        )


def make_learner(plan: Plan, environment: Target, recorder: Recorder, on_record: OnRecord) -> tuple[Learner, dict]:
    """The learner of a run, fresh or from the run's own newest checkpoint, and that checkpoint's description ({} if fresh).

    Its intake's journal is open; who takes the learner closes it. In lock step it has no thread.

    Nothing is written until all that it begins with was found to fit, and the journal's lock keeps other learners out. What one of
    them saved meanwhile is there only now, so that is looked at with the lock held.

    Raises:
        WarmloopError: demonstrations or a checkpoint that do not fit the environment or the configuration, or another learner is here.
    """
    config, origin, target, place = plan.config, plan.origin, plan.folder.checkpoints, plan.folder.journal
    description = described(config, "online", plan.seed)
    spec = config.tasks.condition_spec(environment.whole_spec)
    parts = fine_parts(config, spec)
    fresh, rows = None, None
    if not _saved(target, origin.resume):
        rows = demonstration_rows(config, environment, origin.demos, warm=origin.checkpoints is not None)
        fresh = fine_tune(parts, plan.seed, rows, origin.checkpoints, origin.step)
    with contextlib.ExitStack() as opened:
        journal = opened.enter_context(contextlib.closing(Journal(place, background=not plan.lock_step)))
        tidy(target)
        if fresh is None or _saved(target, origin.resume):
            state, meta = resume(target, parts)
            refuse_other_rows(config, meta, target)
            description |= begun_with(origin.checkpoints, origin.demos, meta)
        else:
            state, meta = fresh, {}
            description |= begun_with(origin.checkpoints, origin.demos, None)
            if origin.resume:
                log.warning("There is no checkpoint in %s to resume: the run begins.", target)
        if plan.lock_step:  # the actor repeats what came after the checkpoint
            journal.drop_after(*meta.get("journal_end", (0, 0)))
        elif not meta and segments(place):
            raise WarmloopError(
                f"{place} holds rows, and {target} no checkpoint to resume; restore it from a copy, or choose another --exp_name."
            )
        plausible = find_limits(config.plausible, config.reward, spec, rows, meta.get("plausible"))
        intake = Intake(schema_of(config, environment), quarantine=plan.folder.quarantine, journal=journal, plausible=plausible)
        state, ingest = refill(state, parts, RowRules(config.reward, config.tasks, config.quality), intake, meta)
        warm_updates = int(meta.get("warm_updates", state.updates))
        description["plausible"] = dataclasses.asdict(plausible)
        best = best_policy_of(config)
        restore_best(best, target, meta)
        start = Start(state, parts, ingest, intake, warm_updates, best)
        saver = Saver(target, description, config.learner, int(state.updates))
        learner = Learner(start, config.learner, recorder, saver, Listeners(on_record, on_look=on_record))
        opened.pop_all()
    if state.frames.cameras:
        log.info(state.frames.summary())
    return learner, meta


def best_policy_of(config: RunConfig) -> BestPolicy:
    """What keeps a run's best policy: by its evaluations where it has some, else by its training episodes."""
    learner = dataclasses.replace(config.learner, keep_best=config.keep_best)
    return BestPolicy(learner, EVALUATION if config.actor.evaluate_every else TRAINING, config.reward.signal == "success")


def _saved(target: Path, resuming: bool) -> bool:
    """Whether the run has a checkpoint. Raises WarmloopError where it has, and is not to go on."""
    saved = bool(complete_checkpoints.steps(target))
    if saved and not resuming:
        raise WarmloopError(f"{target} holds a run already; resume it by --resume, or choose another --exp_name.")
    return saved
