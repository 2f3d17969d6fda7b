"""A display without a screen, whose keys a test can press."""

import contextlib
import os
import shutil
import subprocess

import pytest


@contextlib.contextmanager
def virtual_display():
    """Starts Xvfb on a display of its own and sets DISPLAY to it within the block; skips the test where that cannot be."""
    for package in ("pynput", "Xlib"):
        if not _installed(package):
            pytest.skip(f"{package} is not installed here")
    if not shutil.which("Xvfb"):
        pytest.skip("Xvfb is not installed here")
    ends = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(ends[1]), "-screen", "0", "64x64x24", "-nolisten", "tcp", "-noreset"],
        pass_fds=[ends[1]],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(ends[1])
    before = os.environ.get("DISPLAY")
    try:
        with os.fdopen(ends[0]) as said:
            number = said.readline().strip()
        if not number:
            pytest.skip("Xvfb does not start here")
        os.environ["DISPLAY"] = f":{number}"
        yield f":{number}"
    finally:
        os.environ.pop("DISPLAY", None)
        if before is not None:
            os.environ["DISPLAY"] = before
        server.terminate()
        server.wait(10)


class Keys:
    """Fingers on the keyboard of a display: XTest's events are those of a real one to whoever listens."""

    def __init__(self, display):
        from Xlib.display import Display  # pyright: ignore[reportMissingImports]

        self._display = Display(display)

    def press(self, name):
        self._send(2, name)

    def release(self, name):
        self._send(3, name)

    def tap(self, name):
        self.press(name)
        self.release(name)

    def close(self):
        self._display.close()

    def _send(self, kind, name):
        from Xlib import XK  # pyright: ignore[reportMissingImports]
        from Xlib.ext import xtest  # pyright: ignore[reportMissingImports]

        code = self._display.keysym_to_keycode(XK.string_to_keysym(name))
        assert code, name
        xtest.fake_input(self._display, kind, code)
        self._display.sync()


def _installed(package):
    import importlib.util

    return importlib.util.find_spec(package) is not None
