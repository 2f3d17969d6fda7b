"""LeRobot's own driver against the pretend and the simulated SO-101, by an interpreter that has LeRobot and warmloop."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

HELPERS = Path(__file__).resolve().parents[2] / "helpers"


def interpreter() -> str:
    """WARMLOOP_LEROBOT_PYTHON, or this one."""
    if os.environ.get("WARMLOOP_LEROBOT_PYTHON"):
        return os.environ["WARMLOOP_LEROBOT_PYTHON"]
    if find_spec("lerobot") is not None:
        return sys.executable
    pytest.skip("lerobot is not installed; WARMLOOP_LEROBOT_PYTHON may name an interpreter that has it")


@pytest.mark.slow
@pytest.mark.parametrize("tests", ["so101_driver.py", "so101_simulated_driver.py"])
def test_lerobots_own_driver_is_what_talks_to_the_arm(tests):
    options = ["--noconftest", "-c", os.devnull, "--import-mode=importlib", "-p", "no:cacheprovider", "-q", f"--rootdir={HELPERS}"]
    line = [interpreter(), "-m", "pytest", *options, str(HELPERS / tests)]
    bare = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}  # of other packages of these tests
    bare.setdefault("MUJOCO_GL", "egl")
    done = subprocess.run(line, env=bare, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
