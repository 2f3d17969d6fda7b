"""A run's checkpoints: when one is due, what is written beside the state, and what the journal need not keep any more."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...agents import Agent
from ...data.errors import WarmloopError
from ..config import LearnerConfig
from ..journal.journal import Journal
from ..rows.ingest import Ingest
from ..state import LearnerState
from . import checkpoint, stored_rows
from .stored_rows import StoredRows

SAVE_AGAIN_SECONDS = 30.0  # after a checkpoint that could not be written


class Saver:
    """Writes the checkpoints of one run, in `directory`.

    Args:
        description: JSON kept with each checkpoint, beside what its caller adds.
        updates: those of the state that the run begins with, which needs no checkpoint.
    """

    def __init__(self, directory: Path, description: Mapping[str, Any], config: LearnerConfig, updates: int):
        self.directory, self.description, self._config = directory, dict(description), config
        self._saved, self._save_again_at = updates, 0.0
        self._offline: StoredRows | None = None  # written by the first checkpoint
        self._shown: dict[str, Any] = {}  # the interventions that were written last, and what had changed of them until then
        self._shown_at = 0

    def is_due(self, updates: int) -> bool:
        """Whether the interval between two checkpoints has passed."""
        passed = bool(self._config.checkpoint_every) and updates - self._saved >= self._config.checkpoint_every
        return passed and time.monotonic() >= self._save_again_at

    def put_off(self) -> None:
        """None is due for a while, since one could not be written."""
        self._save_again_at = time.monotonic() + SAVE_AGAIN_SECONDS

    def save(self, state: LearnerState, agent: Agent, ingest: Ingest, journal: Journal, told: Mapping[str, Any]) -> Path:
        """Writes a checkpoint, once the journal has what it covers, and lets go of the journal's part that no checkpoint needs.

        Args:
            told: JSON of the moment, how far the checkpoint covers each stream among it.

        Raises:
            WarmloopError: the disk does not take it; the checkpoints that were there are whole.
        """
        updates = int(state.updates)
        if not journal.sync():
            raise WarmloopError(
                f"There is no checkpoint at {updates} updates, since the journal is behind: {journal.failing or 'slow disk'}."
            )
        if self._offline is None:
            self._offline = stored_rows.store_offline(self.directory, state, *ingest.recorded)
        if self._shown_at != ingest.shown_changes:
            self._shown = stored_rows.store_interventions(self.directory, state, *ingest.shown)
            self._shown_at = ingest.shown_changes
        meta = self.description | self._shown | {"journal_end": journal.end, "frame_regions": ingest.regions}
        if ingest.balance is not None:
            meta["task_masses"] = ingest.balance.basis.tolist()
        path = checkpoint.save(self.directory, state, agent, meta | dict(told), self._config.keep_checkpoints, self._offline)
        rows, segment = checkpoint.covered(self.directory)
        journal.discard(rows - state.online.capacity - ingest.longest, before=segment)
        self._saved = updates
        return path
