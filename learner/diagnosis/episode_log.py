"""Every training episode of a run in a line of its own, `RUN/episodes.jsonl`, as its actor reported it.

It is told, and never believed: nothing that learns reads it.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...data.files.run_folder import RunFolder
from ...data.files.whole_files import replacing
from ...data.running.seldom import Seldom
from ...data.wire import MIB
from ...data.wire import episode_report as reported

MOST_BYTES = 16 * MIB  # some 80,000 episodes
# What a line has of the metrics, by its name there.
NAMES = {
    "return": "actor/episode_return",
    "interventions": "actor/interventions",
    "intervention_rate": "actor/intervention_rate",
    "policy_version": "actor/policy_version",
}

log = logging.getLogger(__name__)


class EpisodeLog:
    """Adds a line for each episode. Beyond 16 MiB the older half is left out. What the disk refuses is said, and the run goes on."""

    def __init__(self, directory: Path):
        self.path = RunFolder(directory).episodes
        self._say = Seldom(log, 60.0, logging.ERROR)

    def note(self, actor: str, steps: int, scalars: Mapping[str, float], episode: Mapping[str, float]) -> None:
        """One more episode of `actor`, reported after so many environment steps of the run."""
        if reported.NUMBER not in episode:
            return
        line: dict[str, Any] = {
            "time": round(time.time(), 3),
            "actor": actor,
            "number": int(episode[reported.NUMBER]),
            "outcome": reported.outcome_of(episode),
            "length": int(episode.get(reported.LENGTH, 0)),
            "environment_steps": steps,
        }
        line |= {name: round(scalars[metric], 6) for name, metric in NAMES.items() if metric in scalars}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
                large = file.tell() > MOST_BYTES
            if large:
                self._thin()
        except OSError as error:
            self._say("%s cannot be written (%s): the run's page will show fewer episodes.", self.path, error.strerror)

    def _thin(self) -> None:
        lines = self.path.read_bytes().splitlines(keepends=True)
        with replacing(self.path) as file:
            file.write(b"".join(lines[len(lines) // 2 :]))
