"""One function over many numbers, in this process or in several beside it."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection, wait
from typing import Any, NoReturn, Protocol, TypeVar

from ...data.doors.imports import told
from ...data.errors import WarmloopError
from ...data.running import emergency

LEAVE_SECONDS = 10.0
OF_A_TERMINAL = [signal.Signals[name] for name in ("SIGINT", "SIGHUP") if name in signal.Signals.__members__]
Result = TypeVar("Result", covariant=True)


class Job(Protocol[Result]):
    """What a worker does: called with numbers, it yields `(number, result)` as it finishes them; it is closed at the end.

    It takes the next number when it has room for one, and waits for it; so at most as many are unfinished as it can be at once.
    """

    def __call__(self, numbers: Iterable[int]) -> Iterator[tuple[int, Result]]: ...

    def close(self) -> None: ...


Run = Callable[[Iterable[int]], Iterator[tuple[int, Result]]]


@contextlib.contextmanager
def workers(make: Callable[[], Job[Result]], count: int, abreast: int = 1) -> Iterator[Run[Result]]:
    """Gives `run(numbers)`, which yields `(number, result)` in the order in which they finish; at the end the jobs are closed.

    Args:
        make: makes a worker's job; with more than one worker, called in a fresh process each, so it must be picklable.
        count: workers; a single one works in this process.
        abreast: numbers that a job is at, at once.

    Numbers are taken one at a time, as workers become free. Whatever goes wrong in a job, its making included, is raised here.

    Raises:
        WarmloopError: a job raised one, or its process died.
    """
    if count > 1:
        with _processes(make, count, abreast) as crew:
            yield crew.run
        return
    job = make()
    try:
        yield job
    finally:
        job.close()


class _Crew:
    """Worker processes, each of which is at up to `abreast` numbers at once."""

    def __init__(self, processes: dict[Connection, Any], abreast: int):
        self._processes, self._abreast = processes, abreast
        for connection in processes:
            self._receive(connection)  # each says that it is ready, or what is wrong

    def run(self, numbers: Iterable[int]) -> Iterator[tuple[int, Any]]:
        waiting, busy = iter(numbers), dict.fromkeys(self._processes, 0)
        room = [connection for _ in range(self._abreast) for connection in self._processes]
        while True:
            while room and (number := next(waiting, None)) is not None:
                busy[connection := room.pop()] += 1
                self._send(connection, number)
            if room:
                break
            yield from self._finished(busy, room)
        for connection in self._processes:
            self._send(connection, None)
        while any(busy.values()):
            yield from self._finished(busy, room)

    def _finished(self, busy: dict[Connection, int], room: list[Connection]) -> Iterator[tuple[int, Any]]:
        """What is over by now, after waiting for something to be."""
        for ready in wait([connection for connection, count in busy.items() if count]):
            assert isinstance(ready, Connection)
            busy[ready] -= 1
            room.append(ready)
            yield self._receive(ready)

    def _send(self, connection: Connection, number: int | None) -> None:
        """One more number, or None after the last one."""
        with contextlib.suppress(OSError):  # of a process that is gone, which is found when it is waited for
            connection.send(number)

    def _receive(self, connection: Connection) -> Any:
        try:
            good, value = connection.recv()
        except (EOFError, OSError):
            process = self._processes[connection]
            process.join(LEAVE_SECONDS)
            code = process.exitcode
            how = signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"
            raise WarmloopError(f"A worker process died ({how}); it may have run out of memory. Use fewer --workers.") from None
        if not good:
            raise WarmloopError(value)
        return value


@contextlib.contextmanager
def _processes(make: Callable[[], Job], count: int, abreast: int) -> Iterator[_Crew]:
    context = multiprocessing.get_context("spawn")  # a fork would copy the locks of JAX's threads
    processes: dict[Connection, Any] = {}
    try:
        with _ignored():  # which the workers inherit: Ctrl-C and a terminal that hangs up are this process's to answer
            for number in range(count):
                ours, theirs = context.Pipe()
                process = context.Process(target=_work, args=(make, theirs), name=f"worker-{number}", daemon=True)
                process.start()
                theirs.close()
                processes[ours] = process
        yield _Crew(processes, abreast)
    finally:
        for process in processes.values():
            process.terminate()
        for process in processes.values():
            process.join(LEAVE_SECONDS)
            if process.is_alive():
                process.kill()
                process.join(LEAVE_SECONDS)


@contextlib.contextmanager
def _ignored() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in OF_A_TERMINAL}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _work(make: Callable[[], Job], connection: Connection) -> None:
    """A worker process: answers `(True, (number, result))` or `(False, sentence)` to every number."""
    emergency.process_may_end()
    signal.signal(signal.SIGTERM, _leave)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    job = None
    try:
        job = make()
        connection.send((True, None))
        while True:
            for finished in job(iter(connection.recv, None)):
                connection.send((True, finished))
    except EOFError:
        pass
    except Exception as error:
        connection.send((False, str(error) if isinstance(error, WarmloopError) else told(error)))
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it is leaving
        if job is not None:
            job.close()


def _leave(*_: object) -> NoReturn:
    """Ends the process by an exception, so that the job is closed."""
    raise emergency.ToldToLeave(0)


def _die_with_parent() -> None:
    """Ends this process when the one that started it is gone, however that ended."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    emergency.bring_to_rest("the process that started this one is gone")
    os._exit(1)
