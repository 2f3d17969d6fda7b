"""Actors' reports on their way to the loop. However many come, and whatever they are called, they take a bounded room."""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Mapping

from ...data.running.seldom import Seldom
from .actor_records import ActorRecord
from .terms import Report

LONGEST_NAME = 120  # characters of a scalar's name
NAMES_OF_ACTOR, NAMES = 500, 2000  # different names that one actor, and all together, may bring up
LARGEST = 1e15  # magnitude of a scalar
WAITING_REPORTS, WAITING_SCALARS = 10_000, 50_000

log = logging.getLogger(__name__)


class ReportQueue:
    """Reports that wait. Not thread-safe: its owner holds the lock.

    Attributes:
        left_out: scalars that were left out: a name or value that is not taken, or one name too many.
        dropped: reports that were dropped: the actor sent more than it may, or the loop was too slow to take them.
    """

    def __init__(self) -> None:
        self.left_out = self.dropped = 0
        self._waiting: deque[Report] = deque()
        self._scalars = 0
        self._names: set[str] = set()
        self._say = Seldom(log, 60.0)

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, actor: str, record: ActorRecord, scalars: Mapping[str, float]) -> None:
        """Takes a report; beyond the room that there is, the oldest one is dropped."""
        kept = {name: float(value) for name, value in scalars.items() if self._takes(record, name, value)}
        if len(kept) < len(scalars):
            self.left_out += len(scalars) - len(kept)
            self._say(
                "%d of %d numbers of a report by %s are left out: names have up to 120 printable characters, an actor may have 500, and "
                "values are finite.", len(scalars) - len(kept), len(scalars), actor,
            )  # fmt: skip
        record.heard(kept)
        self._waiting.append(Report(actor, kept))
        self._scalars += len(kept)
        while len(self._waiting) > WAITING_REPORTS or self._scalars > WAITING_SCALARS:
            self._scalars -= len(self._waiting.popleft().scalars)
            self.dropped += 1

    def take(self) -> list[Report]:
        """All that wait."""
        taken, self._waiting, self._scalars = list(self._waiting), deque(), 0
        return taken

    def _takes(self, record: ActorRecord, name: str, value: float) -> bool:
        if not (0 < len(name) <= LONGEST_NAME and name.isprintable() and abs(value) <= LARGEST and math.isfinite(value)):
            return False
        if name not in record.names and len(record.names) >= NAMES_OF_ACTOR:
            return False
        if name not in self._names and len(self._names) >= NAMES:
            return False
        record.names.add(name)
        self._names.add(name)
        return True
