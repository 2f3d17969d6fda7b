"""What a thread can do for a main thread that does not get to it: bring the environments to rest, and break into what it waits for.

Only the standard library is imported here: commands need this before anything else.
"""

from __future__ import annotations

import _thread
import contextlib
import itertools
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import Any

STOP_SECONDS = 5.0  # for the environments of one process to come to rest
BREAK = getattr(signal, "SIGURG", None)  # nobody's signal by default; it interrupts a sleep, a lock and a socket of the main thread

_stops: dict[int, Callable[[str], object]] = {}
_numbers = itertools.count()
may_end = False  # this process is a command's, which may be ended where its main thread cannot be broken into
_breakable = False
_pending: list[tuple[BaseException, threading.Event, Callable[[], bool]]] = []
_raised: dict[int, tuple[BaseException, Callable[[], bool]]] = {}
_handlers: dict[signal.Signals, Any] = {}
_wakeup = -1  # the file that a signal writes to


@contextlib.contextmanager
def resting(stop: Callable[[str], object]) -> Iterator[None]:
    """Within the block `stop(reason)` is called where the process ends at once. It must be callable from any thread, at any time."""
    number = next(_numbers)
    _stops[number] = stop
    try:
        yield
    finally:
        del _stops[number]


def bring_to_rest(reason: str, seconds: float = STOP_SECONDS) -> None:
    """Stops every environment that is in use, each on a thread of its own, and waits `seconds` at most. Raises nothing."""
    threads = [threading.Thread(target=_stopped, args=(stop, reason), daemon=True) for stop in list(_stops.values())]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds)


def _stopped(stop: Callable[[str], object], reason: str) -> None:
    try:
        stop(reason)
    except BaseException:  # whatever a driver raises; the process ends anyway
        traceback.print_exc(file=sys.stderr)


def break_in(error: BaseException, wanted: Callable[[], bool] = lambda: True) -> threading.Event | None:
    """Raises `error` in the main thread as soon as it runs Python again, if it is still `wanted` there. Gives the event of that; None where
    `breakable` was not called."""
    if BREAK is None or not _breakable:
        return None
    raised = threading.Event()
    _pending.append((error, raised, wanted))
    signal.pthread_kill(threading.main_thread().ident or 0, BREAK)
    return raised


class ToldToLeave(SystemExit):
    """A signal ends a worker process."""


def was_broken_in(error: BaseException) -> bool:
    """Whether an exception came from elsewhere into what the main thread was at: by `break_in`, or as a `ToldToLeave`."""
    return id(error) in _raised or isinstance(error, ToldToLeave)


def hear(handlers: Mapping[signal.Signals, Any], wakeup: int) -> None:
    """Handles signals so from now on; `wakeup` is the file that each one writes to. Main thread only."""
    global _wakeup
    _handlers.update(handlers)
    _wakeup = wakeup
    hear_again()


def hear_again() -> list[str]:
    """Takes back the signals of `hear` that somebody else has taken, and gives their names. Does nothing outside of the main thread."""
    if not _handlers or threading.current_thread() is not threading.main_thread():
        return []
    taken = [number for number, handler in _handlers.items() if signal.getsignal(number) != handler]
    for number in taken:
        signal.signal(number, _handlers[number])
    deaf = signal.set_wakeup_fd(_wakeup, warn_on_full_buffer=False) != _wakeup
    return [number.name for number in taken or (_handlers if deaf else ())]


def hear_nothing() -> None:
    """Forgets what `hear` was told: a forked child's signals are its own."""
    _handlers.clear()


def process_may_end() -> None:
    """Says that this process is a command's own, not a notebook's or a test's."""
    global may_end
    may_end = True


def breakable() -> None:
    """Lets `break_in` work from here on; does nothing outside of the main thread, which alone may ask for signals."""
    global _breakable
    if BREAK is not None and threading.current_thread() is threading.main_thread():
        signal.signal(BREAK, _raise)
        if not _breakable:
            sys.unraisablehook = _Hook(sys.unraisablehook)
        _breakable = True


def _raise(number: int, frame: FrameType | None) -> None:
    while frame is not None:
        if frame.f_code is _Hook.__call__.__code__:  # what is raised within the hook is lost
            _thread.start_new_thread(_ask_again, ())
            return
        frame = frame.f_back
    while _pending:
        error, raised, wanted = _pending.pop(0)
        if wanted():
            _raised[id(error)] = error, wanted
            raised.set()
            raise error


def _ask_again() -> None:
    """The main thread may hold any lock where this is wanted, and `threading` needs one to start a thread: `_thread` does not."""
    time.sleep(0.01)
    signal.pthread_kill(threading.main_thread().ident or 0, BREAK or 0)


class _Hook:
    """For `sys.unraisablehook`. What is raised while the main thread is in a destructor, or in a callback of the garbage collector as JAX
    has one, goes no further: Python tells it to this hook. It is raised once more after that."""

    def __init__(self, report: Callable[[sys.UnraisableHookArgs], object]):
        self.report = report

    def __call__(self, told: sys.UnraisableHookArgs) -> None:
        error, wanted = _raised.get(id(told.exc_value), (None, None))
        if error is None or wanted is None:
            self.report(told)
        else:
            _pending.append((error.with_traceback(None), threading.Event(), wanted))
            _thread.start_new_thread(_ask_again, ())
