"""Keys from the terminal that a command runs in: over ssh too, and where no program may listen to the keyboard.

A terminal tells of presses alone, and of a held key by repeating it, after about half a second. So a motion lasts for `MOVE_SECONDS` after
its key came, and the takeover for `KEEP_SECONDS`, which bridges the wait before the first repetition.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import termios
import threading
import time
from collections.abc import Iterator

import numpy as np

from ...data.errors import WarmloopError
from ...data.running import emergency
from .axes import MOTIONS
from .keyboard import DIRECTIONS, OTHER_ARM, SIGNALS, TAKE_OVER
from .keyboard import HELP as KEYS
from .operator import Reading, Said

MOVE_SECONDS, KEEP_SECONDS = 0.2, 0.8
LOOK_SECONDS = 0.05  # between two looks whether the terminal is still this process's
ESCAPES = {
    **{b"[A": "up", b"[B": "down", b"[C": "right", b"[D": "left", b"OA": "up", b"OB": "down", b"OC": "right", b"OD": "left"},
    **{b"[5~": "page_up", b"[6~": "page_down", b"[3~": "delete"},
}
SINGLE = {b"\r": "enter", b"\n": "enter", b"\x7f": "backspace", b"\x08": "backspace", b"\t": "tab", b" ": "space"}
HELP = f"""\
{KEYS.rpartition(chr(10))[0].replace("while it is held", f"while it is held, and {KEEP_SECONDS:g} s longer")}
type in the terminal of this command; one key at a time moves"""


class Terminal:
    """Moves while keys are typed into the terminal of this process; Ctrl-C still interrupts. The terminal is as it was at every end.

    Args:
        path: of the terminal.

    Raises:
        WarmloopError: the process has no terminal.
    """

    def __init__(self, path: str = "/dev/tty"):
        self._pressed, self._said = dict[str, float](), Said(SIGNALS)
        self._keeps, self._active_until, self._failure = False, 0.0, ""
        try:
            self._file = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
            self._before = termios.tcgetattr(self._file)
        except (OSError, termios.error) as error:
            raise WarmloopError(
                f"There is no terminal to type into ({error}); run the command in one, over ssh as `ssh -t HOST …`, without nohup."
            ) from error
        self._stack, self._closed, self._stop = contextlib.ExitStack(), False, threading.Event()
        self._setting = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="terminal", daemon=True)
        self._stack.enter_context(emergency.resting(lambda reason: self._restore()))
        atexit.register(self._restore)
        with contextlib.suppress(OSError, termios.error):  # the thread finds it again, and says it
            if self._foreground():
                self._listen_to_keys()
        self._thread.start()

    def clear(self) -> None:
        self._said.clear()
        self._keeps = False

    def read(self) -> Reading:
        if self._failure:
            raise WarmloopError(self._failure)
        keys, signal = self._said.take()
        self._keeps ^= keys.count(TAKE_OVER) % 2 == 1
        motions, now = np.zeros(len(MOTIONS)), time.monotonic()
        for key, (motion, sign) in DIRECTIONS.items():
            if now - self._pressed.get(key, -MOVE_SECONDS) < MOVE_SECONDS:
                motions[motion] += sign
        return Reading(np.clip(motions, -1.0, 1.0), now < self._active_until or self._keeps, keys.count(OTHER_ARM), signal)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._restore()
        atexit.unregister(self._restore)
        self._stack.close()
        os.close(self._file)

    def _listen_to_keys(self) -> None:
        """Each key at once and without an echo; Ctrl-C and Ctrl-Z stay what they are."""
        attributes = termios.tcgetattr(self._file)
        attributes[3] &= ~(termios.ICANON | termios.ECHO)
        attributes[6][termios.VMIN], attributes[6][termios.VTIME] = 1, 0
        termios.tcsetattr(self._file, termios.TCSADRAIN, attributes)

    def _restore(self) -> None:
        with self._setting:  # or the thread would take the terminal again
            self._stop.set()
        if self._thread.is_alive():
            self._thread.join(1.0)
        with contextlib.suppress(OSError, termios.error):  # of a terminal that has hung up
            if self._foreground():
                termios.tcsetattr(self._file, termios.TCSANOW, self._before)

    def _foreground(self) -> bool:
        """Whether the terminal is this process's now: in the background, reading or setting it would suspend the process."""
        return os.tcgetpgrp(self._file) == os.getpgrp()

    def _run(self) -> None:
        """The thread."""
        rest = b""
        try:
            while not self._stop.is_set():
                if not self._foreground():
                    self._stop.wait(LOOK_SECONDS)
                    continue
                if termios.tcgetattr(self._file)[3] & termios.ICANON:  # a shell set it back while the process was suspended
                    with self._setting:
                        if not self._stop.is_set():
                            self._listen_to_keys()
                if select.select([self._file], [], [], LOOK_SECONDS)[0]:
                    data = os.read(self._file, 256)
                    if not data:
                        raise OSError("it has hung up")
                    names, rest = keys_of(rest + data)
                    self._take(names)
                elif rest:  # the Escape key by itself
                    rest = b""
        except (OSError, termios.error) as error:
            self._failure = f"The terminal cannot be read any more ({error})."

    def _take(self, names: list[str]) -> None:
        now = time.monotonic()
        for name in names:
            if name in DIRECTIONS:
                self._pressed[name] = now
                self._active_until = now + KEEP_SECONDS
            else:
                self._said.add([name])


def keys_of(data: bytes) -> tuple[list[str], bytes]:
    """The names of the keys that a terminal sent, as `keyboard` has them, and the beginning of one whose end has not come.

    Unknown keys, and those with Alt, say nothing.
    """
    return (names := list[str]()), _scan(data, names)


def _scan(data: bytes, names: list[str]) -> bytes:
    known = {*DIRECTIONS, *SIGNALS, TAKE_OVER, OTHER_ARM}
    for piece in _pieces(data):
        if piece == b"\x1b" or (piece[:1] == b"\x1b" and not _whole(piece)):
            return piece
        name = ESCAPES.get(piece[1:]) if piece[:1] == b"\x1b" else SINGLE.get(piece) or piece.decode("latin-1").lower()
        if name in known:
            names.append(name)
    return b""


def _pieces(data: bytes) -> Iterator[bytes]:
    """One key each: a byte, or an escape sequence."""
    start = 0
    while start < len(data):
        end = start + 1
        if data[start:end] == b"\x1b":
            while end < len(data) and not _whole(data[start:end]):
                end += 1
        yield data[start:end]
        start = end


def _whole(piece: bytes) -> bool:
    """Whether an escape sequence has its end: `ESC [ numbers letter`, `ESC O letter`, or Alt with a key."""
    if len(piece) < 2:
        return False
    if piece[1:2] == b"[":
        return len(piece) > 2 and 0x40 <= piece[-1] <= 0x7E
    return len(piece) > 2 if piece[1:2] == b"O" else True
