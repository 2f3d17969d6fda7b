"""Warming up, choosing a checkpoint and going on from it: the commands, as processes, on Pendulum."""

import json
import shutil
import subprocess
import sys

import lamps
import numpy as np
import pytest
from runs import Commands, sentence

from warmloop.actor.environment.environment import EnvironmentConfig, make_environment
from warmloop.actor.episodes.rollout import EpisodePlan, run_episode
from warmloop.actor.policies.policy import RandomPolicy
from warmloop.data.errors import WarmloopError
from warmloop.data.formats import load_episodes, write_episodes
from warmloop.data.transition import Source
from warmloop.launch.judging.judge import Subject
from warmloop.launch.judging.play_off import play_off
from warmloop.learner.checkpoints import complete_checkpoints, selection_file
from warmloop.learner.diagnosis.metrics import read
from warmloop.learner.judging.selection import Candidate, Ranked

pytestmark = pytest.mark.long

THREE = ("--config.learner.warmup_checkpoints=3", "--config.environment.horizon=30")


@pytest.fixture(scope="module")
def commands(tmp_path_factory):
    return Commands(tmp_path_factory.mktemp("selection"))


@pytest.fixture(scope="module")
def data(commands):
    """Thirty short Pendulum episodes."""
    environment = make_environment(EnvironmentConfig("Pendulum-v1", success="reward>=-0.01", horizon=30))
    policy = RandomPolicy(environment.spec.action_dim)
    episodes = [run_episode(environment, policy, seed, EpisodePlan(source=Source.DEMOS, number=seed)) for seed in range(30)]
    write_episodes(commands.folder / "demos.npz", episodes)
    return f"--offline_data_path=demos={commands.folder}/demos.npz"


@pytest.fixture(scope="module")
def warm(commands, data):
    done = commands.run("train_offline_warmup", "--exp_name=warm", data, "--warmup_steps=60", "--eval_n_trajs=1", *THREE)
    assert done.returncode == 0, done.stderr
    return commands.folder / "warm" / "warmup", done


def evaluate(commands, *arguments):
    line = [sys.executable, "-m", "warmloop.launch.evaluate", *arguments]
    return subprocess.run(line, capture_output=True, text=True, timeout=200, cwd=commands.folder)


def selection_of(folder):
    return selection_file.read(folder)


def test_the_warm_up_measures_on_held_out_episodes_compares_its_checkpoints_and_marks_one(warm):
    folder, done = warm
    assert "3 episodes are held out" in done.stderr and "held-out error" in done.stderr
    assert [int(path.name) for path in complete_checkpoints.steps(folder)] == [20, 40, 60]
    saved = complete_checkpoints.newest(folder)
    assert len(saved.meta["held_out"]) == 3 and saved.meta["offline_rows"] == 27 * 30, "held-out rows are not learnt from"
    selection = selection_of(folder)
    assert sorted(one["updates"] for one in selection["candidates"]) == [20, 40, 60]
    assert selection["chosen"] == selection["candidates"][0]["updates"] and selection["by"] == "data"
    assert {"heldout/td_error", "heldout/log_prob", "heldout/q_overestimation"} <= selection["candidates"][0].keys()
    assert f"{selection['chosen']:08d}" in done.stdout and "  chosen" in done.stderr
    measured = [record for record in read(folder.parent / "warmup_metrics") if "heldout/td_error" in record]
    assert [record["updates"] for record in measured] == [50, 60]
    assert (folder.parent / "warmup.png").stat().st_size > 10_000
    assert load_episodes(folder / "filtered_demos.npz")


@pytest.mark.slow
def test_train_rlpd_takes_the_marked_checkpoint_unless_a_number_is_given(commands, warm):
    folder, _ = warm
    selection = selection_of(folder)
    try:
        for marked in (20, 40):
            selection_file.write(folder, selection | {"chosen": marked})
            done = commands.run("train_rlpd", f"--exp_name=on{marked}", f"--checkpoint_path={folder}", "--online_steps=30", *THREE)
            assert done.returncode == 0, done.stderr
            assert f"checkpoint of {marked} updates" in done.stderr
            assert complete_checkpoints.newest(commands.folder / f"on{marked}" / "checkpoints").meta["warm_updates"] == marked
        one = ("--warm_checkpoint_step=60", f"--checkpoint_path={folder}", "--online_steps=30")
        done = commands.run("train_rlpd", "--exp_name=on60", *one, *THREE)
        assert complete_checkpoints.newest(commands.folder / "on60" / "checkpoints").meta["warm_updates"] == 60
        done = commands.run("train_rlpd", "--exp_name=no", "--warm_checkpoint_step=7", f"--checkpoint_path={folder}", *THREE)
        assert "There is no checkpoint of 7 updates" in sentence(done)
    finally:
        selection_file.write(folder, selection)


