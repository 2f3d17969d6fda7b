"""What the learner knows of each actor, for its metrics."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Mapping

import numpy as np

from ..data.transition import Transition, length

RECENT_EPISODES = 20
SUCCESS = "actor/success_rate"


@dataclasses.dataclass
class ActorRecord:
    """Counts of one actor since this learner started.

    Attributes:
        steps: rows received.
        episodes: training episodes reported.
        policy_version: of its newest row; -1 before the first.
    """

    steps: int = 0
    episodes: int = 0
    policy_version: int = -1
    _successes: deque[float] = dataclasses.field(default_factory=lambda: deque(maxlen=RECENT_EPISODES))

    def saw(self, rows: Transition) -> None:
        """New rows `[n]` came."""
        self.steps += length(rows)
        self.policy_version = int(rows.policy_version[-1])

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
                shown["policy_lag"] = newest_version - self.policy_version
        return {f"actors/{name}/{key}": value for key, value in shown.items()}
