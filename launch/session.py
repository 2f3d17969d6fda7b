"""A fine-tuning session: the learner with its metrics, its progress bar and its orderly end."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from . import settings
from .common import log, progress

if TYPE_CHECKING:
    from ..configs.schema import RunConfig
    from ..learner.loop import Learner


@contextlib.contextmanager
def running_learner(
    config: RunConfig, warm: tuple[str | None, int | None], demo_paths: Sequence[str], resuming: bool, lock_step: bool = False
) -> Iterator[tuple[Learner, dict]]:
    """A learner whose metrics are recorded and whose progress is shown until the block ends, and the description of the
    checkpoint that it goes on from ({} for a fresh one). Draws the run's curves at the end.

    A fresh one is saved first, so that from the first row on there is a checkpoint to go on from; not in lock step, where the
    actor would repeat its rows anyway.
    """
    from ..actor.environment import make_environment
    from ..learner.metrics import Recorder
    from ..learner.plot import plot_run
    from .assemble import make_learner
    from .sources import target_of

    directory, shown = settings.run_directory(), 0
    environment = make_environment(config.environment, config.reward, tasks=config.tasks)
    environment.close()
    with Recorder(directory) as recorder, progress("fine-tuning", config.learner.online_steps) as advance:

        def show(updates: int, steps: int, metrics: Mapping[str, float]) -> None:
            nonlocal shown
            advance(steps - shown, summary(metrics))
            shown = steps

        learner, meta = make_learner(
            config, target_of(environment), settings.SEED.value, directory, recorder, show, warm, demo_paths, resuming, lock_step
        )
        settings.save_config(directory, config)
        try:
            if not (meta or lock_step):
                learner.save()
            yield learner, meta
        finally:
            close_journal(learner)
    print(f"curves       {plot_run(directory)}")


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


def on_signals(stop: Callable[[], object]) -> None:
    """SIGTERM and Ctrl-C ask for an orderly end; a second one ends at once."""

    asked = False

    def handle(number: int, frame: object) -> None:
        nonlocal asked
        if asked:
            os._exit(130)
        asked = True
        log.info("stopping: saving what there is")
        stop()

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)