def test_evaluate_offline_ranks_on_the_warm_up_s_own_data_as_the_warm_up_did(commands, warm):
    folder, _ = warm
    before = selection_of(folder)
    (folder / "selection.json").unlink()
    done = evaluate(commands, "--offline", f"--checkpoint={folder}")
    assert done.returncode == 0, done.stderr
    after = selection_of(folder)
    assert [one["updates"] for one in after["candidates"]] == [one["updates"] for one in before["candidates"]]
    for one, other in zip(after["candidates"], before["candidates"], strict=True):
        numbers = ("fqe", "fqe_error", *(name for name in one if name.startswith("heldout/")))
        assert [one[name] for name in numbers] == pytest.approx([other[name] for name in numbers], rel=1e-4), "the same are held out"
    assert len(done.stdout.splitlines()) == 4 and "FQE" in done.stdout


@pytest.mark.slow
def test_episodes_in_the_environment_choose_and_the_chosen_one_is_judged_by_fresh_ones(commands, warm):
    folder, _ = warm
    done = evaluate(commands, "--offline", f"--checkpoint={folder}", "--bandit_episodes=12", "--json")
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    played = shown["play_off"]
    assert shown["by"] == "episodes" and shown == selection_of(folder)
    assert played["episodes"] == 12 and played["fresh_episodes"] >= 4 and played["low"] <= played["mean"] <= played["high"]
    assert played["first_round"].keys() == {"20", "40", "60"} and -1 <= played["rank_correlation"] <= 1
    alone = evaluate(commands, f"--checkpoint={folder}", f"--episodes={played['fresh_episodes']}", "--json")
    assert json.loads(alone.stdout)["mean_return"] == pytest.approx(played["mean"]), "as evaluate judges the chosen one"
    one = evaluate(commands, "--offline", f"--checkpoint={folder}/00000040")
    assert "is a single checkpoint" in sentence(one) and not (folder / "00000040" / "selection.json").exists()
    few = evaluate(commands, "--offline", f"--checkpoint={folder}", "--bandit_episodes=5")
    assert "takes at least 9 episodes" in sentence(few)


def test_checkpoints_that_are_out_do_not_play(warm, tmp_path):
    folder = shutil.copytree(warm[0], tmp_path / "warmup")

    def ranking(*out):
        found = [
            Ranked(Candidate(updates, np.full(4, updates)), reason, not reason) for updates, reason in zip((60, 40, 20), out, strict=True)
        ]
        return sorted(found, key=lambda ranked: bool(ranked.reason))

    played = play_off(Subject(checkpoint=folder), ranking("", "FQE diverged", ""), 9, 0)
    assert played["first_round"].keys() == {"20", "60"} and played["chosen"] != 40
    assert len(selection_of(folder)["candidates"]) == 3
    with pytest.raises(WarmloopError, match=r"All checkpoints .* are out \(FQE diverged\)"):
        play_off(Subject(checkpoint=folder), ranking(*["FQE diverged"] * 3), 9, 0)


