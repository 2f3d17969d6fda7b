"""What environments change for the whole process is put back and said; what ends them ends no run without a word."""

import asyncio
import contextlib
import logging
import logging.config
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from scripted import Scripted, environment

from warmloop.actor.environment import closing
from warmloop.actor.environment.guard import Blocked
from warmloop.data.doors.borrowed import lent
from warmloop.data.errors import EnvironmentFault, EnvironmentGaveOut, WarmloopError
from warmloop.data.running import emergency, said

PANIC = type("PanicException", (BaseException,), {})  # as those of extensions in Rust
SIGNALLED = Path(__file__).parents[2] / "helpers" / "signalled.py"


@pytest.fixture(autouse=True)
def nothing_said_yet():
    said._said.clear()


class Doing(Scripted):
    """Does something in its second step, and something at its end."""

    def __init__(self, does=lambda: None, closes=lambda: None):
        super().__init__()
        self.does, self.closes = does, closes

    def step(self, action):
        if len(self.received) == 1:
            self.does()
        return super().step(action)

    def close(self):
        self.closes()


def raising(error: BaseException):
    def raise_it():
        raise error

    return raise_it


def two_steps(does):
    made = environment(Doing(does))
    made.reset(0)
    made.step(np.zeros(2))
    made.step(np.zeros(2))


def test_the_working_folder_is_the_commands_own_again(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    (elsewhere := tmp_path / "assets").mkdir()
    for _ in range(2):
        two_steps(lambda: os.chdir(elsewhere))
        assert Path.cwd() == tmp_path
    assert [record.message.partition(";")[0] for record in caplog.records] == [
        f'Environment "lab" changed the working folder of the process to {elsewhere}'
    ]


def test_a_folder_that_is_gone_changes_nothing(tmp_path, monkeypatch, caplog):
    (gone := tmp_path / "gone").mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    two_steps(lambda: None)
    assert not caplog.records


@pytest.fixture
def others_are_heard():
    """Other packages' loggers too speak again after the test; dictConfig disables all that exist."""
    loggers = [one for one in logging.root.manager.loggerDict.values() if isinstance(one, logging.Logger)]
    disabled = [one.disabled for one in loggers]
    yield
    for one, before in zip(loggers, disabled, strict=True):
        one.disabled = before


@pytest.mark.usefixtures("others_are_heard")
@pytest.mark.parametrize("silence", [lambda: logging.disable(logging.CRITICAL), lambda: logging.config.dictConfig({"version": 1})])
def test_logging_that_was_switched_off_is_on_again(silence, caplog):
    two_steps(silence)
    logging.getLogger("warmloop.actor.control_loop").warning("heard")
    assert "switched logging off for the whole process" in caplog.records[0].message and caplog.records[1].message == "heard"


def test_what_the_user_has_silenced_stays_silent():
    logging.disable(logging.ERROR)
    try:
        two_steps(lambda: None)
        assert logging.root.manager.disable == logging.ERROR
    finally:
        logging.disable(logging.NOTSET)


@pytest.mark.parametrize("phase", ["taken-handlers", "taken-wakeup"])
def test_signals_that_were_taken_are_taken_back(phase):
    running = subprocess.Popen([sys.executable, str(SIGNALLED), phase, "python"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert running.stdout is not None
    with contextlib.closing(running.stdout):
        assert running.stdout.readline() == "ready\n"
        running.terminate()
        _, told = running.communicate(timeout=60)
    assert running.returncode == 128 + 15 and "ended at once by SIGTERM" in told
    assert told.count('Environment "lab" took SIGINT') == 1


@pytest.mark.parametrize("error", [SystemExit(3), asyncio.CancelledError(), PANIC("panicked"), StopIteration()])
def test_whatever_ends_an_environment_is_a_sentence_before_its_first_step(error):
    made = environment(scripted := Doing())
    scripted.reset = lambda **_: raising(error)()
    with pytest.raises(WarmloopError, match=f"failed in its reset: {type(error).__name__}"):
        made.reset(0)


@pytest.mark.parametrize("error", [asyncio.CancelledError(), PANIC("panicked")])
def test_a_cancelled_or_panicking_step_is_a_fault_like_any_other(error):
    with pytest.raises(EnvironmentFault, match=f"failed in its step 1: {type(error).__name__}"):
        two_steps(raising(error))


def test_an_environment_that_exits_ends_the_run_in_order():
    with pytest.raises(EnvironmentGaveOut, match=r"ended its process in its step 1: SystemExit: 0 \(test_borrowed.py"):
        two_steps(lambda: sys.exit(0))


@pytest.mark.parametrize("commands_own", [False, True])
def test_a_keyboard_interrupt_is_a_persons_but_in_a_command_which_hears_them_otherwise(commands_own, monkeypatch):
    monkeypatch.setattr(emergency, "may_end", commands_own)
    with pytest.raises(EnvironmentGaveOut if commands_own else KeyboardInterrupt):
        two_steps(raising(KeyboardInterrupt()))


@pytest.mark.parametrize("error", [emergency.ToldToLeave(0), GeneratorExit()])
def test_what_comes_from_elsewhere_passes_through(error):
    with pytest.raises(type(error)):
        two_steps(raising(error))


def test_what_breaks_into_a_step_passes_through():
    emergency.breakable()

    def blocks():
        emergency.break_in(Blocked())
        threading.Event().wait(60)

    with pytest.raises(Blocked):
        two_steps(blocks)


@pytest.mark.parametrize("error", [RuntimeError("closed already"), SystemExit(1)])
def test_an_end_that_fails_is_told_and_ends_nothing(error, caplog):
    environment(Doing(closes=raising(error))).close()
    assert f'Environment "lab" failed in its close: {type(error).__name__}' in caplog.records[0].message


def test_an_end_that_blocks_is_left(monkeypatch, caplog):
    monkeypatch.setattr(closing, "CLOSE_SECONDS", 0.05)
    emergency.breakable()
    environment(Doing(closes=threading.Event().wait)).close()
    assert "close() has not returned for 0.05 s" in caplog.records[0].message


def test_what_is_lent_is_put_back_where_the_call_fails(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with contextlib.suppress(ValueError), lent("The module"):
        os.chdir("/")
        raise ValueError
    assert Path.cwd() == tmp_path
