"""A learner as the operator's page sees it: how far it is, and its actors, between two lines of its metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ...data.desk.warnings_kept import KeptWarnings
from ..loop import Learner


class LearnerDesk:
    """`stop` brings the run to its orderly end.

    Attributes:
        warnings: the process's, where they are kept.
    """

    def __init__(self, learner: Learner, stop: Callable[[], object]):
        self._learner, self._stop = learner, stop
        self.warnings: KeptWarnings | None = None

    def show(self) -> Mapping[str, Any]:
        learner = self._learner
        return {
            "kind": "learner",
            "updates": learner.updates,
            "steps": learner.environment_steps,
            "stopping": learner.stop_requested,
            "numbers": learner.intake.metrics(),
            "said": self.warnings.kept if self.warnings else [],
        }

    def pictures(self) -> Mapping[str, tuple[int, np.ndarray]]:
        return {}

    def hear(self, word: str, values: Mapping[str, Any], viewer: str) -> str:
        if word != "stop":
            return f'A learner takes no word but "stop"; "{word[:40]}" is for an actor.'
        self._stop()
        return ""

    def lost(self, viewer: str) -> None:
        """A stop has happened already; nothing else is said to a learner."""
