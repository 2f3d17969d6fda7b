"""The offline phase: updates on recorded data alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import jax
import numpy as np

from .config import LearnerConfig
from .metrics import Recorder
from .state import LearnerParts, LearnerState
from .step import run_steps

OnProgress = Callable[[int, Mapping[str, float]], None]


def warm_up(
    state: LearnerState,
    parts: LearnerParts,
    config: LearnerConfig,
    recorder: Recorder,
    on_progress: OnProgress,
    until: int | None = None,
) -> LearnerState:
    """Updates until `until` (default `config.warmup_steps`) in all; `on_progress(updates, metrics)` is called at every record.

    All updates of one program size run first, so two programs serve any number.
    """
    done, last = int(state.updates), config.warmup_steps if until is None else until
    logged, since = done, time.perf_counter()
    while done < last:
        count = config.updates_per_call if last - done >= config.updates_per_call else 1
        state, metrics = run_steps(state, parts, count)
        done += count
        if done - logged >= config.log_every or done == last:
            scalars = {name: float(value) for name, value in jax.device_get(metrics).items()}
            now = time.perf_counter()
            scalars["learner/updates_per_second"] = (done - logged) / (now - since)
            on_progress(done, recorder.write(done, scalars))
            logged, since = done, now
    return state


def td_errors(state: LearnerState, parts: LearnerParts) -> np.ndarray:
    """|TD error| `[N]` of the offline rows as last seen by the replay, for retention; zeros where priorities are off (α = 0)."""
    urgency = np.asarray(state.offline.urgency)
    if parts.replay.alpha == 0:
        return np.zeros_like(urgency)
    return np.maximum(np.power(urgency, 1.0 / parts.replay.alpha) - parts.replay.epsilon, 0.0)
