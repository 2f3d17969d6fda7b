"""Keys typed into a real terminal (a pty): what they mean, and that the terminal is as it was at every end."""

import contextlib
import fcntl
import itertools
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from waiting import until

from warmloop.actor.teleop import terminal as module
from warmloop.actor.teleop.keyboard import DIRECTIONS, OTHER_ARM, SIGNALS, TAKE_OVER
from warmloop.actor.teleop.terminal import ESCAPES, KEEP_SECONDS, MOVE_SECONDS, SINGLE, Terminal, keys_of
from warmloop.data.errors import WarmloopError

SCRIPT = Path(__file__).parents[2] / "helpers" / "typed.py"


class Typed:
    """The helper in a terminal of its own."""

    def __init__(self, how):
        self.ours, theirs = pty.openpty()
        self.before = termios.tcgetattr(self.ours)

        def take_terminal():
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        pipes = {"stdin": theirs, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        self.process = subprocess.Popen([sys.executable, str(SCRIPT), how], start_new_session=True, preexec_fn=take_terminal, **pipes)
        os.close(theirs)
        self.until("listening")

    def type(self, keys):
        os.write(self.ours, keys)

    def until(self, line, seconds=60.0):
        """Waits for a line."""
        assert self.process.stdout is not None
        text = b""
        while not text.endswith(f"{line}\n".encode()):
            assert select.select([self.process.stdout], [], [], seconds)[0], text
            new = os.read(self.process.stdout.fileno(), 1)
            assert new, (text, self.process.communicate())
            text += new

    def hold(self, keys, line, seconds=60.0):
        """Types keys until a line comes: a process that a busy machine holds up may not look while a motion lasts."""
        assert self.process.stdout is not None
        deadline, text = time.monotonic() + seconds, b""
        while time.monotonic() < deadline:
            self.type(keys)
            while select.select([self.process.stdout], [], [], 0.04)[0]:
                text += os.read(self.process.stdout.fileno(), 1)
                if text.endswith(f"{line}\n".encode()):
                    return
        raise AssertionError(text)

    @property
    def is_raw(self):
        return not termios.tcgetattr(self.ours)[3] & (termios.ICANON | termios.ECHO)

    @property
    def is_as_before(self):
        return termios.tcgetattr(self.ours) == self.before


@contextlib.contextmanager
def typed(how):
    running = Typed(how)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.wait()
        os.close(running.ours)


def line(active, switches=0, signal=None, **motions):
    names = ("x", "y", "z", "roll", "pitch", "yaw", "gripper")
    return " ".join(map(str, (active, *(motions.get(name, 0) for name in names), switches, signal)))


def test_a_key_moves_for_a_moment_and_keeps_the_takeover_until_it_could_repeat_itself(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(Terminal, "_foreground", lambda terminal: True)
    ours, theirs = pty.openpty()
    terminal = Terminal(os.ttyname(theirs))

    def typing(keys):
        os.write(ours, keys)
        until(lambda: terminal._active_until == now[0] + KEEP_SECONDS)

    def shown():
        reading = terminal.read()
        return reading.active, float(reading.motions[0]), float(np.abs(reading.motions[1:]).max())

    try:
        assert shown() == (False, 0, 0)
        typing(b"w")
        for later, seen in ((0.0, (True, 1, 0)), (MOVE_SECONDS, (True, 0, 0)), (KEEP_SECONDS, (False, 0, 0))):
            now[0] = 100.0 + later - 0.001
            assert later == 0.0 or shown() != seen
            now[0] = 100.0 + later + 0.001
            assert shown() == seen
        typing(b"\x1b[A")
        now[0] += 0.5  # held: half a second until the first repetition, then thirty a second
        assert shown() == (True, 0, 0)
        for _ in range(8):
            typing(b"\x1b[A")
            assert shown() == (True, 1, 0)
            now[0] += 1 / 30
            assert shown() == (True, 1, 0)
    finally:
        terminal.close()
        os.close(theirs)
        os.close(ours)


@pytest.mark.long
def test_keys_that_are_typed_into_a_process_move_and_then_do_not_any_more():
    with typed("wait") as terminal:
        assert terminal.is_raw
        terminal.until(line(False))
        began = time.monotonic()
        terminal.hold(b"\x1b[A", line(True, x=1))
        terminal.until(line(False))
        assert time.monotonic() - began >= KEEP_SECONDS


@pytest.mark.long
def test_space_takes_over_until_it_is_pressed_again_and_words_are_signals():
    with typed("wait") as terminal:
        terminal.type(b" ")
        terminal.until(line(True))
        time.sleep(KEEP_SECONDS + 0.3)
        terminal.type(b"\t")
        terminal.until(line(True, switches=1))
        terminal.type(b" ")
        terminal.until(line(False))
        for key, word in ((b"\r", "success"), (b"\x7f", "failure"), (b"\x1b[3~", "discard"), (b"r", "rerecord")):
            terminal.type(key)
            terminal.until(line(False, signal=word))


@pytest.mark.slow
@pytest.mark.parametrize("end", ["close", "raise", signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, "ctrl-c"])
def test_the_terminal_is_as_it_was_at_every_end(end):
    with typed(end if isinstance(end, str) and end != "ctrl-c" else "wait") as terminal:
        assert terminal.is_raw
        if isinstance(end, signal.Signals):
            terminal.process.send_signal(end)
        else:
            terminal.type(b"\x03" if end == "ctrl-c" else b"\n")
        terminal.process.wait(60)
        assert terminal.is_as_before
        assert terminal.process.returncode == {"close": 0, "raise": 3, "ctrl-c": 130}.get(end, 128 + getattr(end, "value", 0))


@pytest.mark.long
def test_the_terminal_stays_as_it_was_while_a_robot_beside_it_comes_to_rest():
    with typed("slow") as terminal:
        terminal.process.send_signal(signal.SIGTERM)
        terminal.process.wait(60)
        assert terminal.is_as_before


@pytest.mark.long
def test_a_process_in_the_background_is_not_suspended_by_its_terminal():
    ours, theirs = pty.openpty()
    own = "from warmloop.actor.teleop.terminal import Terminal\nTerminal()"
    shell = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {own!r}], process_group=0, timeout=120, check=True)"
    taken = {"start_new_session": True, "preexec_fn": lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0)}
    done = subprocess.run([sys.executable, "-c", shell], stdin=theirs, capture_output=True, timeout=150, **taken)
    os.close(ours)
    os.close(theirs)
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.long
def test_a_terminal_that_was_lent_to_the_shell_meanwhile_is_listened_to_again():
    """As after Ctrl-Z and `fg`, between which the shell has set it back."""
    with typed("wait") as terminal:
        termios.tcsetattr(terminal.ours, termios.TCSANOW, terminal.before)
        until(lambda: terminal.is_raw)
        terminal.hold(b"d", line(True, y=-1))


