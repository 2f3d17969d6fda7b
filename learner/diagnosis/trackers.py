"""Where metrics go beside metrics.jsonl: `learner.trackers` names any of tensorboard, wandb, trackio and MODULE:NAME of a user's own.

What is named is called with the run and its options, at the first record, and returns a `Tracker`. One that fails is told once, and the
run goes on.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from ...data.doors.door import Door
from ...data.doors.imports import is_importable_name, told
from ...data.errors import WarmloopError
from ...data.settings.near_names import did_you_mean

WHERE = "learner.trackers"
# Of the package's own: what each may be told, as in wandb:project=door,mode=offline.
OPTIONS: dict[str, tuple[str, ...]] = {
    "tensorboard": (),
    "wandb": ("project", "entity", "group", "name", "mode"),
    "trackio": ("project", "group", "name", "space_id"),
}
OWN = {  # whose libraries are loaded when a run asks for them
    "tensorboard": (".tensorboard_events", "TensorBoardEvents"),
    "wandb": (".hosted_trackers", "WandbTracker"),
    "trackio": (".hosted_trackers", "TrackioTracker"),
}
PACKAGES = ("wandb", "trackio")
WANTED = "a callable that takes the run (a TrackedRun) and makes an object with write(record) and close()"
DOOR = Door("a tracker", WANTED, tuple(OPTIONS))

TRY_AGAIN_SECONDS = 600.0

log = logging.getLogger("warmloop")


@dataclasses.dataclass(frozen=True)
class TrackedRun:
    """What a tracker is told of a run.

    Attributes:
        directory: of its metrics, where a tracker may keep files.
        name: of the run.
        config: its settings, nested plain values.
    """

    directory: Path
    name: str = ""
    config: Mapping[str, Any] = dataclasses.field(default_factory=dict)


class Tracker(Protocol):
    """Takes a run's records. One may also have `replace(records)`, called where every second record of the older half was left out."""

    def write(self, record: Mapping[str, float]) -> None:
        """One record: metrics by name, and `updates`, `time` (seconds since 1970) and in a fine-tuning `environment_steps`."""
        ...

    def close(self) -> None:
        """The run is over, or goes on in another process."""
        ...


@dataclasses.dataclass(frozen=True)
class TrackerChoice:
    """A tracker by its name, with its options."""

    name: str
    options: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, text: str) -> TrackerChoice:
        """The choice that NAME[:OPTION=VALUE,…] or MODULE:NAME[:OPTION=VALUE,…] stands for; nothing is imported.

        Raises:
            WarmloopError: there is none of that name, or it has no such option.
        """
        parts = text.split(":", 2)
        own = parts[0] not in OPTIONS and is_importable_name(":".join(parts[:2]))
        name, _, given = text.partition(":") if not own else (":".join(parts[:2]), "", ":".join(parts[2:]))
        if not own and name not in OPTIONS:
            raise DOOR.unknown(text, WHERE)
        options = dict[str, str]()
        for part in filter(None, given.split(",")):
            option, equals, value = part.partition("=")
            if not (equals and option.isidentifier()):
                raise WarmloopError(f'{WHERE} has "{text}": "{part}" is no option; write OPTION=VALUE.')
            if not own and option not in OPTIONS[name]:
                known = ", ".join(OPTIONS[name]) or "none"
                near = did_you_mean(option, OPTIONS[name])
                raise WarmloopError(f'{WHERE} has "{text}": {name} has no option "{option}"{near} It takes {known}.')
            options[option] = value
        return cls(name, tuple(options.items()))

    def check(self) -> None:
        """Raises WarmloopError where its package is not installed, or a user's own is not there."""
        if self.name in PACKAGES and importlib.util.find_spec(self.name) is None:
            raise WarmloopError(
                f"{WHERE} names {self.name}, which is not installed: pip install 'warmloop[{self.name}]', or leave it out of {WHERE}."
            )
        if self.name not in OPTIONS and not callable(found := DOOR.open(self.name, WHERE)):
            raise DOOR.refused(self.name, WHERE, found)

    def __call__(self, run: TrackedRun) -> Tracker:
        """Begins to track. Raises whatever the tracker does."""
        if self.name in OPTIONS:
            module, kind = OWN[self.name]
            made = getattr(importlib.import_module(module, __package__), kind)
        else:
            made = DOOR.open(self.name, WHERE)
        return made(run, **dict(self.options))


class Trackers:
    """All trackers of a run, begun at its first record.

    Raises:
        WarmloopError: one is not there, or its package is not.
    """

    def __init__(self, texts: Sequence[str], run: TrackedRun):
        self._run, self._choices = run, [TrackerChoice.parse(text) for text in texts]
        for choice in self._choices:
            choice.check()
        self._open: dict[str, Tracker] = {}
        self._begin_at: dict[str, float] = {}
        self._failed: set[str] = set()  # which is told once each

    def write(self, record: Mapping[str, float]) -> None:
        """Gives a record to all of them."""
        self._each(lambda tracker: tracker.write(record))

    def replace(self, records: Sequence[Mapping[str, float]]) -> None:
        """Gives all that is left of the records to those that can begin anew."""
        self._each(lambda tracker: getattr(tracker, "replace", lambda _: None)(records))

    def close(self) -> None:
        """Ends them."""
        self._each(lambda tracker: tracker.close(), begin=False)
        self._open.clear()
        self._begin_at.clear()

    def _each(self, act: Callable[[Tracker], object], begin: bool = True) -> None:
        for choice in self._choices:
            try:
                if begin and choice.name not in self._open and time.monotonic() >= self._begin_at.get(choice.name, 0.0):
                    self._begin_at[choice.name] = time.monotonic() + TRY_AGAIN_SECONDS  # a service that is away may take half a minute
                    self._open[choice.name] = choice(self._run)
                if choice.name in self._open:
                    act(self._open[choice.name])
            except Exception as error:  # of a service, a disk or a user's own: none of them is worth a run
                self._tell(choice.name, error)

    def _tell(self, name: str, error: Exception) -> None:
        if name not in self._failed:
            self._failed.add(name)
            log.error(
                "The tracker %s failed (%s). The run goes on, and metrics.jsonl has every record. Further failures of it are not told.",
                *(name, told(error)),
            )
