"""The 3-D mouse, by the bytes of its reports; there is no such device here."""

import socket
import struct
import sys

import numpy as np
import pytest
from waiting import until

from warmloop.actor.intervention.intervention import Signal
from warmloop.actor.teleop.spacemouse import SpaceMouse, State, is_mouse
from warmloop.data.errors import WarmloopError


def report(number, *axes):
    return bytes([number]) + struct.pack(f"<{len(axes)}h", *axes)


@pytest.mark.parametrize("reports", [[report(1, 350, -350, 175, 0, 350, -35)], [report(1, 350, -350, 175), report(2, 0, 350, -35)]])
def test_one_long_report_and_two_short_ones_say_the_same(reports):
    state = State()
    for given in reports:
        state = state.after(given)
    assert state.translation == (350, -350, 175) and state.rotation == (0, 350, -35)
    # The device's x is right, y towards the person, z down; the robot's x is forward, y left, z up.
    half, little = (0.5 - 0.05) / 0.95, (0.1 - 0.05) / 0.95
    np.testing.assert_allclose(state.motions(), [1, -1, -half, -1, 0, little, 0])


def test_a_short_report_leaves_the_turns_as_they_were():
    state = State().after(report(2, 0, 0, 350)).after(report(1, 350, 0, 0))
    assert state.rotation == (0, 0, 350) and state.translation == (350, 0, 0)


def test_a_cap_at_rest_within_its_deadzone_does_nothing_and_one_beyond_its_reach_is_at_one():
    assert not State().after(report(1, 17, -17, 17, 17, -17, 17)).motions().any()
    assert State().after(report(1, 0, -500, 0)).motions()[0] == 1.0


def test_buttons_are_bits_and_move_the_gripper():
    state = State().after(b"\x03\x02\x10\x00\x00")
    assert state.buttons == {1, 12} and state.motions()[-1] == -1
    assert State().after(b"\x03\x01").motions()[-1] == 1 and State().after(b"\x03\x03").motions()[-1] == 0


@pytest.mark.parametrize("given", [b"", b"\x01", b"\x01\x00\x01", b"\x07" + bytes(12), b"\x17\x01"])
def test_other_reports_say_nothing(given):
    before = State((1, 2, 3), (4, 5, 6), frozenset([1]))
    assert before.after(given) == before


@pytest.fixture
def piped():
    """A 3-D mouse that reads a socket in the place of a device, and what writes one report to it."""
    out, into = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)  # which, unlike a pipe, keeps reports apart
    mouse = SpaceMouse(lambda: out.recv(64), out.close)
    yield mouse, into.send
    mouse._stop.set()
    into.send(b"\x00")
    mouse.close()
    into.close()


def test_its_thread_keeps_what_was_said_last_and_every_button_that_was_pressed(piped):
    mouse, say = piped
    assert not mouse.read().active
    say(report(1, 0, -350, 0))
    until(lambda: mouse.read().active)
    assert mouse.read().motions[0] == 1
    say(b"\x03" + (1 << 12).to_bytes(4, "little"))
    until(lambda: mouse._said)
    say(bytes([3, 0, 0, 0, 0]))
    assert mouse.read().signal is Signal.SUCCESS and mouse.read().signal is None
    say(report(1, 0, 0, 0))
    until(lambda: not mouse.read().active)


def test_a_device_that_is_gone_stops_the_actor():
    def read():
        raise OSError("read error")

    mouse = SpaceMouse(read)
    with pytest.raises(WarmloopError, match=r"The 3-D mouse is gone \(read error\)"):
        until(lambda: mouse.read() and False)
    mouse.close()


@pytest.mark.parametrize(
    ("entry", "ours"),
    [
        ({"vendor_id": 0x256F, "product_id": 0xC635, "usage_page": 1, "usage": 8}, True),
        ({"vendor_id": 0x256F, "product_id": 0xC652, "usage_page": 1, "usage": 6}, False),  # a receiver's keyboard
        ({"vendor_id": 0x256F, "product_id": 0xC635, "usage_page": 0, "usage": 0}, True),  # libusb does not know
        ({"vendor_id": 0x046D, "product_id": 0xC62B, "usage_page": 1, "usage": 8}, True),
        ({"vendor_id": 0x046D, "product_id": 0xC52B, "usage_page": 0, "usage": 0}, False),  # Logitech's mice and keyboards
        ({"vendor_id": 0x1234, "product_id": 0xC62B, "usage_page": 1, "usage": 8}, False),
    ],
)
def test_which_devices_are_3_d_mice(entry, ours):
    assert is_mouse(entry) is ours


def test_without_a_device_or_the_package_there_is_a_sentence(monkeypatch):
    hid = pytest.importorskip("hid", reason="hidapi is not installed here")
    if not any(map(is_mouse, hid.enumerate())):
        with pytest.raises(WarmloopError, match="No 3-D mouse is connected"):
            SpaceMouse()
    monkeypatch.setitem(sys.modules, "hid", None)
    with pytest.raises(WarmloopError, match=r"needs hidapi \(.*pip install 'warmloop\[teleop\]'"):
        SpaceMouse()
