"""A base policy that is improved, by the commands: cloned, asked on recorded and on live episodes, edited, judged and exported."""

import json
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
from runs import SIZES, Commands, sentence

from warmloop.actor.environment.environment import EnvironmentConfig, make_environment
from warmloop.configs import load
from warmloop.configs.rows import row_settings
from warmloop.configs.schema import to_dict
from warmloop.data.errors import WarmloopError
from warmloop.data.formats import load_episodes
from warmloop.data.formats.npz import own_metadata
from warmloop.data.transition import BASE
from warmloop.launch.flags.choices import base_policy, choose_policy, pinned_environment
from warmloop.learner.checkpoints import complete_checkpoints

PENDULUM = EnvironmentConfig("Pendulum-v1", horizon=20)
EDIT = ("--config=configs/classic.py:pendulum,edit", *SIZES, "--config.agent.utd=1", "--config.warmup_agent.utd=1")


def run(folder, module, *arguments):
    """A command without a configuration of its own; what it printed."""
    line = [sys.executable, "-m", f"warmloop.launch.{module}", *arguments]
    done = subprocess.run(line, capture_output=True, text=True, timeout=400, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A clone of random play, to be improved, and that play."""
    folder = tmp_path_factory.mktemp("base")
    clones = Commands(folder, ("--config=configs/classic.py:pendulum,bc", *SIZES))
    run(folder, "collect", "--env=Pendulum-v1", "--policy=random", "--episodes=2", "--horizon=60", "--out=play.npz")
    done = clones.run("train_offline_warmup", "--exp_name=clone", "--warmup_steps=20", "--offline_data_path=random=play.npz")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def warm(folder):
    """A warm-up of the edit over the clone, and what it said."""
    base = f"--config.environment.base=checkpoint:{folder / 'clone' / 'warmup'}"
    commands = Commands(folder, (*EDIT, base))
    done = commands.run("train_offline_warmup", "--exp_name=edit", "--warmup_steps=30", "--offline_data_path=random=play.npz")
    assert done.returncode == 0, done.stderr
    return commands, done.stderr


@pytest.mark.long
def test_a_warm_up_asks_the_base_once_and_keeps_what_it_said(folder, warm):
    _, said = warm
    assert re.search(r"asking checkpoint:\S+,sha256=\w{16} what it would have done in 2 recorded episodes, 120 steps", said)
    kept = load_episodes(folder / "edit" / "warmup" / "filtered_demos.npz")
    name = json.loads((folder / "edit" / "config.json").read_text())["environment"]["base"]
    assert own_metadata(folder / "edit" / "warmup" / "filtered_demos.npz")["base"] == name
    environment = make_environment(EnvironmentConfig("Pendulum-v1"))
    clone = choose_policy(f"checkpoint:{folder / 'clone' / 'warmup'}", deterministic=True)(environment)
    clone.begin(0)
    for episode in kept:
        expected = [clone(seen, step) for step, seen in enumerate(episode.steps.observation["state"])]
        np.testing.assert_allclose(episode.steps.observation[BASE], expected, atol=1e-5)


@pytest.mark.long
def test_it_is_fine_tuned_judged_and_exported(folder, warm):
    commands, _ = warm
    demos = ("--checkpoint_path=edit/warmup", "--demo_path=edit/warmup/filtered_demos.npz")
    done = commands.run("train_rlpd", "--exp_name=edit", *demos, "--online_steps=210")
    assert done.returncode == 0 and "asking" not in done.stderr, done.stderr
    saved = complete_checkpoints.newest(folder / "edit" / "checkpoints")
    assert saved.meta["rows"] == 210 and saved.meta["agent"]["name"] == "edit"
    assert json.loads(run(folder, "evaluate", "--checkpoint=edit/checkpoints", "--episodes=1", "--json"))["episodes"] == 1
    run(folder, "export", "--checkpoint=edit/checkpoints", "--out=policy")
    assert set(json.loads((folder / "policy" / "policy.json").read_text())["observation"]) == {BASE, "state"}
    shown = run(folder, "evaluate", "--policy=export:policy", "--config=edit/config.json", "--episodes=1", "--json")
    assert json.loads(shown)["episodes"] == 1


@pytest.mark.slow
def test_a_learner_and_actors_in_processes_of_their_own_agree_on_the_base(folder, warm):
    commands, _ = warm
    demos = ("--checkpoint_path=edit/warmup", "--demo_path=edit/warmup/filtered_demos.npz")
    process = commands.start("local", "--exp_name=apart", *demos, "--online_steps=420", "--actors=1", group=True)
    try:
        assert process.wait(timeout=300) == 0, "\n".join(path.read_text() for path in folder.glob("local-*.log"))
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert complete_checkpoints.newest(folder / "apart" / "checkpoints").meta["rows"] == 420


@pytest.mark.long
def test_the_preset_without_a_base_says_how_to_name_one(tmp_path):
    np.savez(tmp_path / "play.npz", observations=np.zeros((4, 3)), actions=np.zeros((4, 1)), rewards=np.zeros(4), terminals=[0, 0, 0, 1])
    done = Commands(tmp_path, EDIT).run("train_offline_warmup", "--exp_name=edit", "--warmup_steps=2", "--offline_data_path=play.npz")
    assert "--config.environment.base=checkpoint:" in sentence(done)


def test_the_preset_is_one_agent_for_both_phases_and_goes_with_small():
    for name in ("configs/adroit.py:door,edit", "configs/metaworld.py:door-open,edit,small", "configs/classic.py:pendulum,edit"):
        config = load(name)
        assert config.agent.name == config.warmup_agent.name == "edit" and config.agent == config.warmup_agent
    assert load("configs/adroit.py:door,edit,small").agent.settings.hidden == (128, 128)


def test_rows_agree_on_what_the_base_is_and_not_where_it_lies():
    def base_of(name):
        return dict(row_settings(load("configs/classic.py:pendulum").replace(environment={"base": name}))).get("environment.base")

    assert base_of("checkpoint:here,sha256=ab") == base_of("checkpoint:/else/where,sha256=ab") != base_of("checkpoint:here,sha256=cd")
    assert base_of("socket:a:1") == base_of("socket:b:2") != base_of("my:policy")
    assert base_of("") is None
    assert to_dict(load("configs/classic.py:pendulum"))["environment"]["base"] == ""


def test_a_base_that_changed_since_is_refused(tmp_path, monkeypatch):
    (tmp_path / "own_base_policy.py").write_text("def push(observation):\n    return observation[:1]\n")
    monkeypatch.syspath_prepend(tmp_path)
    pinned = pinned_environment(EnvironmentConfig("Pendulum-v1", base="own_base_policy:push"))
    assert re.fullmatch(r"own_base_policy:push,sha256=\w{16}", pinned.base) and pinned_environment(pinned) == pinned
    made = base_policy(pinned.base, deterministic=True)(make_environment(PENDULUM))
    made.begin(0)
    np.testing.assert_array_equal(made(np.array([0.5, 0, 0], np.float32), 0), [0.5])
    (tmp_path / "own_base_policy.py").write_text("def push(observation):\n    return -observation[:1]\n")
    with pytest.raises(WarmloopError, match="own_base_policy:push is another policy now"):
        base_policy(pinned.base, deterministic=True)
