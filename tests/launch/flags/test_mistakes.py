"""What a user can get wrong: one clear sentence, exit code 2, and nothing done."""

import pickle
import socket
from pathlib import Path

import numpy as np
import pytest
from runs import Commands, sentence

from warmloop.launch.starting.processes import free_port


class Evil:
    def __init__(self, canary: Path):
        self.canary = canary

    def __reduce__(self):
        return Path.touch, (self.canary,)


def corrupt(path: Path, demos: Path) -> Path:
    path.write_bytes(demos.read_bytes()[:2000])
    return path


def with_nan(path: Path, demos: Path) -> Path:
    with np.load(demos) as file:
        arrays = dict(file)
    arrays["observations"][250, 1] = np.nan
    np.savez(path, **arrays)
    return path


def malicious(path: Path, demos: Path) -> Path:
    path.write_bytes(pickle.dumps([{"observations": Evil(path.with_suffix(".canary"))}]))
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "name", "says"),
    [
        (lambda path, demos: path, "absent.npz", ("absent.npz", "no")),
        (corrupt, "corrupt.npz", ("corrupt.npz",)),
        (with_nan, "nan.npz", ("nan.npz", "observations", "episode 1")),
        (malicious, "evil.pkl", ("evil.pkl", "pathlib")),
    ],
)
def test_bad_data_are_refused_before_any_training(commands, demos, make, name, says):
    path = make(commands.folder / name, demos)
    said = sentence(commands.run("train_offline_warmup", "--exp_name=bad", f"--offline_data_path=demos={path}"))
    for part in says:
        assert part in said
    assert not list(commands.folder.glob("*.canary"))
    assert not (commands.folder / "bad" / "warmup").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--exp_nam=x",), "exp_name"),
        (("--exp_name=x", "--config.agent.utdd=4"), '--config.agent has no setting "utdd"; did you mean "utd"?'),
        (("--exp_name=x", "--config.learner.eval_every=0"), '--config.learner has no setting "eval_every"; '),
        (("--exp_name=x", "--config.lerner.log_every=9"), '--config has no setting "lerner"; did you mean "learner"?'),
        (("--exp_name=x", "--config.zzz=9"), '--config has no setting "zzz"; there are environment, reward, agent, '),
        (("--exp_name=x", "--config.learner.log_every.x", "9"), "--config.learner.log_every has no settings of its own"),
        (("--exp_name=x", "--config.agent.hidden[7]=9"), "--config: tuple index out of range"),
        (("--exp_name=x", "--config.agent.utd=many"), "utd"),
        (("--exp_name=x", "--config.agent.target_subset=20"), "target_subset"),
        (("--exp_name=x", "--config.agent.utd=2"), "trains warmup_agent, not agent: write --config.warmup_agent.utd, or both."),
        (("--exp_name=x", "--config=configs/adroid.py:door"), "configs/adroit.py"),
        (("--exp_name=x", "--config=configs/adroit.py:dor"), "door"),
        (("--exp_name=x", "--config=configs/adroit.py:door,wsrll"), "wsrl"),
        (("--exp_name=a/b",), "exp_name"),
        (("stray",), "stray"),
        (("--exp_name=x", "--warmup_steps=9", "--config.learner.warmup_steps=8"), "--config.learner.warmup_steps set the same; leave one"),
        (("--exp_name=x", "--config.environment.success=operator", "--eval_n_trajs=5"), "--eval_n_trajs=5 would count no success"),
    ],
)
def test_a_mistaken_flag_or_setting_is_named_with_its_near_match(commands, demos, arguments, says):
    said = sentence(commands.run("train_offline_warmup", f"--offline_data_path={demos}", *arguments))
    assert says in said


@pytest.mark.long
def test_a_setting_of_the_other_agent_alone_is_named_as_none_of_the_one_that_warms_up(tmp_path, demos):
    commands = Commands(tmp_path, ("--config=configs/classic.py:pendulum,iql,then_sac", "--config.agent.backup_entropy=True"))
    said = sentence(commands.run("train_offline_warmup", "--exp_name=x", f"--offline_data_path={demos}"))
    assert "warmup_agent (iql), which has no backup_entropy: leave --config.agent.backup_entropy to train_rlpd." in said


@pytest.mark.long
def test_data_of_another_environment_are_refused_with_the_difference(commands, demos):
    arguments = ("--exp_name=x", f"--offline_data_path={demos}", "--config.environment.id=MountainCarContinuous-v0")
    said = sentence(commands.run("train_offline_warmup", *arguments))
    assert "MountainCarContinuous-v0" in said and "(2,)" in said and "(3,)" in said


@pytest.mark.long
@pytest.mark.parametrize(("module", "flag"), [("train_rlpd", "--port"), ("local", "--config.learner.port")])
def test_a_busy_port_is_said(commands, module, flag):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        said = commands.run(module, "--exp_name=x", *(["--learner"] if module == "train_rlpd" else []), f"{flag}={port}")
    assert said.returncode and str(port) in said.stderr


@pytest.mark.long
def test_an_actor_of_another_environment_is_refused_by_the_learner(commands):
    port = free_port()
    learner = commands.start("train_rlpd", "--exp_name=x", "--learner", f"--port={port}")
    try:
        done = commands.run("train_rlpd", "--exp_name=y", "--actor", f"--port={port}", "--config.environment.id=MountainCarContinuous-v0")
        assert "MountainCarContinuous-v0" in sentence(done)
    finally:
        learner.terminate()
        assert learner.wait(200) == 0


@pytest.mark.long
def test_an_actor_without_a_learner_waits_and_then_says_so(commands):
    done = commands.run("train_rlpd", "--exp_name=x", "--actor", "--port=1", "--config.actor.patience=2.0")
    assert "not answered" in sentence(done)


@pytest.mark.long
def test_both_roles_at_once_are_refused(commands):
    assert "--learner and --actor" in sentence(commands.run("train_rlpd", "--exp_name=x", "--learner", "--actor"))


@pytest.mark.long
def test_a_setting_that_two_flags_say_is_refused(commands):
    given = ("--exp_name=x", "--online_steps=9", "--config.learner.online_steps=8")
    assert "--online_steps and --config.learner.online_steps set the same" in sentence(commands.run("train_rlpd", *given))
