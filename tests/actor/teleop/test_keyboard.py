"""The keyboard, by key events of a real X server without a screen."""

import os
import re
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
from displays import Keys, virtual_display
from hands import LINE, LockStep
from waiting import until

from warmloop.actor.config import ActorConfig
from warmloop.actor.environment import EnvironmentConfig
from warmloop.actor.intervention.intervention import Signal
from warmloop.actor.teleop import OperatorConfig, open_devices
from warmloop.actor.teleop import keyboard as module
from warmloop.actor.teleop.axes import MOTIONS
from warmloop.actor.teleop.keyboard import HELP, MOVES, SIGNALS, Keyboard, why_deaf
from warmloop.data.errors import WarmloopError
from warmloop.data.wire.episode_report import told

# pynput's thread says so where its display goes away.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
ENDLESS = EnvironmentConfig(LINE, {"signals": False}, horizon=10_000, success="operator")
# X's names of the keys that the tables call otherwise.
KEYSYMS = {"up": "Up", "down": "Down", "left": "Left", "right": "Right", "page_up": "Page_Up", "page_down": "Page_Down"}
KEYSYMS |= {"enter": "Return", "backspace": "BackSpace", "delete": "Delete"}


@pytest.fixture(scope="module")
def display():
    with virtual_display() as name:
        yield name


@pytest.fixture
def keys(display):
    keys = Keys(display)
    yield keys
    keys.close()


@pytest.fixture
def keyboard(display):
    keyboard = Keyboard()
    yield keyboard
    keyboard.close()


def test_a_display_that_went_away_is_a_sentence_and_nobody_waits_for_it(display, monkeypatch):
    with virtual_display() as gone:
        Keyboard().close()
    monkeypatch.setenv("DISPLAY", gone)
    with pytest.raises(WarmloopError, match="its listener does not start"):
        Keyboard()


MOVING_KEYS = [
    (motion, sign, key) for motion, sides in MOVES.items() for sign, names in zip((1, -1), sides, strict=True) for key in names.split()
]


@pytest.mark.parametrize(("motion", "sign", "key"), MOVING_KEYS)
def test_a_key_moves_as_the_table_says_for_as_long_as_it_is_held(keyboard, keys, motion, sign, key):
    wanted = np.zeros(len(MOTIONS))
    wanted[MOTIONS.index(motion)] = sign
    keys.press(KEYSYMS.get(key, key))
    try:
        until(lambda: keyboard.read().active)
        np.testing.assert_array_equal(keyboard.read().motions, wanted)
    finally:
        keys.release(KEYSYMS.get(key, key))
    until(lambda: not keyboard.read().active)
    assert not keyboard.read().motions.any()


def test_keys_add_up_and_opposite_ones_hold_still(keyboard, keys):
    for key in ("w", "a", "Right", "c"):
        keys.press(key)
    until(lambda: keyboard.read().motions[-1] == 1)
    reading = keyboard.read()
    np.testing.assert_array_equal(reading.motions, [1, 0, 0, 0, 0, 0, 1])
    assert reading.active
    for key in ("w", "a", "Right", "c"):
        keys.release(key)


@pytest.mark.parametrize(("key", "signal"), SIGNALS.items())
def test_a_word_on_the_episode_is_said_once(keyboard, keys, key, signal):
    keys.press(KEYSYMS.get(key, key))
    heard = []
    until(lambda: heard.append(keyboard.read().signal) or heard[-1])
    time.sleep(1.0)  # the X server repeats a key that is held, after two thirds of a second
    assert heard[-1] is signal and keyboard.read().signal is None
    keys.release(KEYSYMS.get(key, key))


def test_a_key_that_is_held_repeats_itself_and_yet_is_one_press(keyboard, keys):
    """The space bar takes over and hands back in turn: repeats of it would flicker, and those of an arrow would stutter."""
    keys.press("space")
    keys.press("Up")
    until(lambda: keyboard.read().motions[0] == 1)
    end, seen = time.monotonic() + 1.5, set()
    while time.monotonic() < end:
        reading = keyboard.read()
        seen.add((reading.active, float(reading.motions[0])))
    assert seen == {(True, 1.0)}
    keys.release("Up")
    keys.release("space")
    until(lambda: not keyboard.read().motions.any())
    assert keyboard.read().active
    time.sleep(0.1)  # sooner, it would be the key's own repeating
    keys.tap("space")
    until(lambda: not keyboard.read().active)


