"""`warmloop evaluate --model`, as a process: the table, the picture and the JSON beside a checkpoint, and refusals before any work."""

import json
import subprocess
import sys

import numpy as np
import pytest
from runs import Commands, sentence

from warmloop.actor.environment.environment import EnvironmentConfig, make_environment
from warmloop.actor.episodes.rollout import EpisodePlan, run_episode
from warmloop.actor.policies.policy import RandomPolicy
from warmloop.agents.models.ensembles.model_quality import Quality
from warmloop.data.formats import write_episodes
from warmloop.data.transition import Source
from warmloop.launch.judging.model_check import as_plain, draw, table

MODEL = ("--config=configs/classic.py:pendulum,combo,small", "--config.environment.horizon=30")


def evaluate(folder, *arguments):
    line = [sys.executable, "-m", "warmloop.launch.evaluate", "--model", *arguments]
    return subprocess.run(line, capture_output=True, text=True, timeout=300, cwd=folder)


def test_the_table_marks_where_the_guess_is_better_and_a_picture_is_drawn(tmp_path):
    steps = np.arange(1.0, 16.0)
    found = Quality(0.02 * steps, 0.05 + 0.01 * steps, np.full(9, 0.1), np.linspace(0.05, 0.5, 9), 0.9, float("nan"))
    shown = as_plain(found)
    assert shown["rank_correlation"] is None and json.loads(json.dumps(shown))["auroc"] == 0.9
    text = table(shown | {"updates": 7, "episodes": 3, "which_episodes": "held out"})
    marked = [line.split()[0] for line in text.splitlines() if "the guess is better" in line]
    assert marked == ["10", "15"] and "AUROC 0.90" in text and "rank correlation" not in text
    assert draw(found, tmp_path / "model.png").stat().st_size > 10_000


@pytest.mark.slow
def test_a_warm_up_by_combo_is_judged_by_its_held_out_episodes_and_others_are_refused(tmp_path):
    environment = make_environment(EnvironmentConfig("Pendulum-v1", success="reward>=-0.01", horizon=30))
    episodes = [run_episode(environment, RandomPolicy(1), seed, EpisodePlan(source=Source.DEMOS, number=seed)) for seed in range(30)]
    write_episodes(tmp_path / "demos.npz", episodes)
    data = f"--offline_data_path=demos={tmp_path}/demos.npz"
    for name, settings in (("combo", MODEL), ("sac", ("--config=configs/classic.py:pendulum", MODEL[1]))):
        commands = Commands(tmp_path, (*settings, "--config.learner.warmup_checkpoints=1", "--config.fqe.steps=20"))
        done = commands.run("train_offline_warmup", f"--exp_name={name}", data, "--warmup_steps=40", "--eval_n_trajs=0")
        assert done.returncode == 0, done.stderr
    done = evaluate(tmp_path, "--checkpoint=combo/warmup", "--json")
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert shown["episodes"] == 3 and shown["which_episodes"] == "held out" and len(shown["model_error"]) == 15
    assert json.loads((tmp_path / "combo" / "warmup" / "model.json").read_text()) == shown
    assert (tmp_path / "combo" / "warmup" / "model.png").stat().st_size > 10_000
    assert '"sac", of' in sentence(evaluate(tmp_path, "--checkpoint=sac/warmup"))
    assert "name it, as in" in sentence(evaluate(tmp_path))
