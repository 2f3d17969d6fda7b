"""What follows the end of a process: it is done, starts again after a while, waits for a person's word, or is given up."""

from __future__ import annotations

import dataclasses
import time
from collections import deque
from collections.abc import Callable
from typing import Literal

from ...data.errors import EnvironmentGaveOut, WarmloopError
from ..starting.processes import RESTART_WINDOW, RESTARTS
from .cluster_spec import Part

WAITS = (1.0, 5.0, 15.0, 30.0)  # seconds before the first, second, … start after failures within the window
LOST_WAIT = 1.0  # of a process whose node is gone: Ray says when there is another
MISTAKE_SECONDS = 60.0  # a first start that ends with a sentence within this time would do so again
LOST = None  # the exit code of a process that nobody can ask any more


@dataclasses.dataclass(frozen=True)
class Following:
    """What follows.

    Attributes:
        seconds: until the next start.
        why: for people.
    """

    kind: Literal["done", "again", "gave up"]
    seconds: float = 0.0
    why: str = ""


class RestartRule:
    """Decides for one process, by how it ended before.

    A robot is never given up, since it does not start without a word anyway; so a person sees each of its ends.
    """

    def __init__(self, part: Part, clock: Callable[[], float] = time.monotonic):
        self.part, self.clock = part, clock
        self.starts, self.failures = 0, deque[float](maxlen=RESTARTS + 1)

    def after(self, code: int | None, seconds: float) -> Following:
        """What follows an end with this exit code (`LOST`: its node or host is gone) after so many seconds."""
        self.starts += 1
        how = "its node or the process that keeps it is gone" if code is LOST else f"exit code {code}"
        if self.part.every_minutes and code is not LOST:
            return Following("again", 60.0 * self.part.every_minutes, "it runs again" if code == 0 else how)
        if code == 0:
            return Following("done")
        if self.part.asks:
            person = "; see to the robot first" if code == EnvironmentGaveOut.exit_code else ""
            return Following("again", WAITS[0], f"{how}{person}")
        if code is LOST:
            return Following("again", LOST_WAIT, how)
        if code == WarmloopError.exit_code and self.starts == 1 and seconds < MISTAKE_SECONDS:
            return Following("gave up", why=f"{how}, at its first start")
        return self._failed(how)

    def forget(self) -> None:
        """A person has seen to it: the failures until now do not count."""
        self.failures.clear()

    def _failed(self, how: str) -> Following:
        self.failures.append(self.clock())
        while self.failures[-1] - self.failures[0] >= RESTART_WINDOW:
            self.failures.popleft()
        if len(self.failures) > RESTARTS:
            return Following("gave up", why=f"{how}, {len(self.failures)} times within {RESTART_WINDOW / 60:g} minutes")
        return Following("again", WAITS[len(self.failures) - 1], how)
