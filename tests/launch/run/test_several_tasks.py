"""Two Meta-World tasks for one policy, through the real commands: collected, warmed up on, fine-tuned and judged, each by its name."""

import dataclasses
import json
import re
import subprocess
import sys

import numpy as np
import pytest
from runs import SIZES, Commands, sentence

from warmloop.data.formats import load_episodes, write_episodes
from warmloop.learner.checkpoints import complete_checkpoints
from warmloop.learner.diagnosis.metrics import read

pytestmark = pytest.mark.long

PRESET = "--config=configs/metaworld.py:door-open+drawer-open"
NAMES = ["door-open", "drawer-open"]
SHORT = ("--config.environment.horizon=40", "--config.learner.updates_per_call=5", "--config.actor.evaluation_episodes=2")


def command(module, *arguments, folder):
    line = [sys.executable, "-m", f"warmloop.launch.{module}", *arguments]
    done = subprocess.run(line, capture_output=True, text=True, timeout=200, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def commands(tmp_path_factory):
    return Commands(tmp_path_factory.mktemp("tasks"), (PRESET, *SIZES, *SHORT))


@pytest.fixture(scope="module")
def demos(commands):
    command("collect", PRESET, "--episodes=4", "--horizon=200", "--noise=0.1", "--out=demos.npz", folder=commands.folder)
    return commands.folder / "demos.npz"


@pytest.fixture(scope="module")
def warm(commands, demos):
    done = commands.run("train_offline_warmup", "--exp_name=two", f"--offline_data_path={demos}", "--warmup_steps=20", "--eval_n_trajs=2")
    assert done.returncode == 0, done.stderr
    return commands.folder / "two" / "warmup", done


def test_each_task_is_recorded_by_its_own_expert_in_turn_and_without_a_code(demos):
    episodes = load_episodes(demos)
    assert [episode.task for episode in episodes] == NAMES * 2
    assert {episode.steps.observation.shape[1] for episode in episodes} == {39}
    assert all(episode.succeeded for episode in episodes if episode.task == "drawer-open")


def test_the_warm_up_says_how_the_data_and_the_policy_are_for_each_task_and_keeps_demonstrations_of_both(warm):
    folder, done = warm
    for name in NAMES:
        assert re.search(rf"  {name}: 2 episodes, \d+ steps, \d+ % successful", done.stderr)
        assert re.search(rf"^{name} +[01]\.\d\d ", done.stdout, re.MULTILINE)
    kept = load_episodes(folder / "filtered_demos.npz")
    assert {episode.task for episode in kept} == set(NAMES)
    assert {episode.steps.observation.shape[1] for episode in kept} == {39}
    assert complete_checkpoints.newest(folder).meta["config"]["tasks"]["names"] == NAMES
    last = read(folder.parent / "warmup_metrics")[-1]
    assert {f"evaluation/success_rate/{name}" for name in NAMES} <= last.keys()


@pytest.mark.slow
def test_fine_tuning_in_lock_step_and_its_judge_report_each_task(commands, warm):
    folder, _ = warm
    rates = ("--config.learner.checkpoint_every=50", "--config.actor.evaluate_every=80")
    demos = f"--demo_path={folder}/filtered_demos.npz"
    done = commands.run("train_rlpd", "--exp_name=two", f"--checkpoint_path={folder}", demos, "--online_steps=160", *rates)
    assert done.returncode == 0, done.stderr
    records = read(commands.folder / "two")
    evaluations = [record for record in records if "evaluation/success_rate" in record]
    assert len(evaluations) == 2
    for name in NAMES:
        assert all(0 <= record[f"evaluation/success_rate/{name}"] <= 1 for record in evaluations)
        assert np.isfinite(records[-1][f"actor/episode_return/{name}"]) and f"actor/success_rate/{name}" in records[-1]
    shares = complete_checkpoints.newest(commands.folder / "two" / "checkpoints").meta["task_masses"]
    assert len(shares) == 2 and min(shares) > 0
    judged = command("evaluate", "--checkpoint=two/checkpoints", "--episodes=2", "--json", folder=commands.folder)
    shown = json.loads(judged.stdout)
    assert {name: part["episodes"] for name, part in shown["tasks"].items()} == dict.fromkeys(NAMES, 1)
    assert shown["mean_return"] == pytest.approx(np.mean([part["mean_return"] for part in shown["tasks"].values()]))
    assert (commands.folder / "two" / "curves.png").stat().st_size > 10_000


def test_a_checkpoint_of_several_tasks_collects_raw_observations(commands, warm):
    policy = f"--policy=checkpoint:{warm[0]}"
    command("collect", PRESET, policy, "--episodes=2", "--horizon=5", "--out=own.npz", folder=commands.folder)
    episodes = load_episodes(commands.folder / "own.npz")
    assert [(episode.task, episode.steps.observation.shape) for episode in episodes] == [(name, (5, 39)) for name in NAMES]


def test_an_episode_of_no_task_is_refused_in_one_sentence(commands, demos):
    episodes = load_episodes(demos)
    write_episodes(commands.folder / "unnamed.npz", [*episodes[:2], dataclasses.replace(episodes[2], task="")])
    done = commands.run("train_offline_warmup", "--exp_name=no", "--offline_data_path=unnamed.npz", "--warmup_steps=5")
    assert re.search(r"unnamed\.npz, episode 2: nothing says which task it is of", sentence(done))
