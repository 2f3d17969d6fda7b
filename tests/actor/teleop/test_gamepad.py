"""The gamepad, by a virtual one of SDL's."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hands import LockStep
from virtual_pad import VirtualPad
from waiting import until

from warmloop.actor.intervention.intervention import Signal
from warmloop.actor.teleop import OperatorConfig, open_devices
from warmloop.actor.teleop.axes import MOTIONS
from warmloop.actor.teleop.gamepad import SIGNALS, Gamepad
from warmloop.data.errors import WarmloopError


@pytest.fixture
def pad():
    pad = VirtualPad()
    yield pad
    pad.detach()


@pytest.fixture
def gamepad(pad):
    gamepad = Gamepad()
    yield gamepad
    gamepad.close()


def test_a_pad_at_rest_does_nothing(gamepad):
    reading = gamepad.read()
    assert not reading.motions.any() and not reading.active and reading.signal is None and reading.switches == 0


@pytest.mark.parametrize(
    ("name", "value", "motion", "sign"),
    [
        ("LEFTY", -1.0, "x", 1),
        ("LEFTY", 1.0, "x", -1),
        ("LEFTX", -1.0, "y", 1),
        ("RIGHTY", -1.0, "z", 1),
        ("RIGHTX", -1.0, "yaw", 1),
        ("TRIGGERLEFT", 1.0, "gripper", 1),
        ("TRIGGERRIGHT", 1.0, "gripper", -1),
    ],
)
def test_sticks_and_triggers_move_as_the_table_says(pad, gamepad, name, value, motion, sign):
    pad.axis(name, value)
    until(lambda: gamepad.read().motions.any())
    wanted = np.zeros(len(MOTIONS))
    wanted[MOTIONS.index(motion)] = sign
    np.testing.assert_allclose(gamepad.read().motions, wanted, atol=1e-3)
    assert not gamepad.read().active  # the shoulder button is not held


def test_a_stick_moves_in_proportion_beyond_its_deadzone(pad, gamepad):
    pad.axis("LEFTY", -0.09)
    pad.axis("LEFTX", -0.55)
    until(lambda: gamepad.read().motions[1])
    np.testing.assert_allclose(gamepad.read().motions[:2], [0.0, 0.5], atol=1e-3)


@pytest.mark.parametrize(("button", "motion", "sign"), [("DPAD_UP", "pitch", 1), ("DPAD_LEFT", "roll", -1)])
def test_the_d_pad_turns(pad, gamepad, button, motion, sign):
    pad.button(button)
    until(lambda: gamepad.read().motions[MOTIONS.index(motion)] == sign)


def test_it_acts_while_the_shoulder_button_is_held(pad, gamepad):
    pad.button("RIGHTSHOULDER")
    until(lambda: gamepad.read().active)
    pad.button("RIGHTSHOULDER", False)
    until(lambda: not gamepad.read().active)


@pytest.mark.parametrize(("button", "word"), SIGNALS.items())
def test_a_word_on_the_episode_is_said_once_however_long_the_button_is_held(pad, gamepad, button, word):
    pad.button(button)
    heard = []
    until(lambda: heard.append(gamepad.read().signal) or heard[-1])
    time.sleep(0.1)
    assert heard[-1] is word and gamepad.read().signal is None
    pad.button(button, False)
    for place in (-1.0, 0.0):  # once its thread has looked twice, it has seen the release
        pad.axis("LEFTX", place)
        until(lambda place=place: bool(gamepad.read().motions[1]) == bool(place))
    pad.button(button)
    until(lambda: gamepad.read().signal is word)


def test_what_was_said_before_the_episode_does_not_count(pad, gamepad):
    pad.button("Y")
    until(lambda: gamepad._said)
    gamepad.clear()
    assert gamepad.read().signal is None


def test_a_pad_that_is_unplugged_stops_the_actor(pad, gamepad):
    pad.detach()
    with pytest.raises(WarmloopError, match="The gamepad is gone"):
        until(lambda: gamepad.read() and False)


def test_a_person_at_the_pad_corrects_the_policy_and_ends_the_episode(pad):
    operator = open_devices(["gamepad"], 2, OperatorConfig())
    run = LockStep(intervener=operator)
    steps = run.loop.steps()
    next(steps)
    pad.axis("LEFTY", -1.0)
    pad.button("RIGHTSHOULDER")
    until(lambda: operator._devices[0].read().active)
    next(steps)
    next(steps)
    pad.button("A")
    until(lambda: operator._devices[0]._device._said)
    next(steps)
    assert run.loop.at_boundary
    (rows,), (report,) = run.split([chunk.rows for chunk in run.intake.take(100)]), run.intake.reports()
    assert rows.intervened.tolist() == [False, True, True, True]
    np.testing.assert_allclose(rows.action[1:], [[1, 0]] * 3, atol=1e-3)
    assert rows.mask[-1] == 0 and rows.reward[-1] == 0 and report.scalars["actor/interventions"] == 1
    operator.close()


def test_reading_it_takes_microseconds(gamepad):
    began = time.thread_time()  # what else a busy machine does is not its cost
    for _ in range(2000):
        gamepad.read()
    each = (time.thread_time() - began) / 2000
    print(f"\na reading of the gamepad: {each * 1e6:.1f} µs")
    assert each < 200e-6


def fails(program):
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    return done.stderr


@pytest.mark.long
def test_without_a_pad_or_the_package_there_is_a_sentence():
    made = "from warmloop.actor.teleop.gamepad import Gamepad\nGamepad()"
    assert re.search(r"needs pygame \(.*pip install 'warmloop\[teleop\]'", fails(f"import sys\nsys.modules['pygame'] = None\n{made}"))
    pytest.importorskip("pygame", reason="pygame is not installed here")
    assert "No gamepad is connected. Under Linux" in fails(made)


@pytest.mark.long
def test_a_program_with_a_gamepad_still_ends_at_sigterm():
    pytest.importorskip("pygame", reason="pygame is not installed here")
    program = """
import sys, time
sys.path.append("tests/helpers")
from virtual_pad import VirtualPad
pad = VirtualPad()
from warmloop.actor.teleop.gamepad import Gamepad
gamepad = Gamepad()
print("ready", flush=True)
time.sleep(60)
"""
    root = Path(__file__).resolve().parents[3]
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=root) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        process.terminate()
        assert process.wait(60) == -signal.SIGTERM


def test_every_word_has_a_button():
    assert set(SIGNALS.values()) == set(Signal)
