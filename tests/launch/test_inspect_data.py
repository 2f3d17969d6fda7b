"""inspect_data on what a learner's quarantine really wrote."""

import json
import subprocess
import sys

import numpy as np
import pytest
from runs import sentence

from warmloop.data.transition import Leaf, Spec, example
from warmloop.learner.quarantine import Quarantine, faults

ROWS = example(Spec((Leaf("", (3,), "float32"),), 2), 4)


@pytest.fixture
def folder(tmp_path):
    rows = ROWS.replace(
        observation=np.array([[0, 0, 0], [0, np.nan, np.inf], [0, 0, 0], [1, 1, 1]], np.float32),
        action=np.array([[0, 0], [0, 0], [0, -1.5], [0, 0]], np.float32),
        episode=np.full(4, 7, np.int32),
        step=np.arange(4, dtype=np.int32),
    )
    Quarantine(tmp_path / "quarantine").keep("robot-a", np.arange(40, 44), rows, faults(rows))
    return tmp_path / "quarantine"


def inspect(*arguments) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "warmloop.launch.inspect_data", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_quarantined_rows_are_shown_with_their_place_reason_and_values(folder):
    done = inspect(folder)
    assert done.returncode == 1, done.stderr
    assert "robot-a" in done.stdout
    assert "row 41, episode 7, step 1: observation is not finite: observation[1] = nan, observation[2] = inf" in done.stdout
    assert "row 42, episode 7, step 2: action is outside [-1, 1]: action[1] = -1.5" in done.stdout


def test_json_has_one_object_for_each_row(folder):
    rows = [json.loads(line) for line in inspect(folder, "--json").stdout.splitlines()]
    assert [(row["number"], row["reason"]) for row in rows] == [(41, "observation is not finite"), (42, "action is outside [-1, 1]")]


def test_an_empty_quarantine_is_no_failure(tmp_path):
    done = inspect(tmp_path)
    assert (done.returncode, done.stdout) == (0, "no rows are in quarantine\n")


@pytest.mark.parametrize(
    ("name", "says"), [("absent", "There is no"), ("other.npz", "holds no quarantined rows"), ("text.npz", "cannot be read")]
)
def test_what_is_not_a_quarantine_is_refused_by_one_sentence(tmp_path, name, says):
    np.savez(tmp_path / "other.npz", observations=np.zeros(3))
    (tmp_path / "text.npz").write_text("not an archive")
    assert says in sentence(inspect(tmp_path / name))


def test_without_a_name_it_says_what_to_name():
    assert "quarantine" in sentence(inspect())
