"""`warmloop limits`: an arm that a hand moves, and the settings that come of it, by real processes."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from warmloop.configs import load
from warmloop.configs.lerobot import SO_ARM
from warmloop.data.errors import WarmloopError
from warmloop.launch.parts.arm_limits import ArmLimits

HELPERS = Path(__file__).resolve().parents[1] / "helpers"
ROBOT = "--robot=plain_robot:PlainRobotMovedByHand"
LINE = [sys.executable, "-m", "warmloop.launch.find_limits"]
ARM = """<mujoco><worldbody><body><joint name="lift" axis="0 1 1"/><geom size="0.01"/><site name="gripperframe" pos="0.2 0 0"/></body>
</worldbody></mujoco>"""
SO101 = ("so101_follower", "/dev/ttyACM0", "black", "")


def environment():
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, (str(HELPERS), os.environ.get("PYTHONPATH"))))}


def run(*arguments, typed="", cwd=None):
    return subprocess.run([*LINE, *arguments], env=environment(), input=typed, capture_output=True, text=True, timeout=200, cwd=cwd)


def numbers(said, name):
    found = re.search(rf"^{name} = \((.*)\)$", said, re.MULTILINE)
    assert found is not None, said
    return [float(number) for number in found[1].split(",")]


@pytest.mark.long
def test_limits_of_joints_and_tool_are_printed_for_an_arm_without_a_preset(tmp_path):
    (tmp_path / "arm.xml").write_text(ARM)
    done = run(ROBOT, "--yes", "--seconds=4", f"--model={tmp_path / 'arm.xml'}", "--start")
    assert done.returncode == 0, done.stderr
    limits = np.array([numbers(done.stdout, name) for name in ("low", "start", "high")])
    np.testing.assert_allclose(limits[::2], [[-57.0, 5.0], [42.0, 95.0]], atol=1.5)
    assert (np.diff(limits, axis=0) >= 0).all()
    angles = np.radians(np.linspace(-60.0, 45.0, 200))  # by Rodrigues' formula about (0, 1, 1)
    places = 0.2 * np.stack([np.cos(angles), np.sin(angles) / 2**0.5, -np.sin(angles) / 2**0.5])
    box = np.array([numbers(done.stdout, f"workspace_{name}") for name in ("low", "high")])
    np.testing.assert_allclose(box, [places.min(axis=1) + 0.01, places.max(axis=1) - 0.01], atol=4e-3)
    assert '--config.environment.kwargs.low="(' in done.stdout and "The torque of" not in done.stdout


@pytest.mark.long
def test_the_torque_goes_off_only_after_enter_and_nothing_is_written_without_it(tmp_path):
    done = run(ROBOT)
    assert done.returncode == 2 and done.stdout.startswith("The torque of plain_robot:PlainRobotMovedByHand goes off: hold the arm")
    assert done.stderr == "error: Nobody typed Enter, so the torque was left as it is; give --yes where there is no keyboard.\n"
    done = run(ROBOT, "--out=arm.py", cwd=tmp_path)
    assert (
        done.returncode == 2 and "--out is for robots that configs/lerobot.py knows" in done.stderr and not (tmp_path / "arm.py").exists()
    )


@pytest.mark.long
@pytest.mark.parametrize("end", ["Enter", "Ctrl-C"])
def test_a_terminal_shows_a_table_until_enter_or_ctrl_c(end):
    ours, theirs = pty.openpty()
    with subprocess.Popen([*LINE, ROBOT], env=environment() | {"TERM": "xterm"}, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        said, typed = b"", 0
        until = time.monotonic() + 200
        while process.poll() is None and time.monotonic() < until:
            if not select.select([ours], [], [], 0.05)[0]:
                continue
            try:
                said += os.read(ours, 4096)
            except OSError:  # its end was closed
                break
            if typed == 0 and b"Enter goes on" in said:
                typed = 1
                os.write(ours, b"\n")
            if typed == 1 and said.count(b"lift.pos") > 15:
                typed = 2
                os.write(ours, b"\n") if end == "Enter" else process.send_signal(signal.SIGINT)
        process.kill()
    os.close(ours)
    text = said.decode(errors="replace")
    assert process.returncode == 0, text[-2000:]
    assert "lowest" in text and "low = (" in text.replace("\r", "")


def swept(**options):
    """Limits of an SO-101 whose joints were moved by 40 to each side, the roll not at all."""
    found = ArmLimits(SO_ARM.joints, SO101, options.pop("model", ""), "gripperframe")
    for number in np.repeat(np.linspace(-40.0, 40.0, 81), 3):
        found.see(np.array([number, number - 20.0, number + 10.0, number + 30.0, 0.0, number + 50.0]))
    return found


def test_a_file_of_limits_is_a_configuration_of_the_preset(tmp_path, capsys):
    found = swept()
    settings = found.settings(3.0, 0.01, with_start=False)
    (tmp_path / "arm.py").write_text(found.file(settings))
    kwargs = dict(load(str(tmp_path / "arm.py")).environment.kwargs)
    assert tuple(kwargs["low"]) == (-37.0, -57.0, -27.0, -7.0, -150.0, 13.0) and tuple(kwargs["high"])[4] == 150.0
    assert (kwargs["port"], kwargs["robot_id"], kwargs["calibration_dir"]) == ("/dev/ttyACM0", "black", "")
    said = capsys.readouterr().out
    assert "# wrist_roll.pos moved by less than 11, which is two margins and 5: the preset's limits stay." in said
    assert tuple(kwargs["start"]) == (0.0, -45.0, 45.0, 60.0, 0.0, 13.0), "the gripper's 10 is beyond its limit now"
    assert "# The start of gripper.pos was beyond the limits" in said
    assert found.settings(3.0, 0.01, with_start=True)["start"] == (37.0, 17.0, 47.0, 67.0, 0.0, 87.0)


def test_what_was_not_moved_is_refused_where_nothing_else_is_known():
    found = ArmLimits(("lift.pos", "grip.pos"), ("my_lab:Arm", "", "", ""), "", "")
    for number in range(50):
        found.see(np.array([number, 3.0]))
    with pytest.raises(WarmloopError, match=r"^grip.pos moved by less than 11.*Move each joint, or give a smaller --margin"):
        found.settings(3.0, 0.01, with_start=False)
    with pytest.raises(WarmloopError, match=r"has the joints a.pos, and its preset shoulder_pan.pos"):
        ArmLimits(("a.pos",), SO101, "", "")