def test_presses_that_are_heard_at_once_and_late_are_told_apart_by_when_they_were(monkeypatch):
    class Display:
        """Hands over events as pynput's listener does."""

        def __init__(self, on_press, on_release):
            self.calls = {"press": on_press, "release": on_release}

        def _handle_message(self, display, event, injected):
            self.calls[event.kind](SimpleNamespace(name=event.name))

        def hear(self, *events):
            for kind, name, at in events:
                self._handle_message(None, SimpleNamespace(kind=kind, name=name, time=at), False)

        def start(self):
            """It hears what it is told."""

        wait, is_alive, stop = start, lambda self: True, start

    listener = []
    monkeypatch.setattr(module, "why_deaf", lambda environment, platform: "")
    monkeypatch.setattr(module, "_listener", lambda press, release: listener.append(module._timed(Display)(press, release)) or listener[0])
    keyboard = Keyboard()
    listener[0].hear(("press", "space", 1000), ("release", "space", 1100), ("press", "space", 1200), ("release", "space", 1300))
    assert not keyboard.read().active, "taken over and handed back"
    listener[0].hear(("press", "space", 2000), ("release", "space", 2660), ("press", "space", 2660), ("release", "space", 2700))
    assert keyboard.read().active, "one press, that repeated itself"


def test_other_keys_are_nobodys_business_and_the_other_arm_is_tabs(keyboard, keys):
    for key in ("x", "F5", "Shift_L", "1"):
        keys.tap(key)
    keys.tap("Tab")
    time.sleep(0.1)  # sooner, it would be the key's own repeating
    keys.tap("Tab")
    switched = []
    until(lambda: switched.append(keyboard.read().switches) or sum(switched) == 2)
    assert not keyboard.read().active and "x" not in keyboard._down and "1" not in keyboard._down


MODIFIERS = ["Control_L", "Control_R", "Alt_L", "Alt_R", "Super_L", "Super_R", "ISO_Level3_Shift"]


@pytest.mark.parametrize("modifier", MODIFIERS)
def test_keys_with_a_modifier_are_another_programs(keyboard, keys, modifier):
    keys.press(modifier)
    for key in ("c", "r", "Tab", "space", "Return"):
        keys.tap(key)
    keys.press("Up")
    until(lambda: keyboard._down.get("up"))
    assert keyboard.read() == (pytest.approx(np.zeros(len(MOTIONS))), False, 0, None)
    keys.release(modifier)
    time.sleep(1.0)  # the X server repeats a key that is held, after two thirds of a second
    assert not keyboard.read().active
    keys.release("Up")
    time.sleep(0.1)  # sooner, it would be the key's own repeating
    keys.press("Up")
    until(lambda: keyboard.read().motions[0] == 1)
    keys.release("Up")


def test_a_modifier_lets_go_of_what_is_held_and_shift_is_none(keyboard, keys):
    keys.press("Shift_L")
    keys.press("w")
    until(lambda: keyboard.read().motions[0] == 1)
    keys.press("Control_L")
    until(lambda: not keyboard.read().active)
    for key in ("Control_L", "w", "Shift_L"):
        keys.release(key)


def test_alt_that_shift_makes_another_key_is_let_go_of(keyboard, keys):
    """To X, Alt's key is Meta while Shift is down."""
    for key in ("Alt_L", "Shift_L"):
        keys.press(key)
    for key in ("Alt_L", "Shift_L"):
        keys.release(key)
    keys.press("w")
    until(lambda: keyboard.read().motions[0] == 1)
    keys.release("w")


def test_what_was_said_before_the_episode_does_not_count(keyboard, keys):
    keys.tap("Return")
    keys.tap("space")
    keys.press("Up")
    until(lambda: keyboard._down.get("up"))
    keyboard.clear()
    reading = keyboard.read()
    assert reading.signal is None and reading.motions[0] == 1
    keys.release("Up")
    until(lambda: not keyboard.read().active)


