"""A learner and its actors as processes of this machine."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from ...data.errors import EnvironmentGaveOut, WarmloopError
from ...data.running.emergency import STOP_SECONDS
from ..flags.common import log
from ..flags.progress import LINES
from .signals import AT_ONCE, NUMBERS, PASSED_ON, answering

RESTARTS, RESTART_WINDOW = 3, 600.0  # so many times within so many seconds an actor is started again
LEARNER_START_SECONDS = 180.0
LEAVE_SECONDS = 30.0
KILL_SECONDS = 1.0  # for a killed process to be gone
BEFORE_IT_BEGAN = {code for number in NUMBERS for code in (-number, 128 + number)}  # of a learner that had nothing to save yet
# An actor infers one small network at a time: a second thread would only take the learner's.
ONE_THREAD = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"


def command(module: str, *arguments: str) -> list[str]:
    """The command line of one of the package's commands."""
    return [sys.executable, "-m", f"warmloop.launch.{module}", *arguments]


def one_thread(environment: Mapping[str, str]) -> dict[str, str]:
    """What to set for processes that share the cores, one thread each, and leave the accelerator alone; what is set already stays.

    Numerical libraries read it when they are first imported. A number of threads can also change how a sum is rounded.
    """
    flags = f"{environment.get('XLA_FLAGS', '')} {ONE_THREAD}".strip()
    libraries = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return libraries | {"JAX_PLATFORMS": "cpu"} | dict(environment) | {"XLA_FLAGS": flags}


def free_port() -> int:
    """A port of this machine that nothing listens on. A connection that has just ended there keeps the system from giving it, for a
    minute, to whoever asks for any port; a learner may listen on it at once."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as near:
            probe.accept()[0].close()  # the end that closes first is the one that lingers
            near.recv(1)
    return port


def run_together(learner_arguments: Sequence[str], actor_arguments: Sequence[str], actors: int, port: int, robots: bool = False) -> None:
    """Runs a learner and `actors` actors until the learner ends; an actor that dies is started again, and sends what its spool holds.

    Not so where `robots` is true and a person must see to its robot first: too many faults, or a step that blocks.

    SIGTERM, SIGHUP and Ctrl-C go to the learner, which saves and lets its actors leave; a second one ends them all at once.

    Raises:
        WarmloopError: the learner failed, an actor failed again and again within minutes, or no robot is left.
        SystemExit: it was told to stop, and all have ended (exit code 0).
    """
    family = _Family()
    with answering(family.stop, family.end_at_once):
        try:
            own = os.environ | {PASSED_ON: "1", LINES: "1"}
            learner = family.start(command("train_rlpd", *learner_arguments, "--learner", f"--port={port}"), own)
            if learner is not None:
                _wait_for(learner, port, family.told)
                running = [_start_actor(family, actor_arguments, number, port) for number in range(actors)]
                _attend(learner, running, partial(_start_actor, family, actor_arguments, port=port), robots, family.told)
                if learner.returncode and not (family.told.is_set() and learner.returncode in BEFORE_IT_BEGAN):
                    raise WarmloopError(f"The learner ended with exit code {learner.returncode}; what it said is above.")
                _wait_all(family.processes[1:])
        finally:
            _end(family.processes)
    if family.told.is_set():
        raise SystemExit(0)


class _Family:
    """A learner and its actors. The thread that answers signals ends them while the main thread starts them, and leaves none behind.

    Attributes:
        processes: all that were started and run, the learner first.
        told: set once they are to end; none is started any more then.
    """

    def __init__(self) -> None:
        self.processes: list[subprocess.Popen] = []
        self.told, self._lock = threading.Event(), threading.Lock()

    def start(self, line: Sequence[str], environment: Mapping[str, str] | None = None) -> subprocess.Popen | None:
        """Starts a process; None where they are to end."""
        with self._lock:
            if self.told.is_set():
                return None
            process = subprocess.Popen(line, env=environment)
            self.processes = [*self.processes[:1], *(one for one in self.processes[1:] if one.poll() is None), process]
            return process

    def stop(self) -> None:
        """Tells the learner to end, which lets its actors leave."""
        self.told.set()
        with self._lock:  # one that is just being started is told too
            for learner in self.processes[:1]:
                learner.terminate()

    def end_at_once(self) -> None:
        """Ends them all without their saving; robots come to rest first."""
        self.told.set()
        if self._lock.acquire(timeout=STOP_SECONDS):
            self._lock.release()
        _end_at_once(self.processes)


def _attend(
    learner: subprocess.Popen,
    running: list[subprocess.Popen | None],
    start: Callable[[int], subprocess.Popen | None],
    robots: bool,
    told: threading.Event,
) -> None:
    """Starts actors of `running` again that die, until the learner ends; none any more once it was told to."""
    out = set[int]()
    failures: list[deque[float]] = [deque(maxlen=RESTARTS + 1) for _ in running]
    while learner.poll() is None:
        time.sleep(0.2)
        for number, actor in enumerate(running):
            if told.is_set() or actor is None or number in out or actor.poll() in (None, 0):
                continue
            if robots and actor.returncode == EnvironmentGaveOut.exit_code:
                out.add(number)
                log.error("actor %d is not started again: see to its robot first; what it said is above", number)
                if len(out) == len(running):
                    raise EnvironmentGaveOut("No robot is left; the learner saves, and --resume continues the run.")
                continue
            failures[number].append(time.monotonic())
            if _too_often(failures[number]):
                raise WarmloopError(f"Actor {number} failed {RESTARTS + 1} times in a short time; what it said is above.")
            log.warning("actor %d ended with exit code %s and is started again", number, actor.returncode)
            running[number] = start(number)


def _too_often(failures: deque[float]) -> bool:
    """Whether the newest of an actor's failures is one too many; those of long ago do not count."""
    return len(failures) > RESTARTS and failures[-1] - failures[0] < RESTART_WINDOW


