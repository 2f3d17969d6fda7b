"""A command ends though its environment left a thread or a process behind, with its own exit code and a sentence."""

import subprocess
import sys
import time

import pytest

CODE = """
import multiprocessing, sys, threading, time
from absl import flags
from warmloop.data.errors import WarmloopError
from warmloop.launch.flags.common import run
from warmloop.launch.starting import leftover

leftover.WAIT_SECONDS = float(sys.argv.pop(1))
what, how = sys.argv.pop(1), sys.argv.pop(1)

def main():
    if what == "thread":
        threading.Thread(target=time.sleep, args=(600,), name="camera").start()
    if what == "process":
        multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,), name="camera").start()
    if what == "brief":
        threading.Thread(target=lambda: (time.sleep(0.5), print("film written", flush=True)), name="film").start()
    print("done")
    if how == "error":
        raise WarmloopError("a mistake")
    if how == "bug":
        raise RuntimeError("a bug")

run(main)
"""


def ended(wait: float, what: str, how: str) -> tuple[int, str, str]:
    line = [sys.executable, "-c", CODE, str(wait), what, how]
    done = subprocess.run(line, capture_output=True, text=True, timeout=100, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("what", ["thread", "process"])
@pytest.mark.parametrize(("how", "code"), [("", 0), ("error", 2), ("bug", 1)])
def test_what_an_environment_left_behind_holds_no_command(what, how, code):
    returned, out, told = ended(0.2, what, how)
    assert (returned, out) == (code, "done\n")
    assert f"the {what} camera, which the environment or another module left behind, does not end" in told
    assert ("error: a mistake" in told) == (how == "error") and ("RuntimeError: a bug" in told) == (how == "bug")


def test_what_ends_by_itself_is_waited_for_and_not_told():
    before = time.monotonic()
    assert ended(60.0, "brief", "") == (0, "done\nfilm written\n", "") and time.monotonic() - before < 50
