"""Who looks after an environment while it is used: calls return in time, faults stay within a budget, and it rests at every end."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

from ...data.doors.imports import told
from ...data.errors import EnvironmentFault, EnvironmentGaveOut
from ...data.running import emergency
from ..config import ActorConfig
from .environment_config import EnvironmentConfig
from .faults import Faults, log

RESETS = 10.0  # a reset may take so many times as long as a step, where actor.reset_timeout does not say
FIRST_SECONDS = 600.0  # a simulator's first reset and step may compile and load
LOOK_SECONDS = 0.05  # between two looks at the running call
ENDED = "the run ended"
LEAVE_SECONDS = 10.0  # for a main thread that was broken into
RETURN_SECONDS = 1.0  # for a call on its way when the process ends at once


class Blocked(BaseException):
    """Breaks into a call that blocks; a BaseException, since an environment may try again after an Exception."""


class Call(NamedTuple):
    """A call of the environment that has not returned."""

    what: str
    since: float
    limit: float
    setting: str


class Guarded(Protocol):
    """What a guard needs of the environment that it looks after."""

    config: EnvironmentConfig
    guard: Guard | None
    use: ActorConfig | None

    def safe_stop(self) -> bool: ...


class Guard:
    """Looks after one environment within a `with` block, in which it is `environment.guard`.

    `safe_stop()` is called at the block's end, whatever that is; after a fault; by a thread of its own where a call blocks; where any
    thread of this process dies by an exception; and where a signal ends the process at once.

    Args:
        name: of the actor, in the names of quarantined faults.
        quarantine: the folder for them; None keeps none.

    Attributes:
        faults: the budget.
        failure: why the environment must not be used any more.
    """

    def __init__(self, environment: Guarded, config: ActorConfig | None = None, name: str = "actor", quarantine: Path | None = None):
        self.environment, self.config = environment, config or ActorConfig()
        self.faults = Faults(self.rest, self.config.faults_per_hour, name, quarantine)
        self.failure: EnvironmentGaveOut | None = None
        self._fault: EnvironmentFault | None = None  # of a thread, not yet raised
        self._ending = False
        self._call: Call | None = None
        self._lock, self._at_rest = threading.Lock(), True
        self._stopped, self._over = threading.Event(), threading.Event()
        self._stopped.set()
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Guard:
        emergency.breakable()
        self._user = threading.current_thread()
        self._report_thread = threading.excepthook
        threading.excepthook = self._thread_died
        self.environment.guard = self
        self._stack.enter_context(emergency.resting(self.end))
        if self.config.step_timeout:
            threading.Thread(target=self._watch, name="watchdog", daemon=True).start()
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        blocked = isinstance(error, Blocked)
        try:
            with self._timed(Call("safe_stop", time.monotonic(), max(self.config.step_timeout, LEAVE_SECONDS), "")):
                self.rest(_reason(error), logging.INFO if _reason(error) == ENDED else logging.WARNING)
        except Blocked:
            blocked |= _reason(error) == ENDED
            log.critical("%s", self.failure)  # what went wrong first is raised
        finally:
            self._over.set()
            self._stack.close()
            threading.excepthook = self._report_thread
            self.environment.guard = None
        if blocked and self.failure is not None:
            raise self.failure from None

    @contextlib.contextmanager
    def watching(self, what: str) -> Iterator[None]:
        """Around one call of the environment, "step" or "reset".

        Raises:
            EnvironmentGaveOut: it blocks, or a thread has died.
            EnvironmentFault: a simulator's thread has died.
        """
        self._raise_failure()
        self._at_rest = False
        try:
            with self._timed(self._begun(what)):
                if self._ending:
                    self._wait_for_the_end()
                yield
        except (Blocked, Exception) as error:
            if self.failure is None and not isinstance(error, Exception):
                raise
            self._raise_failure()
            raise
        if self.failure is not None:
            self._at_rest = False  # the call may have moved it since
        self._raise_failure()

    def rest(self, reason: str, level: int = logging.WARNING) -> None:
        """Brings the environment to rest, if it is not; from any thread, which waits where another one is at it. What its driver raises is
        logged: the reason matters more."""
        with self._lock:
            begins, self._at_rest = not self._at_rest, True
            if begins:
                self._stopped.clear()
        if not begins:
            self._stopped.wait(emergency.STOP_SECONDS)
            return
        try:
            stopped = self._safe_stop()
        except Exception:
            log.exception("safe_stop() failed: see to the robot. It was called because: %s", reason)
            return
        finally:
            self._stopped.set()
        if stopped:
            log.log(level, "The environment was brought to a safe stop: %s", reason)
        elif not self.config.simulator:
            log.warning("The environment has no safe_stop(): see that the robot stands still. It should have been called: %s", reason)

    def end(self, reason: str) -> None:
        """As `rest`, for a process that is about to end: no call begins any more, and where one was on its way that may have moved the
        environment after its stop, it is stopped once more."""
        self._ending = True
        call = self._call
        self.rest(reason)
        deadline = time.monotonic() + RETURN_SECONDS
        while call is not None and call.what != "safe_stop" and time.monotonic() < deadline:
            if self._call is not call:
                self._at_rest = False
                self.rest(reason)
                return
            time.sleep(RETURN_SECONDS / 100)

    def _wait_for_the_end(self) -> None:
        self._call = None
        threading.Event().wait()

    def _safe_stop(self) -> bool:
        try:
            return self.environment.safe_stop()
        except (Blocked, Exception):
            raise
        except BaseException:  # a signal broke into it; a second one does not, but waits for it and ends the process
            self.environment.safe_stop()
            raise

    def _raise_failure(self) -> None:
        if self.failure is not None:
            raise self.failure from None
        if self._fault is not None:
            fault, self._fault = self._fault, None
            raise fault

    def _begun(self, what: str) -> Call:
        step, reset = self.config.step_timeout, self.config.reset_timeout or RESETS * self.config.step_timeout
        limit, setting = (step, "actor.step_timeout") if what == "step" else (reset, "actor.reset_timeout")
        if self.config.simulator and not self.faults.worked:
            limit = max(limit, FIRST_SECONDS)
        return Call(what, time.monotonic(), limit, setting)

    @contextlib.contextmanager
    def _timed(self, call: Call) -> Iterator[None]:
        self._call = call
        try:
            yield
        finally:
            self._call = None

    def _watch(self) -> None:
        """The watchdog's thread: it ends with the first call that blocks."""
        while not self._over.wait(LOOK_SECONDS):
            call = self._call
            if call is not None and time.monotonic() - call.since > call.limit:
                self._blocked(call)
                return

    def _blocked(self, call: Call) -> None:
        name = self.environment.config.id
        advice = f"see to the robot, or raise {call.setting} where it may take longer" if call.setting else "see to the robot"
        sentence = f'Environment "{name}": {call.what}() has not returned for {call.limit:g} s; {advice}.'
        self.failure = self.failure or EnvironmentGaveOut(sentence)
        stop = threading.Thread(target=self.rest, args=(sentence,), name="safe_stop", daemon=True)
        stop.start()
        stop.join(emergency.STOP_SECONDS)
        if self._gets_out(call) and self._over.wait(LEAVE_SECONDS):
            return
        if emergency.may_end:
            emergency.bring_to_rest(sentence)  # what else is in use, such as a terminal
            os.write(2, f"error: {sentence}\n".encode())
            os._exit(EnvironmentGaveOut.exit_code)
        log.critical("%s", sentence)

    def _gets_out(self, call: Call) -> bool:
        """Whether the thread in a call is on its way to the end of the block: the call has returned meanwhile, or can be broken into. What
        the thread does after the call, such as a `safe_stop()`, is not broken into."""
        if self._call is not call:
            return True
        return self._user is threading.main_thread() and emergency.break_in(Blocked(), lambda: self._call is call) is not None

    def _thread_died(self, died: threading.ExceptHookArgs) -> None:
        """A thread ended by an exception: whatever it was there for, such as a camera's pictures, is not done any more."""
        self._report_thread(died)
        if self._over.is_set() or died.exc_value is None or issubclass(died.exc_type, SystemExit):
            return
        sentence = f"The thread {died.thread.name if died.thread else 'without a name'} ended by {told(died.exc_value)}"
        if self.config.simulator:
            self._fault = EnvironmentFault(f"{sentence}.")
        else:
            self.failure = EnvironmentGaveOut(f"{sentence}; what it did for the robot is not done any more, so the run ends.")
        self.rest(sentence)


def _reason(error: BaseException | None) -> str:
    if error is None or isinstance(error, GeneratorExit):
        return ENDED
    return str(error) or type(error).__name__


@contextlib.contextmanager
def guarded(environment: Guarded) -> Iterator[Guard]:
    """The guard that looks after the environment already, or within the block a new one."""
    if environment.guard is not None:
        yield environment.guard
        return
    with Guard(environment, environment.use) as guard:
        yield guard