def test_a_person_at_the_keyboard_corrects_the_policy_and_ends_the_episode(display, keys):
    """End to end: key events, the control loop, the real client, the learner's intake."""
    operator = open_devices(["keyboard"], 2, OperatorConfig(speed=0.5))
    run = LockStep(ActorConfig(hold_episodes=True), operator, environment=ENDLESS)
    steps, rows = run.loop.steps(), []

    def some(count=1):
        for _ in range(count):
            next(steps)
        rows.extend(chunk.rows for chunk in run.intake.take(10_000))

    some(3)
    keys.press("Up")
    until(lambda: some() or run.loop._control.intervened[-1])
    some(2)
    keys.release("Up")
    until(lambda: some() or not run.loop._control.intervened[-1])
    keys.tap("Delete")
    until(lambda: some() or run.loop.at_boundary)
    (report,) = run.intake.reports()
    assert not rows and report.scalars.keys() == told(0, "discarded", 1).keys(), "nothing of it is measured"
    some(2)
    keys.press("Left")
    until(lambda: some() or run.loop._control.intervened[-1])
    keys.tap("Return")
    until(lambda: some() or run.loop.at_boundary)
    keys.release("Left")
    (rows,), (report,) = run.split(rows), run.intake.reports()
    assert rows.intervened.any() and not rows.intervened.all()
    assert (rows.action[rows.intervened] == [0.0, 0.5]).all()
    assert rows.mask[-1] == 0 and rows.reward[-1] == 1 and report.scalars["actor/success_rate"] == 1
    assert report.scalars["actor/intervention_rate"] == pytest.approx(rows.intervened.mean())
    operator.close()


def test_reading_it_takes_microseconds(keyboard, keys):
    keys.press("Up")
    until(lambda: keyboard.read().active)
    began = time.thread_time()  # what else a busy machine does is not its cost
    for _ in range(2000):
        keyboard.read()
    each = (time.thread_time() - began) / 2000
    keys.release("Up")
    print(f"\na reading of the keyboard: {each * 1e6:.1f} µs")
    assert each < 500e-6


@pytest.mark.long
@pytest.mark.parametrize(
    ("hidden", "says"), [("", "found no display.*set DISPLAY"), ("pynput", r"needs pynput \(.*pip install 'warmloop\[teleop\]'")]
)
def test_without_a_display_or_the_package_there_is_a_sentence(hidden, says):
    if not hidden:
        pytest.importorskip("Xlib", reason="pynput is not installed here (python-xlib, on Linux alone)")
    program = f"import sys\nif {hidden!r}: sys.modules[{hidden!r}] = None\nfrom warmloop.actor.teleop.keyboard import Keyboard\nKeyboard()"
    environment = {name: value for name, value in os.environ.items() if name != "DISPLAY"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 1 and re.search(says, done.stderr), done.stderr


def test_a_display_that_goes_away_stops_the_actor_and_does_not_leave_the_policy_alone():
    with virtual_display():
        keyboard = Keyboard()
    with pytest.raises(WarmloopError, match="not heard any more"):
        until(lambda: keyboard.read() and False)


def test_the_help_names_every_word():
    for signal in Signal:
        assert {"rerecord": "record again"}.get(signal.value, signal.value) in HELP


@pytest.mark.parametrize(
    ("environment", "platform", "deaf"),
    [
        ({"XDG_SESSION_TYPE": "wayland", "DISPLAY": ":0"}, "linux", True),
        ({"WAYLAND_DISPLAY": "wayland-0", "DISPLAY": ":0"}, "linux", True),
        ({"XDG_SESSION_TYPE": "wayland", "PYNPUT_BACKEND_KEYBOARD": "uinput"}, "linux", False),
        ({"XDG_SESSION_TYPE": "x11", "DISPLAY": ":0"}, "linux", False),
        ({"XDG_SESSION_TYPE": "tty", "DISPLAY": "localhost:10.0"}, "linux", False),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "darwin", False),
    ],
)
def test_a_session_in_which_no_key_would_be_heard_is_known_before_the_first_episode(environment, platform, deaf):
    said = why_deaf(environment, platform)
    assert bool(said) == deaf and (not deaf or "Wayland" in said)


def test_under_wayland_the_sentence_names_the_terminal(monkeypatch):
    monkeypatch.setenv("XDG_SESSION_TYPE", "wayland")
    with pytest.raises(WarmloopError, match=r"Wayland session.*--intervention=terminal"):
        Keyboard()


def test_a_listener_that_macos_does_not_trust_is_an_error(monkeypatch):
    class Untrusted(threading.Thread):
        IS_TRUSTED = False

        def __init__(self):
            super().__init__(daemon=True)
            self.over = threading.Event()

        def run(self):
            self.over.wait()

        def wait(self):
            """It is ready at once."""

        def stop(self):
            self.over.set()

    listener = Untrusted()
    monkeypatch.setattr("warmloop.actor.teleop.keyboard._listener", lambda press, release: listener)
    with pytest.raises(WarmloopError, match=r"macOS does not let this program listen.*Input Monitoring.*--intervention=terminal"):
        Keyboard()
    assert listener.over.is_set()
