"""The collect command, run as a user runs it."""

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from warmloop.actor.environment.environment import EnvironmentConfig, make_environment
from warmloop.actor.episodes.rollout import EpisodePlan, run_episode
from warmloop.actor.policies.experts import scripted_policy
from warmloop.actor.policies.policy import NoisyPolicy
from warmloop.actor.seeds import COLLECTION_STREAM, episode_seed
from warmloop.data.formats import load_episodes

COMMAND = [sys.executable, "-m", "warmloop.launch.collect"]


def collect(*flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *flags], capture_output=True, text=True, timeout=300)


@pytest.mark.long
def test_a_noisy_expert_is_recorded_as_it_acts(tmp_path: Path):
    out = tmp_path / "new" / "demos.npz"
    done = collect("--env=Meta-World/reach-v3", "--episodes=2", "--noise=0.3", "--horizon=90", "--seed=5", f"--out={out}")
    assert done.returncode == 0, done.stderr
    assert "success      2 of 2 attempted (100%)" in done.stdout and f"written      {out}" in done.stdout
    environment = make_environment(EnvironmentConfig("Meta-World/reach-v3", horizon=90))
    policy = NoisyPolicy(scripted_policy(environment), 0.3)
    episodes = load_episodes(out)
    assert len(episodes) == 2
    for number, episode in enumerate(episodes):
        expected = run_episode(environment, policy, episode_seed(5, COLLECTION_STREAM, number), EpisodePlan(stop_at_success=True))
        for name in ("observation", "action", "reward", "next_observation", "mask", "truncated"):
            np.testing.assert_array_equal(getattr(episode.steps, name), getattr(expected.steps, name), err_msg=name)
        np.testing.assert_array_equal(episode.success, expected.success)


def test_a_configuration_names_the_environment(tmp_path: Path):
    out = tmp_path / "random.npz"
    done = collect("--config=configs/metaworld.py:reach", "--policy=random", "--episodes=1", "--horizon=7", f"--out={out}")
    assert done.returncode == 0, done.stderr
    assert [len(episode) for episode in load_episodes(out)] == [7]


LAMPS = """
from warmloop.actor.environment import EnvironmentConfig
from warmloop.configs.schema import RunConfig, to_config_dict

def get_config():
    kwargs = {"success_at": 3, "script": ((False, False),) * 20}
    return to_config_dict(RunConfig(EnvironmentConfig("lamps:WarmloopTest/Lamps-v0", kwargs, unseen=("front",))))
"""


@pytest.mark.long
def test_a_labelled_set_has_the_pictures_that_the_policy_does_not_see_and_another_has_not(tmp_path: Path, monkeypatch):
    helpers = Path(__file__).parents[1] / "helpers"
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(helpers), os.environ.get("PYTHONPATH", "")]))
    (tmp_path / "lamps_config.py").write_text(LAMPS)
    common = (f"--config={tmp_path}/lamps_config.py", "--policy=random", "--episodes=2")
    for more, parts in ((("--label",), {"front", "pose"}), ((), {"pose"})):
        done = collect(*common, *more, f"--out={tmp_path}/set{len(more)}.npz")
        assert done.returncode == 0, done.stderr
        for episode in load_episodes(tmp_path / f"set{len(more)}.npz"):
            assert set(episode.steps.observation) == set(episode.steps.next_observation) == parts


@pytest.mark.long
def test_a_labelled_set_goes_on_after_success_and_counts_its_frames(tmp_path: Path):
    out = tmp_path / "frames.npz"
    done = collect("--env=Meta-World/reach-v3", "--episodes=2", "--label", "--after_success=3", f"--out={out}")
    assert done.returncode == 0, done.stderr
    episodes = load_episodes(out)
    success = [np.asarray(episode.success) for episode in episodes]
    assert [len(flags) - int(np.argmax(flags)) for flags in success] == [4, 4]
    shown = sum(int(flags.sum()) for flags in success)
    assert f"frames       {shown} of success, {sum(map(len, episodes)) - shown} of failure" in done.stdout
    refused = collect("--env=Meta-World/reach-v3", "--label", "--nostop_at_success", f"--out={tmp_path}/other.npz")
    assert refused.returncode == 2 and "leave one out" in refused.stderr


@pytest.mark.long
def test_too_few_successes_are_an_error_that_counts_them(tmp_path: Path):
    out = tmp_path / "none.npz"
    done = collect(
        "--env=Meta-World/peg-insert-side-v3", "--policy=random", "--success_only", "--episodes=1", "--horizon=5", f"--out={out}"
    )
    assert done.returncode == 2 and not out.exists()
    assert "error: Only 0 of 10 episodes succeeded" in done.stderr and "nothing is written" in done.stderr


