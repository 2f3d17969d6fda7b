"""A simulator keeps to its learner's pace by default, and a run has exactly the environment steps that were asked for."""

import re

import pytest

from warmloop.launch.starting.processes import free_port
from warmloop.learner.checkpoints import complete_checkpoints
from warmloop.learner.diagnosis.metrics import read


def rows_of(folder):
    return complete_checkpoints.newest(folder / "checkpoints").meta["rows"]


@pytest.mark.slow
def test_two_simulators_wait_for_the_learner_from_its_first_update_on_and_take_no_step_too_many(commands):
    done = commands.run("local", "--exp_name=pair", "--actors=2", "--online_steps=450", f"--port={free_port()}")
    assert done.returncode == 0, done.stderr
    records = read(commands.folder / "pair")
    assert records[-1]["environment_steps"] == rows_of(commands.folder / "pair") == 450 and records[-1]["updates"] == 450
    for record in records:
        ahead = record["environment_steps"] - record["updates"]
        assert -1 <= ahead <= 20 + 2 * 32 + 20, "publish_every, and what was on its way"
        if "learner/updates_per_step" in record:  # those with updates since the one before
            assert record["learner/updates_per_step_asked"] == 1.0
            assert record["learner/updates_per_step"] == pytest.approx(record["updates"] / record["environment_steps"])
    assert "had hardly learnt" not in done.stderr
    assert re.search(r"updates/step \d\.\d\d of 1\.00", done.stderr)


@pytest.mark.slow
def test_without_a_least_pace_a_run_ends_with_the_same_steps_and_says_that_it_had_not_learnt(commands):
    line = ("--exp_name=free", "--online_steps=450", "--config.learner.min_utd=0", "--config.agent.utd=20", "--config.agent.batch_size=256")
    done = commands.run("local", *line, f"--port={free_port()}")
    assert done.returncode == 0, done.stderr
    assert rows_of(commands.folder / "free") == 450
    assert re.search(r"All 450 environment steps have come while \d+ of 450 updates were done", done.stderr)


@pytest.mark.slow
def test_in_lock_step_too_the_last_episode_is_cut_where_the_steps_end(commands):
    done = commands.run("train_rlpd", "--exp_name=one", "--online_steps=250")
    assert done.returncode == 0, done.stderr
    assert rows_of(commands.folder / "one") == 250
    more = commands.run("train_rlpd", "--exp_name=one", "--online_steps=300", "--resume")
    assert more.returncode == 0 and rows_of(commands.folder / "one") == 300, more.stderr
