"""The offline phase: updates on recorded data alone."""

from __future__ import annotations

import dataclasses
import logging
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from ..data.transition import Batch
from .chunks import Chunks
from .config import LearnerConfig
from .diagnosis.departures import tell_held
from .diagnosis.metrics import Recorder
from .judging import proportion
from .judging.heldout import EarlyStop, measures
from .soundness import check_sound
from .state import LearnerParts, LearnerState
from .step import Stepper

OnProgress = Callable[[int, Mapping[str, float]], None]

log = logging.getLogger("warmloop")
LONG_SECONDS = 1_800.0


@dataclasses.dataclass
class WarmUpWatch:
    """Who watches a warm-up, and may end it.

    Attributes:
        on_progress: called with (updates, metrics) at every record.
        on_call: called with the updates that are done after every call.
        on_checkpoint: given the state `config.warmup_checkpoints` times, evenly spaced, the last time at the end; 0 is as many times as
            `proportion.checkpoints` says.
        interrupted: asked after every program and every record; True ends the warm-up there, with a record and a checkpoint.
    """

    on_progress: OnProgress = lambda updates, metrics: None
    on_call: Callable[[int], Any] = lambda updates: None
    on_checkpoint: Callable[[LearnerState], Any] = lambda state: None
    interrupted: Callable[[], bool] = lambda: False


def warm_up(
    state: LearnerState,
    parts: LearnerParts,
    config: LearnerConfig,
    recorder: Recorder,
    watch: WarmUpWatch,
    held_out: Batch | None = None,
) -> LearnerState:
    """Updates until `config.warmup_steps` in all, or until measures on the rows `held_out`, taken at every record, say that it is enough.

    A compiled call takes about a second, and may be of any number of updates: these are the same to the bit.

    Raises:
        WarmloopError: it is to stop early by a measure that is not taken, or has diverged (`NotFinite`).
    """
    done, last = int(state.updates), config.warmup_steps
    if not done:
        tell_held(parts.agent.spec, state.offline, parts.agent.actor_params(state.agent).normaliser)
    logged, since = done, time.perf_counter()
    spacing = max(last / (config.warmup_checkpoints or proportion.checkpoints(last)), 1)
    saved, stop = done // spacing, EarlyStop(config.early_stop_on, config.early_stop_after)
    run, chunks, told = Stepper(parts, loop=True), Chunks(config.updates_per_call), False
    while done < last:
        next_saved = math.ceil((saved + 1) * spacing)
        count = chunks.begin(min(last, logged + config.log_every, max(next_saved, done + 1)) - done)
        state, metrics = run(state, count)
        jax.block_until_ready(metrics)
        chunks.end(count)
        done += count
        last = done if watch.interrupted() else last
        told = told or bool(chunks.rate and tell_duration(last - done, chunks.rate))
        watch.on_call(done)
        if done - logged >= config.log_every or done == last:
            check_sound(state, "it ends; the checkpoints before are whole")
            rate = {"learner/updates_per_second": (done - logged) / (time.perf_counter() - since)}
            measured = {} if held_out is None else measures(parts.agent, state.agent, held_out)
            scalars = {name: float(value) for name, value in jax.device_get({**metrics, **measured, **rate}).items()}
            watch.on_progress(done, recorder.write(done, scalars))
            last = done if watch.interrupted() else last  # which a record may have asked for
            if stop(scalars) and done < last:
                log.info("the warm-up ends early: %s has not improved in %d records", stop.name, stop.patience)
                last = done
            logged, since = done, time.perf_counter()
        if done == last or done // spacing > saved:
            began, saved = time.perf_counter(), done // spacing
            watch.on_checkpoint(state)
            since += time.perf_counter() - began
    return state


def tell_duration(updates: int, rate: float) -> bool:
    """Says how long these updates take at so many a second, where that is long. True, for that it is told."""
    if updates / rate > LONG_SECONDS:
        hours = updates / rate / 3600
        log.info(
            "the %d updates left take about %.1f hours here, at %.0f a second; Ctrl-C saves what is done, and the preset small, as in "
            "TASK,cql,small, is of a laptop's size",
            updates,
            hours,
            rate,
        )
    return True


def td_errors(state: LearnerState, parts: LearnerParts) -> np.ndarray:
    """|TD error| `[N]` of the offline rows as last seen by the replay, for retention; zeros where priorities are off (α = 0)."""
    urgency = np.asarray(state.offline.urgency)
    if parts.replay.alpha == 0:
        return np.zeros_like(urgency)
    return np.maximum(np.power(urgency, 1.0 / parts.replay.alpha) - parts.replay.epsilon, 0.0)
