"""Collecting that is broken off, by several processes, and with policies of one's own: as a user runs it."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from runs import Commands
from waiting import until

from warmloop.data.formats import load_episodes

COMMAND = [sys.executable, "-m", "warmloop.launch.collect"]
LAB = """
import time
from pathlib import Path
import numpy as np

HELD = Path(__file__).with_name("held")

class Slow:
    '''Random actions; begins no episode while so many as `held` says are on disk.'''
    def __init__(self, environment):
        self.size = environment.spec.action_dim
    def begin(self, seed):
        while HELD.exists() and len(list(HELD.parent.glob(".*.part/0*"))) >= int(HELD.read_text() or 0):
            time.sleep(0.01)
        self.generator = np.random.default_rng(seed)
    def __call__(self, observation, step):
        time.sleep(0.01)
        return self.generator.uniform(-1, 1, self.size)

def fails_in_the_end(observation):
    assert observation[0] < 0.9, "the arm points up"
    return [1.0]
"""
FLAGS = ("--env=Pendulum-v1", "--policy=lab:Slow", "--episodes=24", "--horizon=6", "--noise=0:0.4", "--success=reward>=-5")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "lab.py").write_text(LAB)
    return tmp_path


def collect(folder: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *flags], capture_output=True, text=True, timeout=200, cwd=folder)


def finished(parts: Path) -> list[str]:
    return sorted(path.name for path in parts.glob("0*")) if parts.exists() else []


def break_off(folder: Path, out: str, *flags: str, by: signal.Signals, after: int) -> tuple[int, str, list[str]]:
    """Starts the command, sends it a signal once so many attempts are on disk; its exit code, stderr, and what was on disk then."""
    parts, held = folder / f".{out}.part", folder / "held"
    held.write_text(str(after))
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([*COMMAND, *flags, f"--out={out}"], cwd=folder, **pipes) as process:
        until(lambda: len(finished(parts)) >= after, process=process)
        there = finished(parts)
        process.send_signal(by)
        held.unlink()
        _, error = process.communicate(timeout=120)  # comes only once the workers, which hold stderr too, are gone
    return process.returncode, error, there


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "more"), [(1, ()), (2, ("--success_only",))], ids=["one worker", "two workers, successes only"])
def test_after_a_kill_the_same_command_goes_on_and_writes_the_same_file(folder: Path, workers: int, more: tuple[str, ...]):
    whole = collect(folder, *FLAGS, *more, "--out=whole.npz")
    assert whole.returncode == 0, whole.stderr
    flags = (*FLAGS, *more, f"--workers={workers}")
    for after in (4, 11):
        code, _, there = break_off(folder, "killed.npz", *flags, by=signal.SIGKILL, after=after)
        assert code == -signal.SIGKILL and len(there) >= after and not (folder / "killed.npz").exists()
        assert set(there) <= set(finished(folder / ".killed.npz.part"))
    over = len(finished(folder / ".killed.npz.part"))
    done = collect(folder, *flags, "--out=killed.npz")
    assert done.returncode == 0, done.stderr
    assert f"{over} finished attempts are in .killed.npz.part; continuing from there" in done.stderr
    assert (folder / "killed.npz").read_bytes() == (folder / "whole.npz").read_bytes()
    assert done.stdout == whole.stdout.replace("whole", "killed")
    assert not (folder / ".killed.npz.part").exists()


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.slow
def test_an_interrupted_set_is_written_as_far_as_it_goes_and_goes_on_with_overwrite(folder: Path, workers: int):
    flags = (*FLAGS, f"--workers={workers}")
    code, error, there = break_off(folder, "some.npz", *flags, by=signal.SIGINT, after=5)
    written = load_episodes(folder / "some.npz")
    assert code == 130 and "Traceback" not in error and error.endswith("interrupted\n")
    assert f"some.npz has {len(written)} of 24 episodes; the same command with --overwrite continues" in error
    assert len(there) <= len(written) < 24
    refused = collect(folder, *flags, "--out=some.npz")
    assert refused.returncode == 2 and "some.npz exists" in refused.stderr
    done = collect(folder, *flags, "--out=some.npz", "--overwrite")
    assert done.returncode == 0 and "continuing from there" in done.stderr, done.stderr
    assert collect(folder, *FLAGS, "--out=whole.npz").returncode == 0
    assert (folder / "some.npz").read_bytes() == (folder / "whole.npz").read_bytes()


@pytest.mark.slow
def test_other_settings_are_refused_by_name_and_begin_anew_with_overwrite(folder: Path):
    break_off(folder, "set.npz", *FLAGS, by=signal.SIGKILL, after=2)
    refused = collect(folder, *FLAGS, "--seed=1", "--out=set.npz")
    assert refused.returncode == 2 and "its seed was 0 and is now 1" in refused.stderr
    (folder / "lab.py").write_text(LAB + "# another policy")
    refused = collect(folder, *FLAGS, "--out=set.npz")
    assert refused.returncode == 2 and "its identity was" in refused.stderr
    done = collect(folder, *FLAGS, "--seed=1", "--episodes=3", "--out=set.npz", "--overwrite")
    assert done.returncode == 0 and "going on" not in done.stderr
    assert len(load_episodes(folder / "set.npz")) == 3


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_policy_that_fails_is_one_sentence_and_costs_no_finished_episode(folder: Path, workers: int):
    flags = ("--env=Pendulum-v1", "--policy=lab:fails_in_the_end", "--episodes=400", "--horizon=8", f"--workers={workers}")
    done = collect(folder, *flags, "--out=some.npz")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    line = 1 + LAB[: LAB.index("assert")].count("\n")
    assert last.startswith("error: Attempt ") and f"AssertionError: the arm points up (lab.py, line {line})" in last
    episodes = load_episodes(folder / "some.npz")
    assert len(episodes) == len(finished(folder / ".some.npz.part")) and f"has {len(episodes)} of 400 episodes" in done.stderr


@pytest.mark.long
def test_a_folder_of_minari_is_replaced_only_by_a_new_one(folder: Path):
    flags = ("--env=Pendulum-v1", "--policy=random", "--horizon=5", "--out=pendulum-v0", "--overwrite")
    assert collect(folder, *flags, "--episodes=2").returncode == 0
    done = collect(folder, *flags, "--episodes=3")
    assert done.returncode == 0, done.stderr
    assert len(load_episodes(folder / "pendulum-v0")) == 3
    assert sorted(path.name for path in folder.iterdir()) == ["lab.py", "pendulum-v0"]


@pytest.mark.slow
def test_a_checkpoint_gives_the_same_set_to_one_worker_and_to_two(commands: Commands, demos: Path):
    warm = commands.run("train_offline_warmup", "--exp_name=warm", f"--offline_data_path=demos={demos}", "--warmup_steps=20")
    assert warm.returncode == 0, warm.stderr
    flags = ("--env=Pendulum-v1", "--policy=checkpoint:warm/warmup", "--episodes=4", "--horizon=12")
    names = {"one": (), "two": ("--workers=2",), "mode": ("--deterministic",)}
    for name, more in names.items():
        done = collect(commands.folder, *flags, *more, f"--out={name}.npz")
        assert done.returncode == 0, done.stderr
    files = {name: (commands.folder / f"{name}.npz").read_bytes() for name in names}
    assert files["one"] == files["two"] != files["mode"]


@pytest.mark.slow  # since each of its five processes imports PyTorch
def test_a_policy_of_stable_baselines3_is_collected_by_two_workers_as_by_one(folder: Path):
    sb3 = pytest.importorskip("stable_baselines3", reason="Stable-Baselines3 is not installed (extra [sb3])")
    model = sb3.PPO("MlpPolicy", "Pendulum-v1", n_steps=64, batch_size=32, policy_kwargs={"net_arch": [8]}, seed=0, device="cpu")
    model.learn(128)
    model.save(folder / "ppo.zip")
    flags = ("--env=Pendulum-v1", "--episodes=4", "--horizon=12")
    for name, more in {
        "one": ("--policy=sb3:ppo.zip",),
        "two": ("--policy=sb3:ppo.zip", "--workers=2"),
        "bare": ("--policy=ppo.zip",),
    }.items():
        done = collect(folder, *flags, *more, f"--out={name}.npz")
        assert done.returncode == 0, done.stderr
    assert (folder / "one.npz").read_bytes() == (folder / "two.npz").read_bytes()
    assert [len(episode) for episode in load_episodes(folder / "bare.npz")] == [12] * 4


@pytest.mark.long
def test_without_stable_baselines3_one_sentence_says_how_to_get_it(folder: Path, monkeypatch):
    (folder / "model.zip").write_bytes(b"PK")
    (folder / "stable_baselines3.py").write_text("raise ImportError('not here')")
    monkeypatch.setenv("PYTHONPATH", str(folder))  # which comes before where it is installed
    done = collect(folder, "--env=Pendulum-v1", "--policy=sb3:model.zip", "--out=x.npz")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "needs Stable-Baselines3 (not here); run `pip install 'warmloop[sb3]'`" in done.stderr
