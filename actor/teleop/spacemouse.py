"""A 3-D mouse of 3Dconnexion's, read as a HID device (hidapi): no driver of theirs is needed.

    report 1    x, y, z as int16, little endian; in newer devices the turns about them follow in the same one
    report 2    the turns about x, y, z
    report 3    the buttons, one bit each

x is to the right, y towards the person, z down; the cap's full reach is about 350.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ...data.errors import WarmloopError
from ...data.running.threads import vital_thread
from ..intervention.intervention import Signal
from .operator import Reading, Said

CONNEXION, LOGITECH = 0x256F, 0x046D
LOGITECHS = range(0xC603, 0xC62C)  # 3-D mice among Logitech's products
MULTI_AXIS = (1, 8)  # HID's usage page and usage
FULL, DEADZONE = 350.0, 0.05
REPORT_BYTES, WAIT_MILLISECONDS = 64, 100
TO_ROBOT = np.array([[0, -1, 0], [-1, 0, 0], [0, 0, -1]], np.float64)  # forward, left, up

CLOSE, OPEN = 0, 1  # the two of a small one; Menu and Fit of a large one
SIGNALS = {12: Signal.SUCCESS, 13: Signal.FAILURE, 14: Signal.DISCARD, 15: Signal.RERECORD}
OTHER_ARM = 26
HELP = """\
the cap moves and turns, and takes over while it is moved
left button (Menu) closes the gripper, right button (Fit) opens it
keys 1 to 4 of a large one: success, failure, discard, record again; rotation lock: other arm
a small one lacks these keys: add a keyboard, as in spacemouse+keyboard"""


class SpaceMouse:
    """Acts while the cap is moved or a gripper's button is held.

    Args:
        read: gives the next report, b"" after a while without one; raises OSError where the device is gone. The first one found by
            default.

    Raises:
        WarmloopError: hidapi is not installed, no device is connected, or this user may not read it.
    """

    def __init__(self, read: Callable[[], bytes] | None = None, close: Callable[[], None] = lambda: None):
        if read is None:
            read, close = _opened()
        self._read, self._close_device, self._failure = read, close, ""
        self._state, self._said = State(), Said(SIGNALS)
        self._stop = threading.Event()
        self._thread = vital_thread(self._run, "spacemouse", "reads the 3-D mouse", self._died)
        self._thread.start()

    def clear(self) -> None:
        self._said.clear()

    def read(self) -> Reading:
        if self._failure:
            raise WarmloopError(self._failure)
        buttons, signal = self._said.take()
        motions = self._state.motions()
        return Reading(motions, bool(motions.any()), buttons.count(OTHER_ARM), signal)

    def close(self) -> None:
        self._stop.set()
        self._thread.join(10 * WAIT_MILLISECONDS / 1000)
        self._close_device()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                report = self._read()
            except (OSError, ValueError) as error:
                self._failure = f"The 3-D mouse is gone ({error}); connect it and start again."
                return
            state = self._state.after(report)
            self._said.add(sorted(state.buttons - self._state.buttons))
            self._state = state

    def _died(self, name: str, error: BaseException) -> None:
        self._failure = f"The thread that reads the 3-D mouse broke: {error!r}."  # else the last motion would go on for ever


class State(NamedTuple):
    """What a 3-D mouse has said last.

    Attributes:
        translation, rotation: along and about x, y, z, as in the reports.
        buttons: the numbers of those that are held.
    """

    translation: tuple[int, ...] = (0, 0, 0)
    rotation: tuple[int, ...] = (0, 0, 0)
    buttons: frozenset[int] = frozenset()

    def after(self, report: bytes) -> State:
        """The state after one more report; of another kind, or a length that is none of its own, it says nothing."""
        number, body = report[:1], report[1:]
        axes = struct.unpack(f"<{len(body) // 2}h", body[: len(body) // 2 * 2])
        if number == b"\x01" and len(axes) >= 6:
            return self._replace(translation=axes[:3], rotation=axes[3:6])
        if number == b"\x01" and len(axes) >= 3:
            return self._replace(translation=axes[:3])
        if number == b"\x02" and len(axes) >= 3:
            return self._replace(rotation=axes[:3])
        if number == b"\x03":
            held = int.from_bytes(body, "little")
            return self._replace(buttons=frozenset(bit for bit in range(8 * len(body)) if held >> bit & 1))
        return self

    def motions(self) -> np.ndarray:
        """As `Reading` has them."""
        turned = np.concatenate([TO_ROBOT @ np.array(part) for part in (self.translation, self.rotation)])
        place = np.clip(turned / FULL, -1.0, 1.0)
        outside = np.sign(place) * np.maximum(0.0, np.abs(place) - DEADZONE) / (1.0 - DEADZONE)
        return np.append(outside, float(CLOSE in self.buttons) - float(OPEN in self.buttons))


def _opened() -> tuple[Callable[[], bytes], Callable[[], None]]:
    try:
        import hid  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise WarmloopError(f"A 3-D mouse needs hidapi ({error}); run `pip install 'warmloop[teleop]'`.") from error
    found = [entry["path"] for entry in hid.enumerate() if is_mouse(entry)]
    if not found:
        raise WarmloopError("No 3-D mouse is connected. Under Linux the user must also be allowed to read /dev/hidraw*, by a udev rule.")
    device = hid.device()
    try:
        device.open_path(found[0])
    except OSError as error:
        raise WarmloopError(
            f"The 3-D mouse at {found[0].decode(errors='replace')} cannot be opened ({error}); allow this user to read it, under Linux by "
            "a udev rule, and close what else uses it, such as its maker's driver."
        ) from error
    return lambda: bytes(device.read(REPORT_BYTES, WAIT_MILLISECONDS)), device.close


def is_mouse(entry: Mapping[str, Any]) -> bool:
    """Whether a device, as hidapi lists it, is a 3-D mouse; some back-ends do not know what a device is for."""
    usage = (entry.get("usage_page", 0), entry.get("usage", 0))
    ours = entry["vendor_id"] == CONNEXION or (entry["vendor_id"] == LOGITECH and entry["product_id"] in LOGITECHS)
    return ours and usage in (MULTI_AXIS, (0, 0))
