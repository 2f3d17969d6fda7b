"""What the files of a run's folder say of it, read as they grow: metrics, episodes, notes, history."""

from __future__ import annotations

import math
import shutil
import threading
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ....data.errors import WarmloopError
from ....data.files.run_folder import RunFolder
from ....data.statistics import wilson
from ....learner.diagnosis.metrics import LINES
from ...telling.run_history import BEGAN, ENDED, HISTORY
from .tail import Tail

if TYPE_CHECKING:
    from ...reports.outcomes import Result
    from ...reports.story import Story

EVALUATION = "evaluation/success_rate"
MOST_RECORDS = 4000  # of the metrics; beyond them every second one is left out
MOST_EPISODES = 100_000  # the oldest are left out
COUNTED = ("success", "no success", "failure")  # outcomes of episodes that count
WINDOWS = (20, 100)
UNBOUNDED = (-math.inf, math.inf)
# What is drawn, and the numbers that stand on the page.
KEPT = (
    "environment_steps", "updates", "time", "actor/success_rate", "actor/episode_return", "actor/interventions",
    "actor/intervention_rate", "critic/loss", "actor/loss", "value/loss", "model/loss", "critic/q_mean", "critic/target_mean",
    "learner/updates_per_second", "learner/updates_per_step", "learner/updates_per_step_asked", "learner/offline_ratio",
    "learner/effective_offline_ratio", "intake/waiting", "intake/quarantined", "journal/failing", "heldout/action_error",
    "heldout/td_error", "best/success_rate", "best/fallen", "critic/q_max",
)  # fmt: skip


