"""What the learner knows of each actor, for its metrics."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Mapping

import numpy as np

from ...data.transition import Transition, length

RECENT_EPISODES = 20
ACTORS = 256  # that are remembered
FREE_REPORTS, SAVED_REPORTS = 100, 10_000  # that an actor may send at once: of a new one, and at most
REPORTS_PER_SECOND = 1.0  # beside one for every row
SUCCESS = "actor/success_rate"


@dataclasses.dataclass
class ActorRecord:
    """Counts of one actor since this learner started.

    Attributes:
        steps: rows received.
        episodes: training episodes reported.
        policy_version: of its newest row; -1 before the first.
        names: of the numbers that it reported.
    """

    steps: int = 0
    episodes: int = 0
    policy_version: int = -1
    names: set[str] = dataclasses.field(default_factory=set)
    _reports: float = FREE_REPORTS
    _reported_at: float | None = None
    _successes: deque[float] = dataclasses.field(default_factory=lambda: deque(maxlen=RECENT_EPISODES))

    def saw(self, rows: Transition) -> None:
        """New rows `[n]` came."""
        self.steps += length(rows)
        self._reports = min(self._reports + length(rows), SAVED_REPORTS)
        self.policy_version = int(rows.policy_version[-1])

    def may_report(self, now: float) -> bool:
        """Whether another report is taken at a time: an episode has a row at least, so one for each, and some for evaluations."""
        passed = 0.0 if self._reported_at is None else now - self._reported_at
        self._reported_at = now
        self._reports = min(self._reports + passed * REPORTS_PER_SECOND, SAVED_REPORTS)
        if self._reports < 1:
            return False
        self._reports -= 1
        return True

    def heard(self, scalars: Mapping[str, float]) -> None:
        """A report came."""
        if SUCCESS in scalars:
            self.episodes += 1
            self._successes.append(scalars[SUCCESS])

    def metrics(self, name: str, silence: float | None, newest_version: int) -> dict[str, float]:
        """The numbers to show, under `actors/NAME/`; `silence` in seconds, None for an actor that has left."""
        shown: dict[str, float] = {"steps": self.steps, "episodes": self.episodes}
        if self._successes:
            shown["success_rate"] = float(np.mean(self._successes))
        if silence is not None:
            shown["silence_seconds"] = silence
            if self.policy_version >= 0:
                shown["policy_lag"] = max(newest_version - self.policy_version, 0)  # older ones may act again
        return {f"actors/{name}/{key}": value for key, value in shown.items()}


class ActorRecords:
    """The records of the actors that were heard of last, by name."""

    def __init__(self) -> None:
        self._records: dict[str, ActorRecord] = {}

    def __len__(self) -> int:
        return len(self._records)

    def of(self, name: str) -> ActorRecord:
        """An actor's record, a new one where there is none; it is heard of now."""
        record = self._records[name] = self._records.pop(name, None) or ActorRecord()
        if len(self._records) > ACTORS:
            del self._records[next(iter(self._records))]
        return record

    def metrics(self, silence: Mapping[str, float], newest_version: int) -> dict[str, float]:
        """The numbers to show of all; `silence` in seconds, of those that have not left."""
        shown = (record.metrics(name, silence.get(name), newest_version) for name, record in self._records.items())
        return {key: value for one in shown for key, value in one.items()}
