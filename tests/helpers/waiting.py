"""Waiting for what another thread or process brings about, on a machine that may be busy."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from typing import Any

PATIENCE = 240.0  # seconds
PAUSE = 0.005


def until(
    fact: Callable[[], Any], seconds: float = PATIENCE, what: str | Callable[[], object] = "", process: subprocess.Popen | None = None
) -> Any:
    """Waits until a fact is true, and returns it.

    Args:
        seconds: for which it is waited.
        what: is said where it did not come true; a function is called for it.
        process: brings it about: once that has ended, nothing is waited for.

    Raises:
        AssertionError: it did not come true in time, or the process ended before.
    """
    deadline = time.monotonic() + seconds
    while not (found := fact()):
        ended = process is not None and process.poll() is not None
        if ended or time.monotonic() > deadline:
            told = what() if callable(what) else what
            raise AssertionError(f"{'The process ended too early' if ended else f'Not within {seconds:g} s'}. {told}")
        time.sleep(PAUSE)
    return found
