"""The end of an environment: all else is done by then, so what goes wrong in it is told, and costs nothing."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Iterator

import gymnasium as gym

from ...data.doors.borrowed import is_theirs, lent
from ...data.doors.imports import told
from ...data.errors import EnvironmentGaveOut
from ...data.running import emergency

CLOSE_SECONDS = 30.0
LEAVE_SECONDS = 5.0  # for a main thread that was broken into

log = logging.getLogger(__name__)


class Hung(BaseException):
    """Breaks into a `close` that blocks."""


def closed(env: gym.Env, name: str) -> None:
    """Closes an environment `name`. What its `close` raises is logged, and one that does not return for `CLOSE_SECONDS` is broken into;
    where that cannot be, the command ends."""
    who = f'Environment "{name}"'
    try:
        with _within(CLOSE_SECONDS, who), lent(who):
            env.close()
    except Hung:
        pass
    except BaseException as error:
        if not is_theirs(error):
            raise
        log.warning("%s failed in its close: %s. Nothing of the run is lost.", who, told(error))


@contextlib.contextmanager
def _within(seconds: float, who: str) -> Iterator[None]:
    over, caller = threading.Event(), threading.current_thread()

    def watch() -> None:
        if over.wait(seconds):
            return
        sentence = f"{who}: close() has not returned for {seconds:g} s and is left; see to the robot or the simulator."
        log.warning("%s", sentence)
        broken = caller is threading.main_thread() and emergency.break_in(Hung(), lambda: not over.is_set()) is not None
        if not (broken and over.wait(LEAVE_SECONDS)) and emergency.may_end:
            emergency.bring_to_rest(sentence)
            os._exit(EnvironmentGaveOut.exit_code)

    threading.Thread(target=watch, name="closing", daemon=True).start()
    try:
        yield
    finally:
        over.set()
