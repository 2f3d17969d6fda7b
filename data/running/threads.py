"""Threads that their process cannot do without: when one dies, the process says so and ends, rather than go on half alive."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable

DIED = 70  # exit code of a process whose thread died (EX_SOFTWARE of sysexits.h)

log = logging.getLogger(__name__)


def end_process(name: str, error: BaseException) -> None:
    """Ends this process at once, which is as safe as a crash: what was acknowledged is on disk."""
    logging.shutdown()
    sys.stderr.flush()
    os._exit(DIED)


def vital_thread(
    run: Callable[[], object], name: str, purpose: str, on_death: Callable[[str, BaseException], object] = end_process
) -> threading.Thread:
    """A thread, not yet started, that calls `run`. Where `run` raises anything, the log says so, and `on_death(name, error)` is called.

    Args:
        purpose: what cannot be done without it, as in "writes the journal".
        on_death: ends the process by default. An actor, whose robot has to be brought to rest first, raises the error in its control loop.
    """

    def guarded() -> None:
        try:
            run()
        except BaseException as error:
            log.critical('The thread "%s", which %s, died: %r', name, purpose, error, exc_info=error)
            on_death(name, error)

    return threading.Thread(target=guarded, name=name, daemon=True)
