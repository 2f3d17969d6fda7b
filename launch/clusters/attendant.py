"""Keeps one process of the cluster running: a place for it, a person's word where it moves a robot, its log, its end and its next start."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable
from typing import Protocol

from ...data.errors import WarmloopError
from ..starting.processes import LEAVE_SECONDS
from .cluster_spec import LEARNER, Part
from .handed_secrets import redacted, secrets_of
from .node_host import Look, Order
from .restarts import LOST, RestartRule

LOOK_EVERY, SAVE_SECONDS, RETRY_SECONDS = 0.5, 600.0, 5.0
WAITS, ASKS, STARTS, RUNS, AGAIN, DONE, GAVE_UP, STOPPING, STOPPED = (
    "waits for a node",
    "asks",
    "starts",
    "runs",
    "starts again",
    "done",
    "gave up",
    "stopping",
    "stopped",
)


class HostLostError(Exception):
    """The node or the worker there is gone."""


class Host(Protocol):
    """A place on a node, held until it is closed. Every call may raise HostLostError.

    Attributes:
        elsewhere: on another machine than the supervisor.
    """

    node: str
    elsewhere: bool

    def start(self, order: Order) -> None: ...
    def look(self) -> Look: ...
    def stop(self, at_once: bool = False) -> None: ...
    def close(self) -> None: ...


Ordering = Callable[[Part, Host, bool], Order]
Place = Callable[[Part, threading.Event], Host | None]  # None: told to stop before there was a node


@dataclasses.dataclass(frozen=True)
class PartState:
    """What is shown of a process; `said` is the last line of its log, `code` its last exit code."""

    name: str
    kind: str
    status: str = WAITS
    why: str = ""
    since: float = 0.0
    node: str = ""
    pid: int | None = None
    starts: int = 0
    code: int | None = None
    said: str = ""


class Attendant:
    """One thread for one process.

    Args:
        order: what to start at a host; the flag says that the process has run before.
        tell: called whenever the state has changed.
        keep: called with whole lines of its log.
    """

    def __init__(self, part: Part, place: Place, order: Ordering, tell: Callable[[PartState], None], keep: Callable[[str], None]):
        self.part, self.state, self.rule = part, PartState(part.name, part.kind), RestartRule(part)
        self._place, self._order, self._tell, self._keep = place, order, tell, keep
        self._told, self._at_once, self._word, self._lock = threading.Event(), threading.Event(), threading.Event(), threading.Lock()
        self._secrets, self._line = list[str](), ""
        self._thread = threading.Thread(target=self._run_safely, name=f"attendant-{part.name}", daemon=True)

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def join(self, seconds: float | None = None) -> bool:
        """Waits for the end of the process and its attendant; whether it has come."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def stop(self, at_once: bool = False) -> None:
        """Ends the process, in order or at once, and starts it no more."""
        if at_once:
            self._at_once.set()
        self._told.set()

    def allow(self) -> bool:
        """A person's word for one start, now; whether the process was waiting for it."""
        with self._lock:
            waiting = self.state.status in (ASKS, GAVE_UP)
            if waiting:
                self._word.set()
            return waiting

    def _run_safely(self) -> None:
        try:
            self._run()
        except Exception as error:  # a thread that dies is told
            self._say(GAVE_UP, f"a fault of its attendant: {error!r}")

    def _run(self) -> None:
        while (host := self._placed()) is not None:
            began = time.monotonic()
            with contextlib.closing(host):
                code = self._attended(host)
            if self._told.is_set():
                break
            following = self.rule.after(code, time.monotonic() - began)
            why = f"{following.why}: {self.state.said}" if following.why and code and self.state.said else following.why
            if following.kind == "done":
                return self._say(DONE, code=code, pid=None)
            if following.kind == "gave up":
                self._ask(GAVE_UP, why, code=code, pid=None)
                if not self._word_comes():
                    break
                self.rule.forget()
                continue
            self._say(AGAIN, why, code=code, pid=None)
            if self._told.wait(following.seconds):
                break
        self._say(STOPPED, pid=None)

    def _placed(self) -> Host | None:
        """A host on a node that has what the part needs; None once it is told to stop."""
        self._say(WAITS, f"needs {', '.join(self.part.needs) or 'any'}", node="")
        while not self._told.is_set():
            try:
                return self._place(self.part, self._told)
            except HostLostError as error:
                self._say(WAITS, str(error))
                self._told.wait(RETRY_SECONDS)
        return None

    def _attended(self, host: Host) -> int | None:
        """Runs the part to its end; its exit code, or `LOST`."""
        try:
            if self.part.asks and not self._allowed(host):
                return LOST
            order = self._order(self.part, host, self.state.starts > 0)
            self._secrets = secrets_of(order.secrets)
            host.start(order)
            self._say(STARTS, node=host.node)
            return self._watched(host)
        except HostLostError:
            return LOST
        except WarmloopError as error:
            self.state = dataclasses.replace(self.state, said=str(error))
            return error.exit_code

    def _allowed(self, host: Host) -> bool:
        """Waits for a person's word while the host is there; false where it is told to stop instead."""
        self._ask(ASKS, f"moves a robot; when all is clear: warmloop cluster allow SPEC {self.part.name}", node=host.node)
        return self._word_comes(host.look)

    def _ask(self, status: str, why: str, **more) -> None:
        with self._lock:  # an earlier word is for an earlier question
            self._word.clear()
            self._say(status, why, **more)

    def _word_comes(self, look: Callable[[], object] = lambda: None) -> bool:
        while not self._told.is_set():
            if self._word.wait(LOOK_EVERY):
                return True
            look()
        return False

    def _watched(self, host: Host) -> int:
        deadline, asked, at_once = float("inf"), False, False
        while True:
            look = host.look()
            if look.pid is not None and self.state.pid is None:
                self._say(RUNS, pid=look.pid, starts=self.state.starts + 1)
            self._write(look.text, last=look.code is not None)
            if look.code is not None:
                return look.code
            if self._told.is_set() and not asked:
                asked, deadline = True, time.monotonic() + (SAVE_SECONDS if self.part.kind == LEARNER else LEAVE_SECONDS)
                self._say(STOPPING)
                host.stop()
            if not at_once and (self._at_once.is_set() or time.monotonic() > deadline):
                at_once = True
                self._say(STOPPING, "at once")
                host.stop(at_once=True)
            if at_once:
                time.sleep(LOOK_EVERY)
            else:
                (self._at_once if asked else self._told).wait(LOOK_EVERY)

    def _write(self, text: str, last: bool) -> None:
        """Puts whole lines into the log, without secrets."""
        *lines, self._line = (self._line + text).split("\n")
        if last and self._line:
            lines, self._line = [*lines, self._line], ""
        if lines:
            shown = [redacted(line, self._secrets) for line in lines]
            self._keep("".join(f"{line}\n" for line in shown))
            if told := [line for line in shown if line.strip()]:
                self.state = dataclasses.replace(self.state, said=told[-1][:300])

    def _say(self, status: str, why: str = "", **more) -> None:
        self.state = dataclasses.replace(self.state, status=status, why=why, since=time.time(), **more)
        self._tell(self.state)
