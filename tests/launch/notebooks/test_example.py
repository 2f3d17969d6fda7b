"""The notebook of the documentation, run as a script."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).resolve().parents[3] / "docs" / "notebook.py"


@pytest.mark.slow
def test_the_notebook_of_the_documentation_runs_and_learns_to_swing_a_pendulum_up(tmp_path):
    settings = os.environ | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "0"}  # it learns for longer than it compiles
    done = subprocess.run([sys.executable, str(NOTEBOOK)], capture_output=True, text=True, cwd=tmp_path, timeout=900, env=settings)
    assert done.returncode == 0, done.stderr
    means = [int(found) for found in re.findall(r"mean return (-\d+)", done.stdout)]
    assert len(means) == 3 and max(means[1:]) > -600, "a policy that does nothing has some -1200"
    assert re.findall(r"^\S+", done.stdout, re.MULTILINE)[-1] == "policy.py"
