"""Kills within saves leave no folders that stay."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from warmloop.learner.checkpoints import complete_checkpoints
from warmloop.learner.checkpoints.leftovers import tidy

HELPERS = Path(__file__).resolve().parents[1] / "helpers"
SAVING = """
import sys
import jax.numpy as jnp
from small_learner import small
from warmloop.learner.checkpoints import checkpoint
parts, state = small()
print("saving", flush=True)
for updates in range(1000):
    checkpoint.save(sys.argv[1], state.replace(updates=jnp.int32(updates)), parts.agent, {})
"""


@pytest.mark.fault
def test_a_process_killed_while_it_saves_leaves_nothing_that_the_next_one_does_not_tidy(tmp_path, chance):
    for _ in range(6):
        process = subprocess.Popen([sys.executable, "-c", SAVING, str(tmp_path)], stdout=subprocess.PIPE, cwd=HELPERS)
        assert process.stdout and process.stdout.readline()
        time.sleep(chance.uniform(0.3, 3.0))
        process.kill()
        process.wait()
    tidy(tmp_path)
    assert all(name.isdigit() or name.startswith("offline-") for name in [path.name for path in tmp_path.iterdir()])
    assert complete_checkpoints.newest(tmp_path)
    assert all(complete_checkpoints.verify(path) is None for path in complete_checkpoints.steps(tmp_path)[-1:])
