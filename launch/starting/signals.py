"""Signals, answered from a command's first line on, whatever the main thread is at.

A handler of Python's runs between two bytecodes of the main thread. An import, a compilation or one compiled call can be minutes long. So a
thread answers, which `signal.set_wakeup_fd` wakes:

    by default         nothing is lost: the process ends at once
    in `unwinding()`   an `Ended`, which is a KeyboardInterrupt, is raised in the main thread
    in `answering(f)`  `f()` asks for an orderly end
    a second wish      the process ends at once; so it does at SIGQUIT

A process that ends at once brings its environments to rest first. Only the standard library is imported here.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, NoReturn

from ...data.running.emergency import break_in, breakable, bring_to_rest, hear, hear_nothing, process_may_end

NUMBERS = tuple(signal.Signals[name] for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT") if name in signal.Signals.__members__)
AT_ONCE = getattr(signal, "SIGQUIT", None)
MAY_BE_IGNORED = tuple(number for number in NUMBERS if number.name in ("SIGHUP", "SIGQUIT"))  # as `nohup` asks for
ONE_WISH_SECONDS = 2.0  # Ctrl-C and a supervisor's SIGTERM reach a process by itself, and again through the one that started it
PASSED_ON = "WARMLOOP_PASSED_ON"  # set for a process whose parent passes a wish on as SIGTERM; on a busy machine that may come late
REACT_SECONDS = 3.0  # for the main thread to get out of what it is at
UNWIND_SECONDS = 60.0  # and for what it does then
LOCK_SECONDS = 1.0  # which nobody holds for longer but another thread that ends the process
NAMES = {"train_rlpd", "train_offline_warmup"}  # console scripts; the others begin with warmloop


class Ended(KeyboardInterrupt):
    """A signal ends the command."""

    def __init__(self, number: int):
        super().__init__(number)
        self.number = number


class _Answer(NamedTuple):
    """What the first wish does (None: raise `Ended` in the main thread), and what precedes an end at once."""

    stop: Callable[[], object] | None
    at_once: Callable[[], object]


END, UNWIND = _Answer(None, lambda: None), _Answer(None, lambda: None)


class _Answering:
    """The state of this process's answers; `lock` guards it between the main thread and the one that answers."""

    def __init__(self) -> None:
        self.lock, self.answers = threading.Lock(), list[_Answer]()
        self.asked_at, self.asked_by = math.inf, 0
        self.passed_on = bool(os.environ.pop(PASSED_ON, ""))
        self.unwound = threading.Event()
        self.terminals = [fd for fd in (1, 2) if os.isatty(fd)]
        self.ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        self.theirs = theirs  # which must outlive this call
        ignored = [number for number in MAY_BE_IGNORED if signal.getsignal(number) is signal.SIG_IGN]
        hear({number: signal.SIG_IGN if number in ignored else _noted for number in NUMBERS}, theirs.fileno())
        breakable()
        process_may_end()
        threading.Thread(target=self._listen, name="signals", daemon=True).start()

    def _listen(self) -> None:
        while True:
            heard, first = self.ours.recv(64), self.asked_at == math.inf
            self._wish_all(heard, first)
            if first:  # what came while the first wish was answered came with it, however long that took on a busy machine
                self._wish_all(self._waiting(), first)

    def _waiting(self) -> bytes:
        self.ours.setblocking(False)
        try:
            return self.ours.recv(64)
        except BlockingIOError:
            return b""
        finally:
            self.ours.setblocking(True)

    def _wish_all(self, numbers: bytes, together: bool) -> None:
        for number in numbers:
            if number in NUMBERS:
                self._wish(number, together)

    def _wish(self, number: int, together: bool) -> None:
        """Does what a signal asks for; one that came `together` with the first wish is no second one."""
        if number == getattr(signal, "SIGHUP", None):
            self._leave_terminals()
        if self.passed_on and number == signal.SIGTERM and self.asked_by not in (0, signal.SIGTERM):
            self.passed_on = False
            return
        if number == AT_ONCE or (not together and time.monotonic() > self.asked_at + ONE_WISH_SECONDS):
            self._end(number)
        with self.lock:
            if self.asked_at < math.inf:
                return
            self.asked_at, self.asked_by = time.monotonic(), number
            answer = self.answers[-1] if self.answers else END
            raised = break_in(Ended(number)) if answer is UNWIND else None
        if answer is END:
            self._end(number)
        if answer.stop is not None:
            try:
                answer.stop()
            except Exception as error:  # this thread has further wishes to hear
                _say(f"an orderly end could not be asked for: {error!r}")
            self.asked_at = time.monotonic()
            _say(f"stopping at {_name(number)}: saving what there is (a second one ends this at once)")
        elif raised is not None:
            threading.Thread(target=self._see_out, args=(number, raised), name="signals-out", daemon=True).start()

    def _see_out(self, number: int, raised: threading.Event) -> None:
        """Ends the process where the main thread does not get out of what it is at."""
        if not raised.wait(REACT_SECONDS) or not self.unwound.wait(UNWIND_SECONDS):
            self._end(number)

    def _end(self, number: int) -> NoReturn:
        """Ends the process from whichever thread, with what must be done before it. The main thread does not leave its block meanwhile, or
        it could end the process first, with an exit code that says something else."""
        self.lock.acquire(timeout=LOCK_SECONDS)
        for answer in reversed(self.answers):
            with contextlib.suppress(Exception):
                answer.at_once()
        bring_to_rest(f"{_name(number)} ended the process")
        _say(f"ended at once by {_name(number)}; what was saved before is whole")
        os._exit(128 + number)

    def _leave_terminals(self) -> None:
        """Writing to a terminal that has hung up would be an error, and end what is to be saved."""
        nowhere = os.open(os.devnull, os.O_RDWR)
        for fd in self.terminals:
            os.dup2(nowhere, fd)
        os.close(nowhere)


