"""What persons at the operator's page said, until the control loop takes it. The desk's thread adds, the control loop takes."""

from __future__ import annotations

import threading
from typing import NamedTuple

from ..intervention.intervention import Signal

SIGNALS = {signal.value: signal for signal in Signal}


class Asked(NamedTuple):
    """An evaluation that a viewer asked for."""

    episodes: int
    viewer: str


class PageWords:
    """Words that wait, by the rules of a key: what was said before an episode began does not count, and of several the last one does.

    Attributes:
        paused: no episode begins. It holds until somebody resumes, also where the page is lost: a person may stand beside the robot.
    """

    def __init__(self) -> None:
        self.paused = False
        self._lock, self._signals, self._asked = threading.Lock(), list[tuple[Signal, str]](), list[Asked]()

    def signal(self, signal: Signal, viewer: str) -> None:
        """A viewer's word on the running episode."""
        with self._lock:
            self._signals.append((signal, viewer))

    def ask(self, asked: Asked) -> None:
        """A viewer wants an evaluation before the next episode; the last wish counts."""
        with self._lock:
            self._asked = [asked]

    def clear(self) -> None:
        """An episode begins."""
        with self._lock:
            self._signals = []

    def take(self) -> Signal | None:
        """The last word on the episode since the last call."""
        if not self._signals:
            return None
        with self._lock:
            taken, self._signals = self._signals, []
        return taken[-1][0] if taken else None

    def evaluation(self) -> int:
        """Episodes of the evaluation that is wanted now; 0 for none."""
        with self._lock:
            taken, self._asked = self._asked, []
        return taken[-1].episodes if taken else 0

    @property
    def waiting(self) -> int:
        """Episodes of the evaluation that will come; 0 for none."""
        asked = self._asked
        return asked[-1].episodes if asked else 0

    def lost(self, viewer: str) -> None:
        """Forgets what a viewer said who is gone."""
        with self._lock:
            self._signals = [one for one in self._signals if one[1] != viewer]
            self._asked = [one for one in self._asked if one.viewer != viewer]
