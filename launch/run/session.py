"""A fine-tuning session: the learner with its metrics, its progress bar and its orderly end."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...data.errors import EnvironmentGaveOut
from ..flags.common import log, progress
from ..starting.signals import answering

if TYPE_CHECKING:
    from ...actor.environment.environment import Environment
    from ...configs.schema import RunConfig
    from ...data.sources.sources import Target
    from ...learner.loop import Learner


@contextlib.contextmanager
def running_learner(
    config: RunConfig,
    target: Target,
    directory: Path,
    seed: int,
    warm: tuple[str | Path | None, int | None],
    demo_paths: Sequence[str],
    resuming: bool,
    lock_step: bool = False,
) -> Iterator[tuple[Learner, dict]]:
    """A learner in a run's folder, whose metrics are recorded and whose progress is shown until the block ends, and the description of
    the checkpoint that it goes on from ({} for a fresh one).

    A fresh one is saved first, so that from the first row on there is a checkpoint to go on from; not in lock step, where the
    actor would repeat its rows anyway. So is one whose configuration is not its checkpoint's any more.
    """
    from ...learner.diagnosis.metrics import Recorder
    from .assemble import make_learner
    from .run_record import save_config

    shown, total = 0, config.learner.online_steps
    with Recorder(directory) as recorder, progress("fine-tuning", total) as advance:

        def show(updates: int, steps: int, metrics: Mapping[str, float]) -> None:
            nonlocal shown
            advance(min(steps, total) - shown, summary(metrics))
            shown = min(steps, total)

        learner, meta = make_learner(config, target, seed, directory, recorder, show, warm, demo_paths, resuming, lock_step)
        shown = min(learner.environment_steps, total)
        advance(shown)
        if learner.environment_steps >= total:
            log.warning(
                "The run has done %d of %d environment steps already: nothing is left to do. --online_steps=N with a larger N goes on.",
                learner.environment_steps,
                total,
            )
        try:
            with answering(lambda: setattr(learner, "stop_requested", True)):
                save_config(directory, learner.description)
                changed = bool(meta) and meta["config"] != learner.description["config"]
                if changed or not (meta or lock_step):
                    learner.save({"actor": meta["actor"]} if "actor" in meta else {})
                yield learner, meta
                if told := learner.best.told():
                    log.info(told)
        finally:
            close_journal(learner)


def in_lock_step(
    config: RunConfig,
    learner: Learner,
    meta: Mapping[str, Any],
    environment: Environment,
    seed: int,
    watch: Callable[[Learner], object] = lambda learner: None,
    **beside: Any,
) -> None:
    """Actor and learner in turn until all environment steps are done or the learner is asked to stop, and a checkpoint at the end: after
    every environment step, all updates that it allows. `meta` describes the checkpoint that the learner goes on from, and `beside` has the
    intervener and the clips of the actor's loop. `watch` sees the learner before the first step and after the updates of each."""
    from ...actor.control_loop import ActorLoop
    from ...actor.delivery.client import Client
    from ...data.wire.direct import DirectStub
    from ...learner.receiving.service import Servicer

    agent = learner.parts.agent
    client = Client(DirectStub(Servicer(learner.intake)), learner.intake.schema, agent, "actor-0", config.actor, background=False)
    quarantine = learner.directory.parent / "quarantine"
    actor = ActorLoop(environment, agent, client, config.actor, seed, 0, meta.get("actor"), quarantine=quarantine, **beside)

    begun = actor.episode

    def stop() -> None:
        learner.stop_requested = True
        client.stop()  # on which a robot does not finish its episode

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


def summary(metrics: Mapping[str, float]) -> str:
    """What the progress bar says beside the count."""
    shown = {
        "success": "actor/success_rate",
        "evaluated": "evaluation/success_rate",
        "best": "best/success_rate",
        "ratio": "learner/effective_offline_ratio",
        "updates/step": "learner/updates_per_step",
        "of": "learner/updates_per_step_asked",
        "updates/s": "learner/updates_per_second",
    }
    parts = ", ".join(f"{name} {metrics[key]:.2f}" for name, key in shown.items() if key in metrics)
    return parts.replace(", of ", " of ")


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