_installed: _Answering | None = None


def install() -> None:
    """Answers signals in this process from now on. To be called in its main thread."""
    global _installed
    if _installed is None:
        _installed = _Answering()
        os.register_at_fork(before=_hold, after_in_parent=_let_in, after_in_child=_forget)


def install_for_commands() -> None:
    """As `install`, where this process is one of the package's commands, and neither a notebook, a test nor a worker."""
    first = Path(sys.argv[0]) if sys.argv else Path()
    module = sys.orig_argv[sys.orig_argv.index("-m") + 1] if first.name == "-m" and "-m" in sys.orig_argv[:-1] else ""
    ours = module.partition(".")[0] == "warmloop" or first.stem in NAMES or first.stem.startswith("warmloop-")
    ours |= first.suffix == ".py" and first.resolve().parent in Path(__file__).resolve().parents[1:3]
    worker = "--multiprocessing-fork" in sys.orig_argv  # parent_process() is not known yet while a worker imports
    if ours and not worker and threading.current_thread() is threading.main_thread():
        install()


@contextlib.contextmanager
def answering(stop: Callable[[], object], at_once: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Within the block a wish calls `stop()`, which asks for an orderly end, on a thread of its own; before an end at once `at_once()` is
    called. Does nothing where signals are not answered."""
    with _with(_Answer(stop, at_once)):
        yield


@contextlib.contextmanager
def unwinding() -> Iterator[None]:
    """Within the block a wish raises `Ended` in the main thread."""
    with _with(UNWIND):
        yield


@contextlib.contextmanager
def _with(answer: _Answer) -> Iterator[None]:
    if (state := _installed) is None:
        yield
        return
    with state.lock:
        state.answers.append(answer)
    try:
        yield
    finally:
        with state.lock:
            state.answers.remove(answer)


def unwound() -> None:
    """The main thread got out of what it was at: what it does now may take as long as it wants."""
    if _installed is not None:
        _installed.unwound.set()


def leave(error: KeyboardInterrupt) -> NoReturn:
    """Ends a command that has unwound. The interpreter's own end is left out: it may crash beside threads that still compute."""
    number = error.number if isinstance(error, Ended) else signal.SIGINT
    unwound()
    _say("interrupted" if number == signal.SIGINT else f"ended by {_name(number)}")
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(128 + number)


def _hold() -> None:
    """Before a fork: a signal that comes to the child at once is not to be heard by the parent."""
    signal.pthread_sigmask(signal.SIG_BLOCK, NUMBERS)


def _let_in() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, NUMBERS)


def _forget() -> None:
    """In a forked child: its signals are its own, and not to be heard by the process that it comes from."""
    global _installed
    _installed = None
    hear_nothing()
    signal.set_wakeup_fd(-1)
    for number in NUMBERS:
        if signal.getsignal(number) is _noted:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    _let_in()


def _noted(number: int, frame: object) -> None:
    """The handler itself has nothing to do: the byte that its signal has written wakes the thread that answers."""


def _name(number: int) -> str:
    return signal.Signals(number).name


def _say(text: str) -> None:
    """Straight to the file: the main thread may hold the stream's lock."""
    with contextlib.suppress(OSError):
        os.write(2, f"{text}\n".encode())
