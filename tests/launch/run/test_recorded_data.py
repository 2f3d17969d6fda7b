"""Several data sets with names and units of their own, through the commands: warm-up, fine-tuning, and what is refused."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from runs import SMALL, Commands, sentence

from warmloop.actor.environment.environment import EnvironmentConfig, make_environment
from warmloop.actor.episodes.rollout import run_episode
from warmloop.actor.policies.policy import RandomPolicy
from warmloop.data.action_limits import ActionLimits
from warmloop.data.formats import load_episodes
from warmloop.data.formats.npz import own_metadata
from warmloop.launch.judging.judge import Subject
from warmloop.launch.starting.processes import free_port
from warmloop.learner.checkpoints import complete_checkpoints

GUIDE = Path(__file__).resolve().parents[3] / "docs" / "data.md"
TORQUES = (-1.5, 1.25)  # the range that the logs keep to, of the pendulum's ±2


class Guided(Commands):
    """Commands with the configuration file of the guide instead of the preset."""

    def line(self, module, *arguments):
        return [part if part != SMALL[0] else "--config=my_pendulum.py" for part in super().line(module, *arguments)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A robomimic file with two observation arrays and actions in [-1, 1], an .npz file with another order, a second action column
    and torques in Nm, and the guide's configuration file, as it stands there."""
    folder = tmp_path_factory.mktemp("sources")
    (folder / "my_pendulum.py").write_text(re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)[0])
    environment = make_environment(EnvironmentConfig("Pendulum-v1", success="reward>=-0.01"))
    demos, *logs = [run_episode(environment, RandomPolicy(1), seed).steps for seed in range(3)]
    with h5py.File(folder / "demos.hdf5", "w") as file:
        for name, observation in (("obs", demos.observation), ("next_obs", demos.next_observation)):
            file[f"data/demo_0/{name}/angle"], file[f"data/demo_0/{name}/velocity"] = observation[:, :2], observation[:, 2:]
            file[f"data/demo_0/{name}/unused"] = np.zeros((len(observation), 2))
        for name, values in (("actions", demos.action / 2), ("rewards", demos.reward), ("dones", demos.mask == 0)):
            file[f"data/demo_0/{name}"] = values
    torques = np.clip(2 * np.concatenate([steps.action for steps in logs]), *TORQUES)
    columns = {
        f"{side}observations/state": np.concatenate([getattr(steps, f"{side}observation") for steps in logs])[:, [2, 0, 1]]
        for side in ("", "next_")
    }
    np.savez(
        folder / "logs.npz",
        actions=np.concatenate([np.full_like(torques, 9.0), torques], axis=1),
        rewards=np.concatenate([steps.reward for steps in logs]),
        episode_ids=np.repeat([0, 1], [len(steps.reward) for steps in logs]),
        **columns,
    )
    np.save(folder / "torques.npy", torques)
    return folder


def warmed_up(folder: Path, name: str, *arguments: str) -> tuple[Path, str]:
    more = ("--config.retention.ratio=1.0", "--config.warmup_agent.batch_size=8")
    done = Guided(folder).run("train_offline_warmup", f"--exp_name={name}", "--warmup_steps=20", *more, *arguments)
    assert done.returncode == 0, done.stderr
    return folder / name / "warmup", done.stderr


@pytest.fixture(scope="module")
def limited(folder) -> tuple[Path, str]:
    """A warm-up whose action limits were taken from the data, and what it said."""
    return warmed_up(folder, "limited", "--config.data.action_scaling=data")


def environment_of(run: Path) -> dict:
    return json.loads((run / "config.json").read_text())["environment"]


