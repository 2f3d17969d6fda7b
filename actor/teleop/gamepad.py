"""A gamepad, read by SDL (pygame), which knows the layouts of most of them; no window is needed."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

from ...data.errors import WarmloopError
from ...data.running.threads import vital_thread
from ..intervention.intervention import Signal
from .axes import MOTIONS
from .operator import Reading, Said

POLL_SECONDS = 0.004
START_SECONDS = 10.0
FULL = 32767.0  # of an axis
DEADZONE = 0.1  # of a stick, in which it rests

# By SDL's names of them, which are the same on every pad.
STICKS = {"LEFTY": ("x", -1.0), "LEFTX": ("y", -1.0), "RIGHTY": ("z", -1.0), "RIGHTX": ("yaw", -1.0)}
TRIGGERS = {"TRIGGERLEFT": ("gripper", 1.0), "TRIGGERRIGHT": ("gripper", -1.0)}
TURNS = {"DPAD_UP": ("pitch", 1.0), "DPAD_DOWN": ("pitch", -1.0), "DPAD_RIGHT": ("roll", 1.0), "DPAD_LEFT": ("roll", -1.0)}
SIGNALS = {"Y": Signal.SUCCESS, "A": Signal.FAILURE, "B": Signal.DISCARD, "X": Signal.RERECORD}
TAKE_OVER, OTHER_ARM = "RIGHTSHOULDER", "LEFTSHOULDER"
HELP = """\
hold RB (R1) to act        left stick: forward, back, left, right     right stick: up, down, yaw     d-pad: pitch, roll
left trigger closes the gripper, right trigger opens it               LB (L1): other arm
success Y (triangle), failure A (cross), discard B (circle), record again X (square)"""


class Gamepad:
    """Acts while the right shoulder button is held.

    Raises:
        WarmloopError: pygame is not installed, no gamepad is connected, or it is one that SDL has no layout of.
    """

    def __init__(self):
        self._motions, self._active, self._failure = np.zeros(len(MOTIONS)), False, ""
        self._said = Said(SIGNALS)
        self._ready, self._stop = threading.Event(), threading.Event()
        self._thread = vital_thread(self._run, "gamepad", "reads the gamepad", self._died)
        self._thread.start()
        if not self._ready.wait(START_SECONDS):
            self._failure = self._failure or f"The gamepad did not answer within {START_SECONDS:.0f} s."
        if self._failure:
            raise WarmloopError(self._failure)

    def clear(self) -> None:
        self._said.clear()

    def read(self) -> Reading:
        if self._failure:
            raise WarmloopError(self._failure)
        buttons, signal = self._said.take()
        return Reading(self._motions, self._active, buttons.count(OTHER_ARM), signal)

    def close(self) -> None:
        self._stop.set()
        self._thread.join(START_SECONDS)

    def _run(self) -> None:
        """The thread: SDL wants all that concerns a device from one and the same."""
        try:
            with _opened() as pad:
                while not self._stop.is_set():
                    pad.look()
                    self._motions, self._active = pad.motions(), pad.held(TAKE_OVER)
                    self._said.add(pad.pressed())
                    self._ready.set()
                    self._stop.wait(POLL_SECONDS)
        except WarmloopError as error:
            self._failure = str(error)
            self._ready.set()

    def _died(self, name: str, error: BaseException) -> None:
        self._failure = f"The thread that reads the gamepad broke: {error!r}."  # else the last motion would go on for ever
        self._ready.set()


class _Pad:
    """SDL's first gamepad, by SDL's names."""

    def __init__(self, pygame: Any, controller: Any, opened: Any):
        self._controller, self._pad = controller, opened
        self._axes = {name: getattr(pygame, f"CONTROLLER_AXIS_{name}") for name in STICKS | TRIGGERS}
        self._buttons = {name: getattr(pygame, f"CONTROLLER_BUTTON_{name}") for name in [*TURNS, *SIGNALS, TAKE_OVER, OTHER_ARM]}
        self._before = dict.fromkeys((*SIGNALS, OTHER_ARM), True)  # what is held from the start was not pressed now

    def look(self) -> None:
        """Takes the device's state in."""
        self._controller.update()
        if not self._pad.attached():
            raise WarmloopError("The gamepad is gone; connect it and start again.")

    def held(self, button: str) -> bool:
        return bool(self._pad.get_button(self._buttons[button]))

    def pressed(self) -> list[str]:
        """The buttons that say something and were not held when this was last asked."""
        now = {name: self.held(name) for name in self._before}
        fresh = [name for name, held in now.items() if held and not self._before[name]]
        self._before = now
        return fresh

    def motions(self) -> np.ndarray:
        """As `Reading` has them."""
        motions = np.zeros(len(MOTIONS))
        for names, value in ((STICKS, self._stick), (TRIGGERS, self._trigger), (TURNS, self.held)):
            for name, (motion, sign) in names.items():
                motions[MOTIONS.index(motion)] += sign * value(name)
        return motions

    def _stick(self, name: str) -> float:
        """Its place without the deadzone, 0 at whose edge."""
        place = np.clip(self._pad.get_axis(self._axes[name]) / FULL, -1.0, 1.0)
        return float(np.sign(place) * max(0.0, abs(place) - DEADZONE) / (1.0 - DEADZONE))

    def _trigger(self, name: str) -> bool:
        return self._pad.get_axis(self._axes[name]) > FULL / 2


@contextlib.contextmanager
def _opened() -> Iterator[_Pad]:
    """The first gamepad. SDL reads these variables when it starts: without a window it hears a pad only so, and it leaves signals be."""
    for name in ("SDL_JOYSTICK_ALLOW_BACKGROUND_EVENTS", "SDL_NO_SIGNAL_HANDLERS", "PYGAME_HIDE_SUPPORT_PROMPT"):
        os.environ.setdefault(name, "1")
    try:
        import pygame  # pyright: ignore[reportMissingImports]
        from pygame._sdl2 import controller  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise WarmloopError(f"A gamepad needs pygame ({error}); run `pip install 'warmloop[teleop]'`.") from error
    controller.init()
    try:
        found = [number for number in range(controller.get_count()) if controller.is_controller(number)]
        if not found:
            others = f"; SDL has no layout for the {controller.get_count()} joysticks there are" if controller.get_count() else ""
            raise WarmloopError(f"No gamepad is connected{others}. Under Linux the user must be allowed to read /dev/input/event*.")
        pad = controller.Controller(found[0])
        try:
            yield _Pad(pygame, controller, pad)
        finally:
            pad.quit()
    finally:
        controller.quit()
