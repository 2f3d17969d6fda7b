"""What the code of users, such as an environment, finds in this process and may change for all of it; and what ends such code.

the working folder    the run's paths are relative to it, so that its files would go elsewhere
signals               rclpy.init, rospy and others take Ctrl-C and SIGTERM: no orderly end, no safe stop
logging               logging.disable and dictConfig silence what warmloop has to say
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator

from ..running import emergency
from ..running.said import say_once

LOGGERS = "warmloop"


@contextlib.contextmanager
def lent(who: str) -> Iterator[None]:
    """Around a call of users' code: what it changed for the whole process is put back, which is said once; `who` begins the sentence."""
    folder, silenced = _folder(), logging.root.manager.disable
    try:
        yield
    finally:
        if logging.root.manager.disable > silenced or logging.getLogger(LOGGERS).disabled:
            _speak_again(who, silenced)
        if folder is not None and _folder() != folder:
            _go_back(who, folder)
        if taken := emergency.hear_again():
            say_once(
                f"{who} took {', '.join(taken)} for itself; they are taken back: they stop this command and bring a robot to rest. "
                "What it wants done at an end belongs into its safe_stop() or close()."
            )


def is_theirs(error: BaseException) -> bool:
    """Whether users' code raised the exception, such as a SystemExit or a CancelledError; not a person who wants the command to end."""
    if isinstance(error, GeneratorExit) or emergency.was_broken_in(error):
        return False
    return not isinstance(error, KeyboardInterrupt) or emergency.may_end  # a command hears Ctrl-C otherwise


def wants_out(error: BaseException) -> bool:
    """Whether an exception of users' code asks for the end of its process."""
    return isinstance(error, SystemExit | KeyboardInterrupt)


def _folder() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # it was removed
        return None


def _go_back(who: str, folder: str) -> None:
    left = _folder()
    os.chdir(folder)
    say_once(
        f"{who} changed the working folder of the process to {left}; it is {folder} again, since a run's paths begin there. Files of its "
        "own are to be opened by whole paths, as Path(__file__).parent gives them."
    )


def _speak_again(who: str, silenced: int) -> None:
    logging.disable(silenced)
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if isinstance(logger, logging.Logger) and name.partition(".")[0] == LOGGERS:
            logger.disabled = False
    say_once(
        f"{who} switched logging off for the whole process, by logging.disable or by dictConfig without disable_existing_loggers=False; "
        "it is on again."
    )
