"""A fine-tuning session: the learner with its metrics, its progress bar and its orderly end."""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.errors import WarmloopError
from .common import INTERRUPTED, log, progress

if TYPE_CHECKING:
    from ..actor.environment import Environment
    from ..configs.schema import RunConfig
    from ..data.sources import Target
    from ..learner.loop import Learner

SAVED = "config.json"
ONE_WISH_SECONDS = 2.0


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
    actor would repeat its rows anyway.
    """
    from ..learner.metrics import Recorder
    from .assemble import make_learner

    shown, total = 0, config.learner.online_steps  # episodes are whole, so that there may be steps beyond these
    with Recorder(directory) as recorder, progress("fine-tuning", total) as advance:

        def show(updates: int, steps: int, metrics: Mapping[str, float]) -> None:
            nonlocal shown
            advance(min(steps, total) - shown, summary(metrics))
            shown = min(steps, total)

        learner, meta = make_learner(config, target, seed, directory, recorder, show, warm, demo_paths, resuming, lock_step)
        shown = min(learner.environment_steps, total)
        advance(shown)
        try:
            save_config(directory, config)
            if not (meta or lock_step):
                learner.save()
            yield learner, meta
        finally:
            close_journal(learner)


def in_lock_step(config: RunConfig, learner: Learner, meta: Mapping[str, Any], environment: Environment, seed: int, **beside: Any) -> None:
    """Actor and learner in turn until all environment steps are done or the learner is asked to stop, and a checkpoint at the end: after
    every environment step, all updates that it allows. `meta` describes the checkpoint that the learner goes on from, and `beside` has the
    intervener and the clips of the actor's loop."""
    from ..actor.client import Client
    from ..actor.loop import ActorLoop
    from ..data.wire.direct import DirectStub
    from ..learner.service import Servicer

    agent = learner.parts.agent
    client = Client(DirectStub(Servicer(learner.intake)), learner.intake.schema, agent, "actor-0", config.actor, background=False)
    actor = ActorLoop(environment, agent, client, config.actor, seed, 0, meta.get("actor"), **beside)
    for _ in actor.steps():
        while learner.advance():
            pass
        if actor.at_boundary:
            learner.publish()
            if learner.save_due:
                learner.try_save({"actor": actor.progress})
        if learner.finished or (learner.stop_requested and actor.at_boundary):
            break
    learner.record_rest()
    learner.save({"actor": actor.progress})


def save_config(directory: Path, config: RunConfig) -> None:
    """Writes the configuration that runs to `directory/config.json`. Raises WarmloopError where the folder cannot be made."""
    from ..configs.schema import to_dict

    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WarmloopError(f"The run's folder {directory} cannot be made: {error.strerror}.") from error
    (directory / SAVED).write_text(json.dumps(to_dict(config), indent=1, default=str) + "\n")


def close_journal(learner: Learner) -> None:
    """Writes to the journal what has come until now."""
    if learner.intake.journal is not None:
        learner.intake.journal.close()


def summary(metrics: Mapping[str, float]) -> str:
    """What the progress bar says beside the count."""
    shown = {
        "success": "actor/success_rate",
        "evaluated": "evaluation/success_rate",
        "ratio": "learner/effective_offline_ratio",
        "updates/s": "learner/updates_per_second",
    }
    return ", ".join(f"{name} {metrics[key]:.2f}" for name, key in shown.items() if key in metrics)


def on_signals(stop: Callable[[], object], at_once: Callable[[], object] = lambda: None) -> None:
    """SIGTERM and Ctrl-C ask for an orderly end by `stop()`; a second one calls `at_once()` and ends the process.

    What comes within two seconds is one wish: Ctrl-C at a terminal and a supervisor's SIGTERM reach a process by itself, and again
    through the one that started it.
    """

    asked = math.inf

    def handle(number: int, frame: object) -> None:
        nonlocal asked
        if time.monotonic() > asked + ONE_WISH_SECONDS:
            at_once()
            os._exit(INTERRUPTED)
        if asked == math.inf:
            asked = time.monotonic()
            log.info("stopping: saving what there is")
            stop()

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)


@contextlib.contextmanager
def answering(stop: Callable[[], object], at_once: Callable[[], object] = lambda: None) -> Iterator[None]:
    """As `on_signals`, within the block."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    on_signals(stop, at_once)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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
