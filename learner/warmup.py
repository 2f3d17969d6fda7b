"""The offline phase: updates on recorded data alone."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from ..data.transition import Batch
from .config import LearnerConfig
from .heldout import EarlyStop, measures
from .metrics import Recorder
from .state import LearnerParts, LearnerState
from .step import Stepper

OnProgress = Callable[[int, Mapping[str, float]], None]
OnCheckpoint = Callable[[LearnerState], Any]

log = logging.getLogger("warmloop")


def warm_up(
    state: LearnerState,
    parts: LearnerParts,
    config: LearnerConfig,
    recorder: Recorder,
    on_progress: OnProgress,
    until: int | None = None,
    held_out: Batch | None = None,
    on_checkpoint: OnCheckpoint = lambda state: None,
    interrupted: Callable[[], bool] = lambda: False,
) -> LearnerState:
    """Updates until `until` (default `config.warmup_steps`) in all, or until the held-out measures say that it is enough.

    All updates of one program size run first, so two programs serve any number.

    Args:
        on_progress: called with (updates, metrics) at every record.
        held_out: rows to measure by at every record.
        interrupted: asked after every program; True ends the warm-up there, with a record and a checkpoint.
        on_checkpoint: given the state `config.warmup_checkpoints` times, evenly spaced, the last time at the end.

    Raises:
        WarmloopError: it is to stop early by a measure that is not taken.
    """
    done, last = int(state.updates), config.warmup_steps if until is None else until
    logged, since = done, time.perf_counter()
    spacing, stop = max(last / config.warmup_checkpoints, 1), EarlyStop(config.early_stop_on, config.early_stop_after)
    saved, run = done // spacing, Stepper(parts)
    while done < last:
        count = config.updates_per_call if last - done >= config.updates_per_call else 1
        state, metrics = run(state, count)
        done += count
        last = done if interrupted() else last
        if done - logged >= config.log_every or done == last:
            jax.block_until_ready(metrics)
            rate = {"learner/updates_per_second": (done - logged) / (time.perf_counter() - since)}
            measured = {} if held_out is None else measures(parts.agent, state.agent, held_out)
            scalars = {name: float(value) for name, value in jax.device_get({**metrics, **measured, **rate}).items()}
            on_progress(done, recorder.write(done, scalars))
            if stop(scalars) and done < last:
                log.info("the warm-up ends early: %s has not improved in %d records", stop.name, stop.patience)
                last = done
            logged, since = done, time.perf_counter()
        if done == last or done // spacing > saved:
            began, saved = time.perf_counter(), done // spacing
            on_checkpoint(state)
            since += time.perf_counter() - began
    return state


def td_errors(state: LearnerState, parts: LearnerParts) -> np.ndarray:
    """|TD error| `[N]` of the offline rows as last seen by the replay, for retention; zeros where priorities are off (α = 0)."""
    urgency = np.asarray(state.offline.urgency)
    if parts.replay.alpha == 0:
        return np.zeros_like(urgency)
    return np.maximum(np.power(urgency, 1.0 / parts.replay.alpha) - parts.replay.epsilon, 0.0)