@pytest.mark.long
def test_without_a_terminal_there_is_a_sentence():
    code = "from warmloop.actor.teleop.terminal import Terminal\nTerminal()"
    pipes = {"capture_output": True, "text": True, "stdin": subprocess.DEVNULL}
    done = subprocess.run([sys.executable, "-c", code], timeout=120, start_new_session=True, **pipes)
    assert "There is no terminal to type into" in done.stderr and "ssh -t HOST" in done.stderr


def test_a_terminal_that_hangs_up_is_noticed(tmp_path):
    ours, theirs = pty.openpty()
    path = os.ttyname(theirs)
    opened = Terminal(path)
    opened._foreground = lambda: True
    try:
        os.close(theirs)
        os.close(ours)
        with pytest.raises(WarmloopError, match="cannot be read any more"):
            until(lambda: opened.read() and False)
    finally:
        opened.close()


def test_every_key_of_the_keyboard_can_be_typed():
    typed_keys = {*ESCAPES.values(), *SINGLE.values(), *(chr(code) for code in range(ord("a"), ord("z") + 1))}
    assert {*DIRECTIONS, *SIGNALS, TAKE_OVER, OTHER_ARM} <= typed_keys


BYTES = {name: b"\x1b" + code for code, name in ESCAPES.items()} | {name: code for code, name in SINGLE.items()}
BYTES |= {key: key.encode() for key in DIRECTIONS if len(key) == 1}


@given(st.lists(st.sampled_from(sorted(BYTES))), st.lists(st.integers(0, 400)))
def test_keys_are_the_same_however_a_terminal_cuts_them_into_pieces(names, cuts):
    data, found, rest = b"".join(BYTES[name] for name in names), [], b""
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    for start, end in itertools.pairwise(places):
        keys, rest = keys_of(rest + data[start:end])
        found += keys
    assert found == names and rest == b""


@given(st.binary(max_size=40))
def test_no_bytes_are_an_error(data):
    keys, rest = keys_of(data)
    assert len(rest) <= len(data) and all(key in {*DIRECTIONS, *SIGNALS, TAKE_OVER, OTHER_ARM} for key in keys)


def test_alt_with_a_key_says_nothing_and_what_the_keys_do_is_told():
    assert keys_of(b"\x1bw\x1b[1;5A") == ([], b"")
    assert "one key at a time" in module.HELP and "Space" in module.HELP