def _start_actor(family: _Family, arguments: Sequence[str], number: int, port: int) -> subprocess.Popen | None:
    line = command("train_rlpd", *arguments, "--actor", f"--actor_id={number}", f"--port={port}")
    return family.start(line, os.environ | {"XLA_FLAGS": one_thread(os.environ)["XLA_FLAGS"]} | _platform(arguments))


def _platform(arguments: Sequence[str]) -> dict[str, str]:
    """An actor leaves the accelerator alone from its first line on, unless --actor_platform gives it another one."""
    return {} if any(argument.lstrip("-").startswith("actor_platform") for argument in arguments) else {"JAX_PLATFORMS": "cpu"}


def _wait_for(learner: subprocess.Popen, port: int, told: threading.Event) -> None:
    """Returns once the learner listens, or was told to stop."""
    deadline = time.monotonic() + LEARNER_START_SECONDS
    while time.monotonic() < deadline:
        if told.is_set():
            return
        if learner.poll() is not None:
            raise WarmloopError(f"The learner ended with exit code {learner.returncode} before it listened; what it said is above.")
        with socket.socket() as probe:
            probe.settimeout(1.0)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    raise WarmloopError(f"The learner did not listen on port {port} within {LEARNER_START_SECONDS:.0f} seconds.")


def _wait_all(processes: Sequence[subprocess.Popen]) -> None:
    deadline = time.monotonic() + LEAVE_SECONDS
    for process in processes:
        try:
            process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            log.warning("an actor did not leave in time and is ended")


def _end(processes: Sequence[subprocess.Popen]) -> None:
    for process in processes:
        if process.poll() is None:
            process.terminate()
    for process in processes:
        try:
            process.wait(LEAVE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()


def _end_at_once(processes: Sequence[subprocess.Popen]) -> None:
    """Ends processes without their saving; robots come to rest first."""
    for process in processes:
        process.send_signal(AT_ONCE or signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS + 1.0
    while time.monotonic() < deadline and any(process.poll() is None for process in processes):
        time.sleep(0.05)
    for process in processes:
        process.kill()
    for process in processes:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(KILL_SECONDS)


def run_command(module: str, *arguments: str) -> str:
    """Shows and runs one command to its end; returns what it wrote to stdout. Raises WarmloopError where it failed."""
    print(f"\n$ python -m warmloop.launch.{module} {' '.join(arguments)}", flush=True)
    done = subprocess.run(command(module, *arguments), stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise WarmloopError(f"{module} ended with exit code {done.returncode}; what it said is above.")
    return done.stdout
