"""A fine-tuning session: the learner with its metrics, its progress bar and its orderly end."""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...data.errors import EnvironmentGaveOut
from ..flags.common import log, progress
from ..starting.signals import answering

if TYPE_CHECKING:
    from ...actor.control_loop import Beside
    from ...actor.environment.environment import Environment
    from ...configs.schema import RunConfig
    from ...data.sources.sources import Target
    from ...learner.diagnosis.metrics import Recorder
    from ...learner.loop import Learner
    from .plan import Plan


@contextlib.contextmanager
def running_learner(plan: Plan, target: Target) -> Iterator[tuple[Learner, dict]]:
    """A learner in a run's folder, whose metrics are recorded and whose progress is shown until the block ends, and the description of
    the checkpoint that it goes on from ({} for a fresh one).

    A fresh one is saved first, so that from the first row on there is a checkpoint to go on from; not in lock step, where the
    actor would repeat its rows anyway. So is one whose configuration is not its checkpoint's any more.
    """
    from ..telling import run_history as history
    from ..telling.run_line import RunLine
    from .assemble import make_learner
    from .run_record import save_config

    config, origin, directory = plan.config, plan.origin, plan.folder.path
    line = RunLine(config.learner.online_steps, config.reward.signal == "environment")
    with recorder_of(config, directory, directory.name) as recorder, contextlib.ExitStack() as shown:
        learner, meta = make_learner(plan, target, recorder, line)
        if learner.environment_steps >= config.learner.online_steps:
            log.warning(
                "The run has done %d of %d environment steps already: nothing is left to do. --online_steps=N with a larger N continues "
                "it.",
                learner.environment_steps,
                config.learner.online_steps,
            )
        try:
            line.advance = shown.enter_context(progress("fine-tuning", config.learner.online_steps, line.begin(learner.environment_steps)))
            with answering(lambda: setattr(learner, "stop_requested", True)):
                save_config(plan.folder, learner.saver.description)
                begun = {"checkpoint": origin.checkpoints and str(origin.checkpoints), "demonstrations": list(map(str, origin.demos))}
                history.note(directory, history.BEGAN, "online", steps=learner.environment_steps, resumed=bool(meta), **begun)
                changed = bool(meta) and meta["config"] != learner.saver.description["config"]
                if changed or not (meta or plan.lock_step):
                    learner.save({"actor": meta["actor"]} if "actor" in meta else {})
                yield learner, meta
                reached = {"steps": learner.environment_steps, "updates": learner.updates}
                history.note(directory, history.ENDED, "online", finished=learner.finished, **reached)
                if told := learner.best.told():
                    log.info(told)
        finally:
            close_journal(learner)


def in_lock_step(
    plan: Plan,
    learner: Learner,
    meta: Mapping[str, Any],
    environment: Environment,
    watch: Callable[[Learner], object] = lambda learner: None,
    beside: Beside | None = None,
) -> None:
    """Actor and learner in turn until all environment steps are done or the learner is asked to stop, and a checkpoint at the end: after
    every environment step, all updates that it allows. `meta` describes the checkpoint that the learner goes on from. `watch` sees the
    learner before the first step and after the updates of each."""
    from ...actor.control_loop import ActorLoop, Beside, EpisodeStream
    from ...actor.delivery.client import Client, Introduction
    from ...data.wire.direct import DirectStub
    from ...learner.receiving.service import Servicer

    agent, stream = learner.parts.agent, EpisodeStream(plan.seed, progress=meta.get("actor", {}))
    introduction = Introduction(learner.intake.schema, agent, "actor-0")
    client = Client(DirectStub(Servicer(learner.intake)), introduction, plan.config.actor, background=False)
    beside = dataclasses.replace(beside or Beside(), quarantine=plan.folder.quarantine)
    actor = ActorLoop(environment, agent, client, plan.config.actor, stream, beside)

    begun = actor.episode

    def stop() -> None:
        learner.stop_requested = True
        client.stop()  # on which a robot does not finish its episode

    if beside.desk is not None:
        beside.desk.stop = stop
    try:
        with answering(stop):
            watch(learner)
            for _ in actor.steps():
                while learner.advance():
                    pass
                watch(learner)
                if actor.at_boundary:
                    learner.publish()
                    if learner.save_due:
                        learner.try_save({"actor": actor.progress})
                if learner.finished or (learner.stop_requested and actor.at_boundary):
                    break
    except Exception as error:  # what was learnt until then is kept, but for a mistake that the first episode shows
        if isinstance(error, EnvironmentGaveOut) or actor.episode > begun:
            learner.try_save({"actor": actor.progress})
        raise
    learner.record_rest()
    learner.save({"actor": actor.progress})


def close_journal(learner: Learner) -> None:
    """Writes to the journal what has come until now."""
    if learner.intake.journal is not None:
        learner.intake.journal.close()


def recorder_of(config: RunConfig, directory: Path, name: str) -> Recorder:
    """What records a run's metrics in a folder, with the trackers that it has. Raises WarmloopError where one of them cannot be had."""
    from ...configs.schema import to_dict
    from ...learner.diagnosis.metrics import Recorder

    return Recorder(directory, config.learner.trackers, name, to_dict(config))


@contextlib.contextmanager
def stopping(stop: Callable[[], object]) -> Iterator[None]:
    """Within the block the first Ctrl-C asks for an orderly end; a second one is a KeyboardInterrupt. For notebooks."""
    if threading.current_thread() is not threading.main_thread():  # which alone may handle signals
        yield
        return
    before = signal.getsignal(signal.SIGINT)

    def handle(number: int, frame: object) -> None:
        signal.signal(signal.SIGINT, before)
        stop()

    signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