@pytest.mark.slow
def test_checkpoints_that_see_images_are_compared_by_episodes_and_without_them_the_newest_is_taken(tmp_path):
    (tmp_path / "see.py").write_text(lamps.CONFIG)
    shutil.copy(lamps.__file__, tmp_path)  # its environment, for the processes
    write_episodes(tmp_path / "lamps.npz", [lamps.lamp_episode(number) for number in range(20)])
    commands = Commands(tmp_path, (f"--config={tmp_path}/see.py", "--config.learner.warmup_checkpoints=2"))
    data = f"--offline_data_path=demos={tmp_path}/lamps.npz"
    done = commands.run("train_offline_warmup", "--exp_name=see", data, "--warmup_steps=4", "--eval_n_trajs=0")
    assert done.returncode == 0, done.stderr
    assert "FQE judges by single states alone, and these policies look at images (lamps): the newest is taken" in done.stderr
    folder = tmp_path / "see" / "warmup"
    selection = selection_of(folder)
    assert [one["updates"] for one in selection["candidates"]] == [4, 2] and selection["chosen"] == 4
    assert selection["candidates"][0]["fqe"] is None and selection["candidates"][0]["heldout/td_error"] > 0
    (table,) = (part for part in done.stderr.split("\n\n") if "TD error" in part)
    assert "FQE  " not in table and "nan" not in table
    done = evaluate(commands, "--offline", f"--checkpoint={folder}", "--bandit_episodes=12")
    assert done.returncode == 0, done.stderr
    assert "12 episodes chose the checkpoint of" in done.stdout and "rank correlation" not in done.stdout
    played = selection_of(folder)["play_off"]
    assert played["first_round"].keys() == {"2", "4"} and played["rank_correlation"] is None


@pytest.mark.slow
def test_a_warm_up_goes_on_with_the_same_episodes_held_out_and_is_compared_anew(commands, data, warm):
    folder, _ = warm
    held = complete_checkpoints.newest(folder).meta["held_out"]
    again = ("--exp_name=warm", data, "--warmup_steps=80", "--seed=5", *THREE)
    assert "holds a warm-up already" in sentence(commands.run("train_offline_warmup", *again))
    done = commands.run("train_offline_warmup", *again, "--resume")
    assert done.returncode == 0, done.stderr
    assert complete_checkpoints.newest(folder).updates == 80 and complete_checkpoints.newest(folder).meta["held_out"] == held
    assert {one["updates"] for one in selection_of(folder)["candidates"]} >= {20, 40, 60, 80}


def test_other_data_than_it_began_with_are_refused_when_a_warm_up_goes_on(commands, warm, demos):
    again = ("--exp_name=warm", f"--offline_data_path=demos={demos}", "--warmup_steps=90", "--resume", *THREE)
    assert "learns from 810 steps, and the data now have" in sentence(commands.run("train_offline_warmup", *again))


@pytest.mark.long
def test_stopping_early_needs_held_out_episodes(commands, demos):
    stop = ("--config.learner.early_stop_after=1", "--warmup_steps=60")
    said = sentence(commands.run("train_offline_warmup", "--exp_name=stop", f"--offline_data_path=demos={demos}", *stop))
    assert "hold episodes out" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--offline",), "Name a folder of checkpoints"),
        (("--offline", "--checkpoint=nowhere"), "There is no checkpoint in nowhere"),
        (("--checkpoint=nowhere", "--bandit_episodes=9"), "go with --offline"),
        (("--checkpoint=nowhere", "--offline", "--success=terminated"), "--success is for episodes of one policy"),
        (("--policy=random", "--env=Pendulum-v1", "--success=operator"), "An evaluation would count no success"),
    ],
)
def test_mistakes_are_one_sentence(commands, arguments, said):
    assert said in sentence(evaluate(commands, *arguments))


@pytest.mark.long
def test_another_rule_than_the_checkpoints_can_tell_success(commands, warm):
    shown = [evaluate(commands, f"--checkpoint={warm[0]}", "--episodes=1", "--json", f"--success=reward>={least}") for least in (-99, 99)]
    assert [json.loads(done.stdout)["success_rate"] for done in shown] == [1.0, 0.0]


def test_help_shows_the_comparison():
    done = subprocess.run([sys.executable, "-m", "warmloop.launch.evaluate", "--help"], capture_output=True, text=True, timeout=120)
    assert "--[no]offline" in done.stdout and "--bandit_episodes" in done.stdout


def test_a_warm_up_s_help_says_how_to_leave_the_comparison_out():
    done = subprocess.run(
        [sys.executable, "-m", "warmloop.launch.train_offline_warmup", "--help"], capture_output=True, text=True, timeout=120
    )
    assert "--config.learner.warmup_checkpoints=1" in done.stdout
