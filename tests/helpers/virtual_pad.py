"""A gamepad that SDL itself makes up: what it does reaches a program the way a real one's does, through SDL's own layouts."""

import ctypes
import glob
import os

import pytest

XBOX_AXES, XBOX_BUTTONS, GAMEPAD = 6, 21, 1
FULL = 32767


class VirtualPad:
    """Attached when made; skips the test where pygame does not bring an SDL that can."""

    def __init__(self):
        os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
        os.environ.setdefault("SDL_JOYSTICK_ALLOW_BACKGROUND_EVENTS", "1")
        pygame = pytest.importorskip("pygame", reason="pygame is not installed here")
        found = glob.glob(os.path.join(os.path.dirname(pygame.__file__), "..", "pygame.libs", "libSDL2-2*"))
        if not found:
            pytest.skip("this pygame does not bring an SDL of its own")
        from pygame._sdl2 import controller  # pyright: ignore[reportMissingImports]

        self._pygame, self._sdl = pygame, ctypes.CDLL(found[0])
        controller.init()
        self._sdl.SDL_JoystickOpen.restype = ctypes.c_void_p
        self.index = self._sdl.SDL_JoystickAttachVirtual(GAMEPAD, XBOX_AXES, XBOX_BUTTONS, 0)
        assert self.index >= 0
        self._joystick = ctypes.c_void_p(self._sdl.SDL_JoystickOpen(self.index))
        for trigger in ("TRIGGERLEFT", "TRIGGERRIGHT"):
            self.axis(trigger, -1.0)

    def axis(self, name, value):
        """Puts a stick in [-1, 1], or a trigger, where -1 is at rest."""
        number = getattr(self._pygame, f"CONTROLLER_AXIS_{name}")
        assert self._sdl.SDL_JoystickSetVirtualAxis(self._joystick, number, ctypes.c_int16(round(FULL * value))) == 0

    def button(self, name, held=True):
        number = getattr(self._pygame, f"CONTROLLER_BUTTON_{name}")
        assert self._sdl.SDL_JoystickSetVirtualButton(self._joystick, number, int(held)) == 0

    def detach(self):
        if self.index >= 0:
            self._sdl.SDL_JoystickDetachVirtual(self.index)
        self.index = -1
