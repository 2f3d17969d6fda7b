"""The keyboard, listened to by pynput: whichever window has the focus."""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...data.errors import WarmloopError
from ..intervention.intervention import Signal
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

INSTEAD = "Or type into this terminal, by --intervention=terminal."
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
        self._released: dict[str, float] = {}  # when that was heard
        self._released_at: dict[str, float] = {}  # and when it happened
        self._modifiers, self._meant = set[str](), set[str]()
        self._said = Said(SIGNALS)
        self._keeps = False
        if deaf := why_deaf(os.environ, sys.platform):
            raise WarmloopError(f"The keyboard cannot be heard: {deaf}. {INSTEAD}")
        self._listener = _listener(self._press, self._release)
        self._listener.start()
        if not _hears(self._listener):  # and it is not stopped, for which pynput would wait until it is ready
            raise WarmloopError(
                f"The keyboard cannot be heard: its listener does not start. See that this session has a display of its own. {INSTEAD}"
            )
        if not getattr(self._listener, "IS_TRUSTED", True):  # on macOS, which otherwise lets it hear nothing, silently
            self._listener.stop()
            raise WarmloopError(
                "The keyboard cannot be heard: macOS does not let this program listen. Allow the terminal application in System Settings > "
                f"Privacy & Security, under both Accessibility and Input Monitoring, and start it anew. {INSTEAD}"
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
        repeated = self._down.get(name) or 0.0 <= self._happened() - self._released_at.get(name, -math.inf) < REPEAT_SECONDS
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
            self._released[name], self._released_at[name] = time.monotonic(), self._happened()
            self._down[name] = False

    def _happened(self) -> float:
        """When the event that is being handled happened, in seconds of the display's clock where that is known."""
        return getattr(self._listener, "happened", None) or time.monotonic()


def why_deaf(environment: Mapping[str, str], platform: str) -> str:
    """Why a listener that starts would hear nothing in a session with these environment variables; "" where nothing speaks for that.

    Under Wayland, pynput's listener is told of keys only while a window of X has the focus.
    """
    if not platform.startswith("linux") or environment.get("PYNPUT_BACKEND_KEYBOARD", environment.get("PYNPUT_BACKEND")) == "uinput":
        return ""
    if environment.get("WAYLAND_DISPLAY") or environment.get("XDG_SESSION_TYPE") == "wayland":
        return "this is a Wayland session, which lets no program listen to another's keys; log in to a session of X11 (Xorg)"
    return ""


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
        raise WarmloopError(f"The keyboard needs pynput ({error}); run `pip install 'warmloop[teleop]'`.") from error
    except Exception as error:  # its backend asks for the display when it is imported
        raise WarmloopError(
            f"The keyboard cannot be heard: pynput found no display ({' '.join(str(error).split())}). Run this in a desktop session, or "
            f"set DISPLAY. {INSTEAD}"
        ) from error
    made = _timed(keyboard.Listener) if keyboard.Listener.__module__.endswith("_xorg") else keyboard.Listener
    return made(on_press=press, on_release=release)


def _timed(listener: Any) -> Any:
    """A listener of X that says when events happened: on a busy machine it hears several at once, and late."""

    class Timed(listener):
        happened: float | None = None

        def _handle_message(self, display: Any, event: Any, *more: Any) -> None:
            self.happened = event.time / 1000.0
            super()._handle_message(display, event, *more)

    return Timed
