"""What a notebook's trainings tell while they run, and how a callback ends one early."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ...data.errors import WarmloopError
from ...data.settings.near_names import did_you_mean
from ...learner.loop import Learner


class Verdict(enum.Enum):
    """What a callback may return beside None."""

    STOP = "stop"


STOP = Verdict.STOP  # ends the training: offline at once, online with the episode


class Recorded(NamedTuple):
    """For `on_record`: the metrics that were just recorded, by name; `environment_steps` is 0 offline."""

    updates: int
    environment_steps: int
    metrics: Mapping[str, float]


class EpisodeEnded(NamedTuple):
    """For `on_episode`: a training episode, with `actor/episode_return`, `actor/success_rate` and what else its actor reports."""

    updates: int
    environment_steps: int
    metrics: Mapping[str, float]


class CheckpointSaved(NamedTuple):
    """For `on_checkpoint`: a whole checkpoint on disk."""

    updates: int
    path: Path


METHODS = ("on_record", "on_episode", "on_checkpoint")


class Callbacks:
    """Calls the methods that a user's callback has, each with one argument, an object of the classes above.

    What one raises ends the training in order, as STOP does, and is raised when it is over, so that what was learnt is kept.

    Args:
        callback: an object with some of METHODS; None for none.
        stop: asks the training to end.

    Raises:
        WarmloopError: it has none of them, or one that is nearly one of them.
    """

    def __init__(self, callback: Any, stop: Callable[[], object]):
        self._callback, self._stop = callback, stop
        self._error: Exception | None = None
        self.wants_checkpoints = hasattr(callback, "on_checkpoint")
        if callback is None:
            return
        for name in dir(callback):
            if name.startswith("on_") and name not in METHODS:
                raise WarmloopError(f'The callback has "{name}", which nothing calls{did_you_mean(name, METHODS)} There are {_known()}.')
        if not any(hasattr(callback, name) for name in METHODS):
            raise WarmloopError(f"{callback!r:.60} is no callback; give an object with some of the methods {_known()}.")

    def record(self, updates: int, environment_steps: int, metrics: Mapping[str, float]) -> None:
        """Metrics were recorded."""
        self._call("on_record", Recorded(updates, environment_steps, dict(metrics)))

    def episode(self, updates: int, environment_steps: int, metrics: Mapping[str, float]) -> None:
        """A training episode is over."""
        self._call("on_episode", EpisodeEnded(updates, environment_steps, dict(metrics)))

    def checkpoint(self, updates: int, path: Path) -> None:
        """A checkpoint was saved."""
        self._call("on_checkpoint", CheckpointSaved(updates, path))

    def hear(self, learner: Learner) -> None:
        """Has a learner tell of its records, episodes and checkpoints."""
        listeners = learner.listeners
        shown = listeners.on_record

        def record(updates: int, steps: int, metrics: Mapping[str, float]) -> None:
            shown(updates, steps, metrics)
            self.record(updates, steps, metrics)

        listeners.on_record, listeners.on_episode, listeners.on_checkpoint = record, self.episode, self.checkpoint

    def finish(self) -> None:
        """Raises what a method of the callback raised."""
        if self._error is not None:
            raise self._error

    def _call(self, method: str, told: object) -> None:
        if self._error is not None or not hasattr(self._callback, method):
            return
        try:
            answer = getattr(self._callback, method)(told)
            if answer is not None and answer is not STOP:
                raise WarmloopError(f"{method} of the callback returned {answer!r:.60}; return None to go on, or warmloop.STOP to end.")
        except Exception as error:
            self._error, answer = error, STOP
        if answer is STOP:
            self._stop()


def _known() -> str:
    return f"{', '.join(METHODS[:-1])} and {METHODS[-1]}"
