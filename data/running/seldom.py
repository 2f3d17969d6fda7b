"""Log messages about what a peer or a device may do a thousand times a second: the first is logged, and of the rest the number."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable


class Seldom:
    """Logs at most one message of a kind every `seconds`. May be called from any thread.

    Attributes:
        count: messages that were not logged since the last one that was.
    """

    def __init__(
        self, log: logging.Logger, seconds: float = 10.0, level: int = logging.WARNING, clock: Callable[[], float] = time.monotonic
    ):
        self._log, self._seconds, self._level, self._clock = log, seconds, level, clock
        self._lock, self._next, self.count = threading.Lock(), float("-inf"), 0

    def __call__(self, message: str, *arguments: object) -> None:
        """Logs the message, or counts it."""
        with self._lock:
            now = self._clock()
            if now < self._next:
                self.count += 1
                return
            unsaid, self.count, self._next = self.count, 0, now + self._seconds
        suffix = f" ({unsaid} more like this in the meantime)" if unsaid else ""
        self._log.log(self._level, message + suffix.replace("%", "%%"), *arguments)
