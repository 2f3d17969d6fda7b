"""A test that is skipped for a reason that nobody listed fails the run that asks for it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from skips import LIST, OPTION, read_list

HELPERS = Path(__file__).parent / "helpers"
MODULE = "import pytest\npytest.importorskip('no_such_module', reason={reason!r})\ndef test_a(): pass\n"
TEST = """
import pytest
def test_a(): pytest.skip({reason!r})
def test_b(): pass
@pytest.mark.xfail(reason='known')
def test_c(): assert 0
"""
LISTED = "gym-hil is not installed (extra [robotics])"


def run(folder: Path, program: str, reason: str, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "test_one.py").write_text(program.format(reason=reason))
    (folder / "test_two.py").write_text("def test_d(): pass\n")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment |= {"PYTHONPATH": str(HELPERS), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    line = [sys.executable, "-m", "pytest", "-p", "xdist.plugin", "-p", "skips", *options]
    return subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["one process", "xdist"])
@pytest.mark.parametrize("program", [TEST, MODULE], ids=["a test", "a module"])
def test_an_unlisted_reason_fails_the_run_and_is_named(tmp_path, program, workers):
    done = run(tmp_path, program, "no moon", OPTION, *workers)
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout
    assert "skips.toml does not list" in done.stdout and "no moon" in done.stdout and "test_one.py" in done.stdout
    assert done.stdout.count("no moon") == 1, done.stdout


@pytest.mark.parametrize("program", [TEST, MODULE], ids=["a test", "a module"])
def test_a_listed_reason_passes_and_so_does_any_without_the_option(tmp_path, program):
    for reason, options in ((LISTED, (OPTION, "-n", "1")), ("no moon", ())):
        done = run(tmp_path, program, reason, *options)
        assert done.returncode == 0 and "does not list" not in done.stdout, done.stdout


def test_every_listed_reason_is_one_that_a_test_gives_and_has_a_why():
    given = "\n".join(path.read_text() for path in LIST.parent.rglob("*.py") if path != Path(__file__))
    given = given.replace("{package}", "pynput")
    for reason, why in read_list().items():
        assert reason.startswith("^") and reason[1:] in given, f"no test is skipped because {reason[1:]!r}; take it off the list"
        assert len(why) > 20
