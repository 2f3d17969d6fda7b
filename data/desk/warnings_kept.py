"""The newest warnings of a process, for who looks at it."""

from __future__ import annotations

import logging
from collections import deque

KEPT, LONGEST = 20, 400


class KeptWarnings(logging.Handler):
    """Keeps the newest warnings and errors that go through the house's loggers: `[seconds since 1970, level, sentence]` each."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._kept: deque[list[object]] = deque(maxlen=KEPT)
        logging.getLogger("warmloop").addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self._kept.append([round(record.created, 1), record.levelname.lower(), record.getMessage()[:LONGEST]])

    @property
    def kept(self) -> list[list[object]]:
        """Oldest first."""
        return list(self._kept)

    def close(self) -> None:
        logging.getLogger("warmloop").removeHandler(self)
        super().close()