@pytest.mark.slow
def test_the_guide_s_configuration_warms_up_on_both_files_and_fine_tunes_from_what_was_kept(folder):
    warm, said = warmed_up(folder, "guide")
    assert "3 episodes, 600 steps" in said
    saved, meta = json.loads((folder / "guide" / "config.json").read_text()), complete_checkpoints.newest(warm).meta
    assert {name: saved[name] for name in meta["config"]} == meta["config"] and saved["seed"] == meta["seed"] == 0
    assert [source["path"] for source in saved["data"]["sources"]] == ["demos.hdf5", "logs.npz"]
    assert saved["environment"]["action_low"] == []
    kept = load_episodes(warm / "filtered_demos.npz")
    torques = np.load(folder / "torques.npy").reshape(-1)
    assert [len(episode) for episode in kept] == [200, 200, 200]
    assert [episode.steps.quality[0] for episode in kept] == [2.0, 1.0, 1.0], "a source's weight goes with its rows"
    assert np.array_equal(2 * np.concatenate([episode.steps.action for episode in kept[1:]])[:, 0], torques), "scaled once"
    assert all(np.allclose(np.hypot(*episode.steps.observation[:, :2].T), 1, atol=1e-6) for episode in kept), "cosine and sine in front"
    done = Guided(folder).run(
        "train_rlpd", "--exp_name=guided", f"--checkpoint_path={warm}", f"--demo_path={warm}/filtered_demos.npz", "--online_steps=210"
    )
    assert done.returncode == 0, done.stderr
    assert complete_checkpoints.newest(folder / "guided" / "checkpoints").meta["rows"] == 210


@pytest.mark.slow
def test_limits_of_the_data_are_said_saved_and_taken_over_by_the_fine_tuning(folder, limited):
    warm, said = limited
    low, high = TORQUES
    assert "actions -1 to 1 are [-1.5] to [1.25], from the data" in said and "action_high=(1.25,)" in said
    recorded = environment_of(folder / "limited")
    assert (recorded["action_low"], recorded["action_high"]) == ([low], [high])
    kept = load_episodes(warm / "filtered_demos.npz")
    scaled = np.concatenate([episode.steps.action for episode in kept[1:]])[:, 0].astype(np.float64)
    assert (scaled.min(), scaled.max()) == (-1, 1)
    assert np.allclose(low + (scaled + 1) / 2 * (high - low), np.load(folder / "torques.npy")[:, 0], atol=1e-6)
    demos = (f"--checkpoint_path={warm}", f"--demo_path={warm}/filtered_demos.npz", "--config.data.action_scaling=data")
    done = Guided(folder).run("train_rlpd", "--exp_name=tuned", *demos, "--online_steps=210")
    assert done.returncode == 0, done.stderr
    meta = complete_checkpoints.newest(folder / "tuned" / "checkpoints").meta
    assert environment_of(folder / "tuned") == recorded == meta["config"]["environment"]
    done = Guided(folder).run("train_rlpd", "--exp_name=tuned", "--resume", "--online_steps=220")
    assert done.returncode == 0, done.stderr
    assert environment_of(folder / "tuned") == recorded


@pytest.mark.slow
def test_a_warm_up_that_goes_on_keeps_its_limits(folder, limited):
    warm, _ = limited
    shutil.copytree(warm, folder / "again")
    more = ("--resume", "--config.data.action_scaling=limits", f"--checkpoint_path={folder}/again", "--warmup_steps=25")
    warmed_up(folder, "again-run", *more)
    assert environment_of(folder / "again-run")["action_high"] == [TORQUES[1]]


@pytest.mark.slow
def test_a_warm_up_by_the_environment_s_limits_does_not_go_on_by_the_data_s(folder):
    warm, _ = warmed_up(folder, "own-limits")
    more = ("--exp_name=own-limits", "--resume", "--warmup_steps=25", "--config.data.action_scaling=data")
    said = sentence(Guided(folder).run("train_offline_warmup", *more))
    assert f"{warm} acts within the limits of the action space" in said and "[-1.5] to [1.25]; set neither" in said


@pytest.mark.long
def test_other_limits_than_the_checkpoint_s_are_refused_with_the_flags_to_set(folder, limited):
    other = ("--config.environment.action_low=(-1,)", "--config.environment.action_high=(1,)")
    said = sentence(Guided(folder).run("train_rlpd", "--exp_name=other", f"--checkpoint_path={limited[0]}", *other))
    assert "acts within [-1.5] to [1.25]" in said and "say [-1] to [1]" in said
    assert "set '--config.environment.action_low=(-1.5,)' '--config.environment.action_high=(1.25,)'" in said


