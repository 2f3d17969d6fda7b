"""A learner and its actors as processes of this machine."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence

from ..data.errors import WarmloopError
from .common import INTERRUPTED, log
from .session import answering

RESTARTS, RESTART_WINDOW = 3, 600.0  # so many times within so many seconds an actor is started again
LEARNER_START_SECONDS = 180.0
LEAVE_SECONDS = 30.0
BEFORE_IT_BEGAN = (-signal.SIGTERM, -signal.SIGINT, INTERRUPTED)  # exit codes of a learner that had nothing to save yet
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
    """A port of this machine that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def run_together(learner_arguments: Sequence[str], actor_arguments: Sequence[str], actors: int, port: int) -> None:
    """Runs a learner and `actors` actors until the learner ends; an actor that dies is started again, and sends what its spool holds.

    SIGTERM and Ctrl-C go to the learner, which saves and lets its actors leave; a second one kills them all.

    Raises:
        WarmloopError: the learner failed, or an actor failed again and again within minutes.
        SystemExit: it was told to stop, and all have ended (exit code 0).
    """
    learner = subprocess.Popen(command("train_rlpd", *learner_arguments, "--learner", f"--port={port}"))
    running: list[subprocess.Popen] = []
    told = threading.Event()

    def stop() -> None:
        told.set()
        learner.terminate()

    with answering(stop, at_once=lambda: _kill([*running, learner])):
        try:
            _wait_for(learner, port, told)
            for number in range(0 if told.is_set() else actors):
                running.append(_start_actor(actor_arguments, number, port))
            _attend(learner, running, actor_arguments, port, told)
            if learner.returncode and not (told.is_set() and learner.returncode in BEFORE_IT_BEGAN):
                raise WarmloopError(f"The learner ended with exit code {learner.returncode}; what it said is above.")
            _wait_all(running)
        finally:
            _end([*running, learner])
    if told.is_set():
        raise SystemExit(0)


def _attend(
    learner: subprocess.Popen, running: list[subprocess.Popen], actor_arguments: Sequence[str], port: int, told: threading.Event
) -> None:
    """Starts actors of `running` again that die, until the learner ends; none any more once it was told to."""
    failures: list[deque[float]] = [deque(maxlen=RESTARTS + 1) for _ in running]
    while learner.poll() is None:
        time.sleep(0.2)
        for number, actor in enumerate(running):
            if told.is_set() or actor.poll() in (None, 0):
                continue
            failures[number].append(time.monotonic())
            if _too_often(failures[number]):
                raise WarmloopError(f"Actor {number} failed {RESTARTS + 1} times in a short time; what it said is above.")
            log.warning("actor %d ended with exit code %s and is started again", number, actor.returncode)
            running[number] = _start_actor(actor_arguments, number, port)


def _too_often(failures: deque[float]) -> bool:
    """Whether the newest of an actor's failures is one too many; those of long ago do not count."""
    return len(failures) > RESTARTS and failures[-1] - failures[0] < RESTART_WINDOW


def _start_actor(arguments: Sequence[str], number: int, port: int) -> subprocess.Popen:
    line = command("train_rlpd", *arguments, "--actor", f"--actor_id={number}", f"--port={port}")
    return subprocess.Popen(line, env=os.environ | {"XLA_FLAGS": one_thread(os.environ)["XLA_FLAGS"]})


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


def _kill(processes: Sequence[subprocess.Popen]) -> None:
    for process in processes:
        process.kill()


def run_command(module: str, *arguments: str) -> str:
    """Shows and runs one command to its end; returns what it wrote to stdout. Raises WarmloopError where it failed."""
    print(f"\n$ python -m warmloop.launch.{module} {' '.join(arguments)}", flush=True)
    done = subprocess.run(command(module, *arguments), stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise WarmloopError(f"{module} ended with exit code {done.returncode}; what it said is above.")
    return done.stdout