@pytest.mark.long
def test_an_interrupt_keeps_the_episodes_recorded_so_far(tmp_path: Path):
    out = tmp_path / "some.npz"
    flags = ("--env=Pendulum-v1", "--policy=random", "--episodes=1000000", "--horizon=10", f"--out={out}")
    with subprocess.Popen([*COMMAND, *flags], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "collecting: 0 of 1000000\n"
        while not list(tmp_path.glob(".some.npz.part/0*")):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=200)
    assert process.returncode == 130 and "interrupted" in error and "Traceback" not in error
    assert len(load_episodes(out)) >= 1


def children_seconds() -> float:
    """What children that have ended computed; how long they waited for a busy machine is not of it."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_help_is_quick_and_shows_an_example_and_the_flags():
    start = children_seconds()
    done = collect("--help")
    assert done.returncode == 0 and children_seconds() - start < 5
    assert "--policy=scripted --episodes=50" in done.stdout
    assert "--random_share\n" in done.stdout and "--[no]success_only\n" in done.stdout
    assert "verbosity" not in done.stdout


@pytest.mark.long
@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--episods=3",), "Unknown command line flag 'episods'. Did you mean: episodes"),
        (("--episodes=0", "--out=x.npz"), "flag --episodes=0"),
        (("demos.npz",), '"demos.npz" is not a flag; flags are written --name=value.'),
        (("--env=Pendulum-v1",), "Say where to write, as in --out=demos.npz."),
        (("--out={tmp}/x.npz",), "by either --config or --env"),
        (("--out={tmp}/taken.npz", "--env=Pendulum-v1"), "taken.npz exists; choose another --out, or replace it with --overwrite."),
        (("--out={tmp}/taken.npz/x.npz", "--env=Pendulum-v1"), "cannot be written"),
        (("--out={tmp}/x.npz", "--env=Pendulum-v7"), "did you mean Pendulum-v1"),
        (("--out={tmp}/x.npz", "--env=Pendulum-v1"), 'no scripted expert for "Pendulum-v1"'),
        (("--out={tmp}/x.npz", "--env=Pendulum-v1", "--policy=expert"), "must be random, scripted, checkpoint:DIR, export:DIR"),
        (("--out={tmp}/x.npz", "--env=Pendulum-v1", "--policy=nowhere:act"), 'there is no module "nowhere"'),
        (("--out={tmp}/x.npz", "--env=Pendulum-v1", "--policy=sb3:nowhere.zip"), "nowhere.zip does not exist"),
        (("--out={tmp}/x.npz", "--env=Pendulum-v1", "--policy=checkpoint:nowhere"), "There is no checkpoint in"),
        (("--out={tmp}/x.npz", "--env=Pendulum-v1", "--policy=random", "--deterministic"), "for policies that sample their actions"),
        (("--out={tmp}/x.npz", "--env=Pendulum-v1", "--policy=random", "--noise=0.1:"), '--noise is "0.1:"; write one number'),
        (("--out={tmp}/x.npz", "--env=Pendulum-v1", "--policy=random", "--random_share=1"), "at least 0 and below 1"),
        (("--out={tmp}/x.npz", "--env=Pendulum-v7", "--workers=2"), "did you mean Pendulum-v1"),
        (("--out={tmp}/x.csv", "--env=Pendulum-v1", "--policy=random"), "x.csv names no format that is written"),
        (("--out={tmp}", "--env=Pendulum-v1", "--policy=random", "--overwrite"), "is a folder without a data set; it is not replaced"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(tmp_path: Path, flags: tuple[str, ...], message: str):
    (tmp_path / "taken.npz").write_text("")
    done = collect(*(flag.format(tmp=tmp_path) for flag in flags))
    assert done.returncode == 2
    assert message in done.stderr and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["taken.npz"]


@pytest.mark.long
def test_imperfect_demonstrations_of_gym_hil_are_recorded_with_the_presets_environment(tmp_path: Path):
    pytest.importorskip("gym_hil", reason="gym-hil is not installed (extra [robotics])")
    out = tmp_path / "demos.npz"
    done = collect("--config=configs/gym_hil.py:pick-cube", "--episodes=3", "--noise=0.3:0.6", "--random_share=0.1", f"--out={out}")
    assert done.returncode == 0, done.stderr
    episodes = load_episodes(out)
    assert sum(episode.succeeded for episode in episodes) >= 2
    assert {name: leaf.shape[1:] for name, leaf in episodes[0].steps.observation.items()} == {"agent_pos": (18,), "environment_state": (3,)}
