"""`--config.SECTION.SETTING=VALUE` of commands that use a part of a configuration: an effect, or one sentence."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from absl import flags
from ml_collections import config_flags
from runs import sentence

from warmloop.data.errors import WarmloopError
from warmloop.data.formats import load_episodes
from warmloop.launch.flags import overrides
from warmloop.launch.flags.arguments import Base, locate_config, named_environment
from warmloop.launch.judging.judge import Subject, judge
from warmloop.launch.parts.exporting import export_checkpoint
from warmloop.launch.run.compared_environment import find_reference
from warmloop.launch.sweeps.sweeping import runs_of

PENDULUM = "--config=configs/classic.py:pendulum"


def command(folder: Path, verb: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "warmloop", verb, *arguments]
    return subprocess.run(line, capture_output=True, text=True, timeout=300, cwd=folder)


@pytest.fixture
def parsed(monkeypatch) -> Callable[..., None]:
    """Parses arguments as a command does, with a flag --horizon of its own."""

    def parse(*arguments: str, base: Base = named_environment) -> None:
        values = flags.FlagValues()
        config_flags.DEFINE_config_file("config", flag_values=values)
        flags.DEFINE_integer("horizon", None, "", flag_values=values)
        flags.DEFINE_string("env", None, "", flag_values=values)
        argv = locate_config(["collect", *arguments], base)
        monkeypatch.setattr("sys.argv", argv)  # which ml_collections looks through for settings
        values(argv)
        monkeypatch.setattr("warmloop.launch.flags.overrides.flags.FLAGS", values)

    return parse


def test_a_change_has_the_type_of_its_setting_and_is_one_of_the_configuration_or_of_env(parsed):
    parsed(PENDULUM, "--config.environment.horizon=9", "--config.environment.kwargs={'g': 5}", "--noconfig.actor.simulator")
    assert overrides.taken("collect", overrides.PLAYED) == {
        "environment.horizon": 9,
        "environment.kwargs": {"g": 5},
        "actor.simulator": False,
    }
    config = overrides.configured()
    assert config is not None and (config.environment.horizon, config.actor.simulator) == (9, False)
    parsed("--env=Pendulum-v1", "--config.environment.horizon=9")
    assert overrides.changes() == {"environment.horizon": 9} and overrides.configured() is None and overrides.configuration() == ""


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--config.learner.max_utd=2",), r"learner.max_utd would change nothing: of a configuration, collect uses environment, tasks, "),
        (("--config.actor.patience=2",), r"actor.patience would change nothing: .* actor.step_timeout and actor.reset_timeout"),
        (("--config.environment.local_kwargs=('g',)",), "environment.local_kwargs would change nothing: collect does not use this"),
        (("--horizon=9", "--config.environment.horizon=9"), "--horizon and --config.environment.horizon set the same"),
    ],
)
def test_a_change_that_would_be_ignored_is_refused(parsed, arguments, says):
    parsed(PENDULUM, *arguments)
    with pytest.raises(WarmloopError, match=says):
        overrides.taken("collect", overrides.PLAYED, overrides.BETWEEN_TWO, {"environment.horizon": "horizon"})


@pytest.mark.long
def test_a_recording_and_an_inspection_follow_the_changes(tmp_path):
    changed = (PENDULUM, "--config.environment.horizon=9", "--config.environment.kwargs={'g': 0.0}")
    done = command(tmp_path, "collect", *changed, "--policy=random", "--episodes=2", "--out=a.npz")
    assert done.returncode == 0, done.stderr
    episodes = load_episodes(tmp_path / "a.npz")
    assert [len(episode) for episode in episodes] == [9, 9]
    first = episodes[0].steps
    fall = first.next_observation[:, 2] - first.observation[:, 2]  # of the angular velocity, by 3 u dt without gravity
    np.testing.assert_allclose(fall, 0.3 * first.action[:, 0], atol=1e-5)
    shown = command(tmp_path, "inspect", *changed, "a.npz").stdout
    said = "Pendulum-v1, as configs/classic.py:pendulum has it, with environment.horizon=9, with environment.kwargs={'g': 0.0}"
    assert said in " ".join(shown.split())


def test_an_environment_by_its_id_is_compared_with_the_changes():
    reference, said = find_reference("Pendulum-v1", [], {"environment.horizon": 9})
    assert reference is not None and reference.horizon == 9 and said == "Pendulum-v1, with environment.horizon=9"


@pytest.mark.long
@pytest.mark.parametrize(
    ("verb", "arguments", "says"),
    [
        ("collect", ("--config.environment.horizon=9", "--out=b.npz"), "changes a configuration, and none is named"),
        ("collect", ("--env=Pendulum-v1", "--config.environment.horizn=9", "--out=b.npz"), 'no setting "horizn"; did you mean "horizon"'),
        ("collect", ("--env=Pendulum-v1", "--config.environment.horizon=much", "--out=b.npz"), "--config.environment.horizon=much"),
        ("collect", ("--env=Pendulum-v1", "--config.learner.max_utd=2", "--out=b.npz"), "would change nothing"),
        ("evaluate", ("--policy=random", "--config.environment.horizon=9"), "changes a configuration, and none is named"),
        ("inspect", ("a.npz", "--config.environment.horizon=9"), "changes a configuration, and none is named"),
        ("inspect", ("a.npz", PENDULUM, "--env=Pendulum-v1"), "both name what to compare with"),
        ("export", ("--out=policy", "--config.environment.horizon=9"), "changes the configuration of a checkpoint, and none is named"),
        ("merge", ("a.npz", "--out=b.npz", "--config.data.dones=terminal"), "--config.data.dones: this command uses no configuration"),
        ("merge", ("a.npz", "--out=b.npz", "--config=my.py"), "--config: this command uses no configuration"),
        ("sweep", (PENDULUM, "--out=s", "--config.agent.utd=2"), "--config.agent.utd would change nothing: a sweep trains"),
        ("sweep", (PENDULUM, "--out=s", "--warmup_steps=2", "--config.learner.warmup_steps=2"), "set the same"),
    ],
)
def test_a_mistake_is_one_sentence(tmp_path, verb, arguments, says):
    assert says in sentence(command(tmp_path, verb, *arguments))
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_is_judged_with_the_changes_of_its_environment(pendulum_checkpoint, tmp_path):
    done = command(tmp_path, "evaluate", f"--checkpoint={pendulum_checkpoint}", "--config.environment.horizon=7", "--episodes=2", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["mean_length"] == 7
    gone = {"environment.horizon": 7}
    assert judge(Subject(checkpoint=pendulum_checkpoint, environment="Pendulum-v1", changes=gone), 1, 0)["mean_length"] == 7
    assert judge(Subject("random", environment="Pendulum-v1", changes=gone), 1, 0)["mean_length"] == 7


@pytest.mark.long
def test_a_checkpoint_is_exported_with_the_changes_of_its_environment(pendulum_checkpoint, tmp_path):
    changed = ("--config.environment.id=Pendulum-v1", "--config.environment.kwargs={'g': 5.0}")
    done = command(tmp_path, "export", f"--checkpoint={pendulum_checkpoint}", *changed, "--out=policy")
    assert done.returncode == 0 and (tmp_path / "policy" / "policy.json").is_file(), done.stderr


def test_an_environment_that_no_longer_fits_the_checkpoint_is_refused(pendulum_checkpoint, tmp_path):
    changes = {"environment.id": "MountainCarContinuous-v0"}
    with pytest.raises(WarmloopError, match=r"does not fit the environment: .*MountainCarContinuous-v0"):
        export_checkpoint(pendulum_checkpoint, tmp_path / "policy", changes=changes)
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_and_an_export_act_within_their_own_limits(pendulum_checkpoint, tmp_path):
    halved = {"environment.action_low": (-1.0,), "environment.action_high": (1.0,)}
    with pytest.raises(WarmloopError, match=r"acts within the limits of the action space, and environment.action_low and action_high say"):
        Subject(checkpoint=pendulum_checkpoint, changes=halved).load()
    with pytest.raises(WarmloopError, match="of the action space, and environment"):
        export_checkpoint(pendulum_checkpoint, tmp_path / "a", changes=halved)
    export_checkpoint(pendulum_checkpoint, tmp_path / "policy")
    with pytest.raises(WarmloopError, match=r"environment.action_low and action_high say"):
        Subject(f"export:{tmp_path / 'policy'}", environment="Pendulum-v1", changes=halved).load()


@pytest.mark.long
def test_recorded_data_judge_checkpoints_by_the_changes(pendulum_checkpoint, demos, tmp_path):
    common = ("--offline", f"--checkpoint={pendulum_checkpoint}", f"--offline_data_path=demos={demos}")
    few = ("--config.fqe.steps=7", "--config.fqe.hidden=(8,)")
    done = command(tmp_path, "evaluate", *common, *few, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["fqe"]["steps"] == 7
    unused = sentence(command(tmp_path, "evaluate", *common, "--config.environment.success=terminated"))
    assert "environment.success would change nothing: evaluate --offline does not use" in unused
    away = sentence(command(tmp_path, "evaluate", *common, "--environment_absent", "--config.environment.kwargs={'g': 5.0}"))
    assert "environment.kwargs would change nothing" in away


def test_a_sweep_changes_all_of_its_runs():
    changes = {"warmup_agent.utd": 3, "learner.warmup_steps": 5}
    runs = runs_of("configs/classic.py:pendulum", ["bc", "iql"], ["warmup_agent.batch_size=8,16"], {}, 1, changes)
    assert {(run.warmup_agent.settings.utd, run.learner.warmup_steps) for run in runs.values()} == {(3, 5)} and len(runs) == 4
    named = runs_of("configs/classic.py:pendulum", [], [], {}, 1, {"warmup_agent.name": "iql", "warmup_agent.expectile": 0.8})
    assert [run.warmup_agent.settings.expectile for run in named.values()] == [0.8] and list(named) == ["iql"]
    for path in ("warmup_agent.batch_size", "actor.patience", "agent.utd"):
        with pytest.raises(WarmloopError, match=f"--config.{path}"):
            runs_of("configs/classic.py:pendulum", [], ["warmup_agent.batch_size=8,16"], {}, 1, {path: 2})
