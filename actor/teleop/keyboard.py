"""The keyboard, listened to by pynput: whichever window has the focus."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np

from ...data.errors import WarmloopError
from ..intervention import Signal
from .axes import MOTIONS
from .operator import Reading, Said

START_SECONDS = 10.0
REPEAT_SECONDS = 0.02  # a key that is held repeats itself, by releases that last for less

# The keys of each motion, and of its opposite.
MOVES = {
    "x": ("up w", "down s"),
    "y": ("left a", "right d"),
    "z": ("page_up e", "page_down q"),
    "roll": ("o", "u"),
    "pitch": ("i", "k"),
    "yaw": ("j", "l"),
    "gripper": ("c", "v"),
}
SIGNALS = {"enter": Signal.SUCCESS, "backspace": Signal.FAILURE, "delete": Signal.DISCARD, "r": Signal.RERECORD}
TAKE_OVER, OTHER_ARM = "space", "tab"
HELP = """\
forward, back     Up, Down or W, S        roll    O, U     close gripper   C
left, right       Left, Right or A, D     pitch   I, K     open gripper    V
up, down          Page Up, Down or E, Q   yaw     J, L     other arm       Tab
take over without a motion, and hand back                  Space (a motion's key takes over while it is held)
success Enter, failure Backspace, discard Delete, record again R
keys pressed with Ctrl, Alt or Cmd (Windows) are not meant; pressing one of these lets go of all motions"""

DIRECTIONS = {
    key: (MOTIONS.index(motion), sign)
    for motion, sides in MOVES.items()
    for sign, keys in zip((1.0, -1.0), sides, strict=True)
    for key in keys.split()
}

KNOWN = {*DIRECTIONS, *SIGNALS, TAKE_OVER, OTHER_ARM}
MODIFIERS = {"ctrl", "ctrl_l", "ctrl_r", "alt", "alt_l", "alt_r", "alt_gr", "cmd", "cmd_l", "cmd_r"}
X_MODIFIERS = {0xFE03: "alt_gr", 0xFFE7: "alt", 0xFFE8: "alt_r"}  # AltGr, and Alt beside Shift, to which pynput gives no name


class Keyboard:
    """Moves while keys are held; keys that the tables above do not have are not looked at.

    Keys pressed while Ctrl, Alt or Cmd is down are meant for another program, and those held when one goes down are let go.

    Raises:
        WarmloopError: pynput is not installed, or there is no display whose keyboard it could hear.
    """

    def __init__(self):
        self._down: dict[str, bool] = {}
        self._released: dict[str, float] = {}
        self._modifiers, self._meant = set[str](), set[str]()
        self._said = Said(SIGNALS)
        self._keeps = False
        self._listener = _listener(self._press, self._release)
        self._listener.start()
        if not _hears(self._listener):  # and it is not stopped, for which pynput would wait until it is ready
            raise WarmloopError(
                "The keyboard cannot be heard: its listener does not start. See that this session has a display of its own."
            )

    def clear(self) -> None:
        self._said.clear()
        self._keeps = False

    def read(self) -> Reading:
        if not self._listener.is_alive():
            raise WarmloopError("The keyboard is not heard any more: the display went away.")
        keys, signal = self._said.take()
        self._keeps ^= keys.count(TAKE_OVER) % 2 == 1
        motions, now, held = np.zeros(len(MOTIONS)), time.monotonic(), False
        for key, (motion, sign) in DIRECTIONS.items():
            if key in self._meant and (self._down.get(key) or now - self._released.get(key, -1.0) < REPEAT_SECONDS):
                motions[motion] += sign
                held = True
        return Reading(np.clip(motions, -1.0, 1.0), held or self._keeps, keys.count(OTHER_ARM), signal)

    def close(self) -> None:
        self._listener.stop()

    def _press(self, key: Any) -> None:
        name = _name(key)
        if name in MODIFIERS:
            self._modifiers.add(name)
            self._meant.clear()
        if name not in KNOWN:
            return
        repeated = self._down.get(name) or time.monotonic() - self._released.get(name, -1.0) < REPEAT_SECONDS
        self._down[name] = True
        if repeated or self._modifiers:
            return
        self._meant.add(name)
        if name not in DIRECTIONS:
            self._said.add([name])

    def _release(self, key: Any) -> None:
        name = _name(key)
        self._modifiers.discard(name)
        if name in KNOWN:
            self._released[name] = time.monotonic()
            self._down[name] = False


def _name(key: Any) -> str:
    """How the tables call a key of pynput's; letters by what they write, whatever the case."""
    return (getattr(key, "name", None) or getattr(key, "char", None) or X_MODIFIERS.get(getattr(key, "vk", None) or 0, "")).lower()


def _hears(listener: Any) -> bool:
    """Whether a listener gets ready. Its own `wait` would never return where its thread ends before that, as without a display."""
    ready, deadline = threading.Thread(target=listener.wait, daemon=True), time.monotonic() + START_SECONDS
    ready.start()
    while ready.is_alive() and listener.is_alive() and time.monotonic() < deadline:
        ready.join(0.05)
    return listener.is_alive() and not ready.is_alive()


def _listener(press: Any, release: Any) -> Any:
    try:
        from pynput import keyboard  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError as error:
        raise WarmloopError(f"The keyboard needs pynput ({error}); run `pip install warmloop[teleop]`.") from error
    except Exception as error:  # its backend asks for the display when it is imported
        raise WarmloopError(
            f"The keyboard cannot be heard: pynput found no display ({' '.join(str(error).split())}). Run this in a desktop session, or "
            "set DISPLAY."
        ) from error
    return keyboard.Listener(on_press=press, on_release=release)
