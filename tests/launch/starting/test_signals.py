"""Signals are answered at once, whatever the main thread is at: processes that are sent real ones."""

import contextlib
import fcntl
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from warmloop.launch.starting.signals import NUMBERS, ONE_WISH_SECONDS, PASSED_ON

SCRIPT = Path(__file__).parents[2] / "helpers" / "signalled.py"
ASKING = [number for number in NUMBERS if number != signal.SIGQUIT]


@contextlib.contextmanager
def process(phase: str, where: str, **settings) -> Iterator[subprocess.Popen[str]]:
    """The helper, once it is busy."""
    line = [sys.executable, str(SCRIPT), phase, where]
    settings = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | settings
    running = subprocess.Popen(line, **settings)
    try:
        assert running.stdout is None or running.stdout.readline() == "ready\n"
        yield running
    finally:
        running.kill()
        running.wait()


@pytest.mark.parametrize("where", ["python", "compiled"])
@pytest.mark.parametrize("number", NUMBERS)
def test_where_nothing_was_begun_a_signal_ends_the_process_at_once_with_a_sentence(number, where):
    with process("begun", where) as running:
        running.send_signal(number)
        told, error = running.communicate(timeout=60)
    assert running.returncode == 128 + number
    assert error == f"ended at once by {number.name}; what was saved before is whole\n"
    assert told == f"at rest: {number.name} ended the process\n"


@pytest.mark.parametrize("number", ASKING)
def test_work_that_cleans_up_after_itself_does_so_first(number):
    with process("unwinding", "python") as running:
        running.send_signal(number)
        told, error = running.communicate(timeout=60)
    assert (running.returncode, told) == (128 + number, "unwound\n") and "Traceback" not in error


def test_work_that_does_not_get_to_it_is_ended_after_a_moment():
    with process("unwinding", "compiled") as running:
        running.send_signal(signal.SIGTERM)
        told, error = running.communicate(timeout=60)
    assert running.returncode == 143 and "ended at once by SIGTERM" in error and told.startswith("at rest")


@pytest.mark.parametrize("number", ASKING)
def test_an_orderly_end_is_asked_for_even_within_one_compiled_call_and_a_second_wish_ends_it(number):
    other = signal.SIGTERM if number != signal.SIGTERM else signal.SIGINT
    with process("answering", "compiled") as running:
        assert running.stdout is not None and running.stderr is not None
        running.send_signal(signal.SIGSTOP)
        running.send_signal(number)
        running.send_signal(other)  # as from a terminal and from a parent, at one moment: one wish
        running.send_signal(signal.SIGCONT)
        assert running.stdout.readline() == "asked to stop\n"
        said = running.stderr.readline()
        assert said in [f"stopping at {one.name}: saving what there is (a second one ends this at once)\n" for one in (number, other)]
        time.sleep(ONE_WISH_SECONDS + 0.2)  # from when it has said so
        assert running.poll() is None
        running.send_signal(number)
        told, error = running.communicate(timeout=60)
    assert running.returncode == 128 + number
    assert told == f"last act\nat rest: {number.name} ended the process\n"
    assert error == f"ended at once by {number.name}; what was saved before is whole\n"


def test_what_a_parent_passes_on_late_is_no_second_wish():
    """Ctrl-C reaches a learner from the terminal, and from `local` as a SIGTERM; a busy machine may hold that up for seconds."""
    with process("answering", "python", env=os.environ | {PASSED_ON: "1"}) as running:
        assert running.stdout is not None and running.stderr is not None
        running.send_signal(signal.SIGINT)
        assert running.stdout.readline() == "asked to stop\n" and running.stderr.readline().startswith("stopping at SIGINT")
        time.sleep(ONE_WISH_SECONDS + 0.2)
        running.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        assert running.poll() is None
        running.send_signal(signal.SIGINT)
        told, _ = running.communicate(timeout=60)
    assert (running.returncode, told) == (130, "last act\nat rest: SIGINT ended the process\n")


def test_a_process_that_ends_at_once_does_so_with_its_signals_code_whatever_the_main_thread_does_meanwhile():
    """As where what it waits for is ended before it, so that the main thread is on its way out, too."""
    with process("leaving", "python") as running:
        running.send_signal(signal.SIGQUIT)
        told, error = running.communicate(timeout=60)
    assert (running.returncode, told) == (131, "at rest: SIGQUIT ended the process\n"), error


def test_sigquit_is_never_a_wish_that_can_wait():
    with process("answering", "compiled") as running:
        running.send_signal(signal.SIGQUIT)
        told, _ = running.communicate(timeout=60)
    assert running.returncode == 131 and "asked to stop" not in told and "at rest: SIGQUIT" in told


def test_what_nohup_ignores_stays_ignored():
    def ignoring():
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    with process("answering", "python", preexec_fn=ignoring) as running:
        running.send_signal(signal.SIGHUP)
        time.sleep(0.5)
        assert running.poll() is None
        running.send_signal(signal.SIGTERM)
        assert running.stdout is not None and running.stdout.readline() == "asked to stop\n"


def test_a_terminal_that_hangs_up_asks_for_an_orderly_end_and_writing_to_it_is_no_error(tmp_path):
    """As an ssh session that drops: the kernel's own SIGHUP, and a terminal whose writes fail."""
    told = tmp_path / "told"
    code = f"""
import sys, time
from warmloop.launch.starting import signals
signals.install()
told = open({str(told)!r}, "w", buffering=1)
asked = []
with signals.answering(lambda: asked.append(True)):
    print("ready", flush=True)
    while not asked:
        time.sleep(0.01)
    time.sleep(0.2)
    for _ in range(3):
        print("saving", flush=True)
        print("saving", file=sys.stderr, flush=True)
told.write("saved")
"""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-c", code])
    said = b""
    while not said.endswith(b"\n"):
        said += os.read(terminal, 100)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert told.read_text() == "saved"


def test_a_signal_to_a_forked_child_is_not_the_parents():
    done = subprocess.run([sys.executable, str(SCRIPT), "forking", ""], capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines()[:2] == ["the child ended with 15", "the parent goes on"] and done.returncode == 0


def test_importing_the_package_leaves_the_signals_of_others_alone():
    code = "import signal, warmloop.launch.flags.common; print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout == "True\n", done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_command_answers_from_its_first_import_on(number, tmp_path):
    """`-X importtime` says when the package of the commands has been imported, long before JAX has. What it says next fills the pipe, so
    that the command waits there until it is read."""
    command = ["warmloop.launch.train_rlpd", f"--runs={tmp_path}", "--config=configs/classic.py:pendulum"]
    running = subprocess.Popen([sys.executable, "-X", "importtime", "-m", *command], stderr=subprocess.PIPE, bufsize=0)
    assert running.stderr is not None
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        fcntl.fcntl(running.stderr, fcntl.F_SETPIPE_SZ, 4096)
    seen = []
    for line in running.stderr:
        seen.append(line.decode())
        if seen[-1].rstrip().endswith("warmloop.launch"):
            break
    running.send_signal(number)
    rest = running.communicate(timeout=120)[1].decode()
    assert running.returncode == 128 + number, rest
    assert f"ended at once by {number.name}" in rest and "Traceback" not in rest
    assert not any(text.rstrip().endswith(" jax") for text in seen)
