"""Environments as laboratories have them, each with one quirk, through every command: collect, warm up, fine-tune in one process and in
two, evaluate; and what cannot be bridged is one sentence in each of them."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from runs import SIZES, Commands, saved_state, sentence

from warmloop.data.formats import load_episodes
from warmloop.learner.diagnosis.metrics import read

CONFIG = Path(__file__).resolve().parents[2] / "helpers" / "lab_config.py"
BRIDGED = {
    "float_pictures": "comes as float32 up to 0.392157; it is taken as running from 0 to 1",
    "declared_float_pictures": None,
    "channels_first": None,
    "discrete_leaf": None,
    "dict_actions": None,
    "time_limit_is_done": "--config.environment.time_limit_is_truncation=True",
    "old_step": "its step returns four values",
    "old_reset": "its reset returns the observation alone",
    ":Lab/ReachWithoutSeed-v0": "its reset takes no seed",
}
PICTURES = {"float_pictures", "declared_float_pictures", "channels_first"}
REFUSED = {"discrete_actions": "has discrete actions, Discrete(5)", "reward_none": "gave at step 1 None as the reward; return a number"}


def commands_for(folder: Path, quirk: str, *more: str) -> Commands:
    vision = [f"--config.{agent}.vision.channels=(4, 4)" for agent in ("agent", "warmup_agent")] if quirk in PICTURES else []
    return Commands(folder, (f"--config={CONFIG}:{quirk}", *SIZES, *vision, "--config.replay.capacity=500", *more))


def plain(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command that takes no settings."""
    line = [sys.executable, "-m", f"warmloop.launch.{module}", *arguments]
    return subprocess.run(line, capture_output=True, text=True, timeout=200)


def collected(folder: Path, quirk: str) -> subprocess.CompletedProcess[str]:
    return plain("collect", f"--config={CONFIG}:{quirk}", "--policy=random", "--episodes=6", f"--out={folder}/data.npz", "--seed=1")


def finished(done: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    return done


@pytest.mark.slow
@pytest.mark.parametrize(
    "quirk", [pytest.param(quirk, marks=[] if quirk in ("float_pictures", "dict_actions") else pytest.mark.slow) for quirk in BRIDGED]
)
def test_what_can_be_bridged_goes_through_every_command(tmp_path, quirk):
    done = finished(collected(tmp_path, quirk))
    if says := BRIDGED[quirk]:
        assert done.stderr.count(says) == 1, done.stderr
    (first, *_) = load_episodes(tmp_path / "data.npz")
    leaves = first.steps.observation if isinstance(first.steps.observation, dict) else {"": first.steps.observation}
    if quirk in PICTURES:
        assert leaves["wrist"].shape[1:] == (32, 32, 3) and (leaves["wrist"] == 100).all()
    assert first.steps.action.shape[1] == (3 if quirk == "dict_actions" else 2)
    commands = commands_for(tmp_path, quirk)
    warm = (f"--offline_data_path=random={tmp_path}/data.npz", "--warmup_steps=20", f"--checkpoint_path={tmp_path}/warm", "--exp_name=lab")
    finished(commands.run("train_offline_warmup", *warm))
    finished(commands.run("train_rlpd", f"--checkpoint_path={tmp_path}/warm", "--online_steps=40", "--exp_name=lab"))
    assert read(tmp_path / "lab")[-1]["environment_steps"] == 40
    shown = finished(plain("evaluate", f"--checkpoint={tmp_path}/lab/checkpoints", "--episodes=1", "--json"))
    assert json.loads(shown.stdout)["episodes"] == 1
    inspected = plain("inspect_data", f"{tmp_path}/data.npz", "--json", "--env=none")
    assert json.loads(inspected.stdout)["summary"]["episodes"] == 6


@pytest.mark.slow
@pytest.mark.parametrize("quirk", REFUSED)
def test_what_cannot_be_bridged_is_one_sentence_in_every_command(tmp_path, quirk):
    finished(collected(tmp_path, ""))
    commands, says = commands_for(tmp_path, quirk), REFUSED[quirk]
    assert says in sentence(plain("collect", f"--config={CONFIG}:{quirk}", "--policy=random", "--episodes=1", f"--out={tmp_path}/x.npz"))
    assert says in sentence(commands.run("train_rlpd", "--online_steps=40", "--exp_name=x"))
    if quirk == "discrete_actions":
        warm = (
            f"--offline_data_path=random={tmp_path}/data.npz",
            "--warmup_steps=20",
            f"--checkpoint_path={tmp_path}/warm",
            "--exp_name=x",
        )
        assert says in sentence(commands.run("train_offline_warmup", *warm))


@pytest.mark.slow
def test_a_time_limit_that_is_returned_as_terminated_is_repaired_from_the_data_to_the_learner(tmp_path):
    setting = "--config.environment.time_limit_is_truncation=True"
    finished(collected(tmp_path, "time_limit_is_done"))
    late = [episode for episode in load_episodes(tmp_path / "data.npz") if len(episode) == 30 and not episode.succeeded]
    assert late and all(episode.steps.mask[-1] == 0 for episode in late), "recorded as it came"
    warm = (f"--offline_data_path=random={tmp_path}/data.npz", "--warmup_steps=20", f"--checkpoint_path={tmp_path}/warm", "--exp_name=lab")
    told = finished(commands_for(tmp_path, "time_limit_is_done").run("train_offline_warmup", *warm)).stderr
    assert f"{len(late)} of 6 episodes are marked as terminal after 30 steps" in told and setting in told
    commands = commands_for(tmp_path, "time_limit_is_done", setting)
    again = (warm[0], "--warmup_steps=20", f"--checkpoint_path={tmp_path}/again", "--exp_name=again")
    told = finished(commands.run("train_offline_warmup", *again)).stderr
    assert f"{len(late)} of 6 episodes" in told and "they count as cut there" in told
    fine = (f"--checkpoint_path={tmp_path}/again", "--online_steps=120", "--exp_name=apart", "--actors=1")
    told = finished(commands.run("local", *fine)).stderr
    assert "terminated without success" not in told
    state, _ = saved_state(tmp_path / "apart" / "checkpoints", 500)
    rows, count = state.online.rows, int(state.online.inserted)
    step, mask, cut = (np.asarray(getattr(rows, name))[:count] for name in ("step", "mask", "truncated"))
    assert count >= 120 and (step == 29).sum() >= 2
    np.testing.assert_array_equal(mask[step == 29] == 0, np.asarray(rows.reward)[:count][step == 29] > 0)
    np.testing.assert_array_equal(cut[step == 29], mask[step == 29] == 1)