@pytest.mark.slow
def test_an_actor_without_the_limits_is_refused_with_the_flags_and_with_them_it_acts(folder, limited):
    port = free_port()
    learner = Guided(folder).start(
        "train_rlpd", "--exp_name=pair", "--learner", f"--port={port}", f"--checkpoint_path={limited[0]}", "--online_steps=250"
    )
    try:
        actor = ("--exp_name=beside", "--actor", f"--port={port}")
        said = sentence(Guided(folder).run("train_rlpd", *actor))
        assert "action limits are [-1.5] to [1.25] and the actor's the action space's own; start the actor with" in said
        flags = re.findall(r"'(--config\.environment\.action_\S+)'", said)
        assert len(flags) == 2
        done = Guided(folder).run("train_rlpd", *actor, *flags)
        assert done.returncode == 0, done.stderr
        assert learner.wait(200) == 0
    finally:
        learner.kill()


@pytest.mark.long
def test_what_a_policy_with_limits_records_and_shows_is_within_them(folder, limited):
    line = [sys.executable, "-m", "warmloop.launch.collect", f"--policy=checkpoint:{limited[0]}", "--env=Pendulum-v1", "--horizon=20"]
    done = subprocess.run([*line, "--episodes=1", f"--out={folder}/own.npz"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert own_metadata(folder / "own.npz")["action_limits"] == [[TORQUES[0]], [TORQUES[1]]]
    subject = Subject(checkpoint=limited[0], environment="Pendulum-v1")
    assert subject.load()[0].limits == ActionLimits([TORQUES[0]], [TORQUES[1]])


@pytest.mark.slow
def test_local_hands_the_limits_to_its_actors(folder, limited):
    done = Guided(folder).run("local", "--actors=1", "--exp_name=local", f"--checkpoint_path={limited[0]}", "--online_steps=250")
    assert done.returncode == 0, done.stderr
    assert environment_of(folder / "local")["action_low"] == [TORQUES[0]]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--config.data.action_scaling=none",), ("logs.npz", "`actions` run from -1.5 to 1.25", "action_scaling")),
        (
            ("--config.environment.action_low=(-1,)", "--config.environment.action_high=(1,)"),
            ("logs.npz, episode 1", "action 0 runs from -1.5 to 1.25", "-1 and 1", "--config.data.action_scaling=data"),
        ),
        (("--offline_data_path=random=logs.npz",), ("logs.npz does not fit the environment: Pendulum-v1 has 1 action dimensions", "2")),
        (("--config.data.action_scaling=limit",), ("data.action_scaling", 'did you mean "limits"')),
        (("--config.data.action_scalin=limits",), ("action_scaling",)),
        (("--config.environment.action_low=(-3,)", "--config.environment.action_high=(1,)"), ("beyond the action space",)),
    ],
)
def test_what_does_not_fit_is_refused_before_any_training(folder, arguments, says):
    said = sentence(Guided(folder).run("train_offline_warmup", "--exp_name=refused", *arguments))
    for part in says:
        assert part in said
    assert not (folder / "refused" / "warmup").exists()


@pytest.mark.slow
def test_a_fine_tuning_without_a_warm_up_learns_from_the_configuration_s_sources(folder):
    done = Guided(folder).run("train_rlpd", "--exp_name=scratch", "--online_steps=205")
    assert done.returncode == 0, done.stderr
    meta = complete_checkpoints.newest(folder / "scratch" / "checkpoints").meta
    assert meta["offline_rows"] == 600 + meta["config"]["replay"]["intervention_rows"]
    said = sentence(Guided(folder).run("train_rlpd", "--exp_name=bare", "--config.data.action_scaling=data"))
    assert "takes the limits in a warm-up" in said and "'--config.environment.action_low=(-1.5,)'" in said


@pytest.mark.slow
def test_a_warm_up_on_a_file_that_marks_no_ends_warns_of_it(tmp_path, demos):
    with np.load(demos) as file:
        np.savez(tmp_path / "endless.npz", **{name: file[name] for name in ("observations", "actions", "rewards")})
    done = Commands(tmp_path).run("train_offline_warmup", "--exp_name=endless", "--offline_data_path=endless.npz", "--warmup_steps=10")
    assert done.returncode == 0, done.stderr
    assert "endless.npz: an episode has 599 steps, and the environment cuts them after 200" in done.stderr
    assert "mark the last step of each, in `timeouts` or `terminals`" in done.stderr