class RunFiles:
    """See the module. `refresh` reads what is new; the rest is quick.

    Attributes:
        folder: the run's.
        lock: to be held where records or episodes are gone through while another thread may refresh.
        online, warm: records of the metrics, oldest first, thinned.
        episodes: training episodes as `learner/diagnosis/episode_log.py` writes them, oldest first, each with its `id`.
        notes: by actor and number of an episode.
        warm_result: how the warmed-up policy did; None where nobody judged it.
        bounds: the least and the greatest return that the reward allows.
        evaluations: records of those of the fine-tuning.
        changes: another number whenever something came.
        story_due: `read_story` would find something new.
        readings: another number whenever records were replaced by others, so that who has some must ask for all.
    """

    def __init__(self, path: Path):
        self.folder, self.lock = RunFolder(path), threading.Lock()
        self._metrics, self._warm_metrics = Tail(path / LINES), Tail(self.folder.warmup_metrics / LINES)
        self._episodes, self._notes, self._history = Tail(self.folder.episodes), Tail(self.folder.notes), Tail(path / HISTORY)
        self.online, self.warm, self.evaluations = list[dict[str, float]](), list[dict[str, float]](), list[dict[str, float]]()
        self._newest: dict[str, dict[str, float]] = {"warm": {}, "online": {}}
        self.episodes: deque[dict[str, Any]] = deque(maxlen=MOST_EPISODES)
        self.notes: dict[tuple[str, int], str] = {}
        self.history, self._story = list[dict[str, Any]](), None
        self.warm_result: Result | None = None
        self.bounds = UNBOUNDED
        self.changes = self.readings = self._next_id = 0
        self.story_due = True
        self._every = {"online": 1, "warm": 1}

    def refresh(self) -> None:
        """Reads what is new."""
        with self.lock:
            self._refresh()

    def _refresh(self) -> None:
        self._refresh_metrics("online", self._metrics)
        self._refresh_metrics("warm", self._warm_metrics)
        replaced, new = self._episodes.read()
        if replaced and self.episodes:
            self.episodes.clear()
            self.readings += 1
        for episode in new:
            self.episodes.append({"id": self._next_id} | episode)
            self._next_id += 1
        replaced, notes = self._notes.read()
        self.notes |= {(str(note.get("actor")), note.get("number", -1)): str(note.get("text", "")) for note in notes}
        replaced, events = self._history.read()
        self.history = events if replaced else [*self.history, *events]
        self.story_due |= bool(events)
        self.changes += bool(new or notes or events)

    def _refresh_metrics(self, phase: str, tail: Tail) -> None:
        replaced, new = tail.read()
        kept = self.online if phase == "online" else self.warm
        if replaced and kept:
            kept.clear()
            self._every[phase], self.readings = 1, self.readings + 1
            if phase == "online":
                self.evaluations.clear()
        for number, record in enumerate(new):
            if EVALUATION in record and phase == "online":
                self.evaluations.append(record)
            elif number % self._every[phase] == 0 or number == len(new) - 1:
                kept.append({name: record[name] for name in KEPT if isinstance(record.get(name), int | float)})
            self._newest[phase] |= {name: value for name, value in record.items() if isinstance(value, int | float)}
            if len(kept) > MOST_RECORDS:
                del kept[: MOST_RECORDS // 2 : 2]
                self._every[phase] *= 2
        self.changes += bool(new)

    def read_story(self) -> None:
        """Reads the configuration, and how the warm-up did, as the run's report has them. The first time it imports what takes seconds."""
        from ....configs.schema import from_dict
        from ....data.reward import return_bounds
        from ...reports.outcomes import results
        from ...reports.story import read_story

        self.story_due = False
        try:
            self._story = read_story(self.folder.path)
            self.warm_result = results(self._story)[0]
            self.bounds = return_bounds(from_dict(dict(self._story.config)).reward) if self._story.config else UNBOUNDED
        except (WarmloopError, OSError, TypeError, ValueError, KeyError):  # a run that has only just begun, or is damaged
            self.bounds = UNBOUNDED
        self.changes += 1

    @property
    def newest(self) -> dict[str, float]:
        """Of each metric its newest value: of the fine-tuning, or of the warm-up while nothing else has run."""
        return self._newest["online"] or self._newest["warm"]

    @property
    def story(self) -> Story | None:
        """As the run's report has it, of when a command last began or ended; None while there is no run yet."""
        return self._story

    @property
    def began(self) -> Mapping[str, Any]:
        """The newest start of a command that trains."""
        return next((event for event in reversed(self.history) if event.get("event") == BEGAN), {})

    @property
    def ended(self) -> Mapping[str, Any]:
        """Its end, where it has ended in an orderly way."""
        last = next((event for event in reversed(self.history) if event.get("event") in (BEGAN, ENDED)), {})
        return last if last.get("event") == ENDED else {}

    @property
    def steps(self) -> int:
        """Environment steps of the fine-tuning."""
        return int(self.newest.get("environment_steps", 0))

    @property
    def disk(self) -> tuple[int, int]:
        """Bytes that are free where the run lies, and all."""
        try:
            usage = shutil.disk_usage(self.folder.path)
        except OSError:
            return 0, 0
        return usage.free, usage.total

    def success(self, count: int) -> dict[str, Any] | None:
        """Of the newest episodes that count, at most so many: rate, 95 % interval, how many, and in how many a hand helped."""
        newest = list[dict[str, Any]]()
        for episode in reversed(self.episodes):
            if episode.get("outcome") in COUNTED:
                newest.append(episode)
                if len(newest) == count:
                    break
        if not newest:
            return None
        won = sum(episode["outcome"] == "success" for episode in newest)
        helped = sum(episode.get("intervention_rate", 0) > 0 for episode in newest)
        return rate_of(won, len(newest)) | {"helped": helped}


def rate_of(won: int, count: int) -> dict[str, Any]:
    """A success rate as the page has it."""
    low, high = wilson(won, count)
    return {"rate": won / count, "low": low, "high": high, "count": count}


def result_of(result: Result | None) -> dict[str, Any] | None:
    """A result of the run's report as the page has it."""
    if result is None or result.success is None:
        return None
    rate, interval = result.success
    low, high = interval or (math.nan, math.nan)
    known = {"low": low, "high": high} if interval else {}
    return {"rate": rate, "count": result.episodes, "when": result.when, "how": result.how} | known
