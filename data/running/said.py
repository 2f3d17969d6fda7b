"""What is said once in a process, however often an environment is made."""

from __future__ import annotations

import logging

log = logging.getLogger("warmloop")
_said: set[str] = set()


def say_once(sentence: str) -> None:
    """Logs a warning, unless this process has logged the same one."""
    if sentence not in _said:
        _said.add(sentence)
        log.warning("%s", sentence)
