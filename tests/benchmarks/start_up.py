"""Measures how long a user waits: for help, and from the start of train_rlpd to its first action and to its first update.

    python tests/benchmarks/start_up.py              # --rounds=5 for more than three

Each run is a process of its own in an empty folder: Pendulum, in lock step, with an update after the first step. "Cold" has an empty folder
for JAX's compiled programs, "warm" the one that the cold run before it has filled. A first update is done when its metrics are on disk.
The files of the packages are in the system's cache. Shown is the median, and in brackets the least and the most. Where another process
takes a share of the machine, the processor's seconds say more than the clock's.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

HELPS = {"warmloop --help": ["warmloop", "--help"], "train_rlpd --help": ["warmloop.launch.train_rlpd", "--help"]}
CONFIGS = {
    "SAC": "configs/classic.py:pendulum",  # 2 critics, an update a step
    "RLPD": "configs/classic.py:pendulum,rlpd",  # 10 critics with LayerNorm, 20 gradient steps an update
}
ENVIRONMENT = """
import pathlib, time
import gymnasium as gym
from gymnasium.envs.classic_control.pendulum import PendulumEnv

class Timed(PendulumEnv):
    def step(self, action):
        if not (noted := pathlib.Path("first_action")).exists():
            noted.write_text(repr(time.time()))
        return super().step(action)

gym.register("Timed-v0", Timed, max_episode_steps=200)
"""
GIVEN = ("JAX_", "XLA_", "PYTHONPATH")  # of whoever measures, and not of a user


def plain(**more: str) -> dict[str, str]:
    """The environment of a user who has set nothing."""
    return {name: value for name, value in os.environ.items() if not name.startswith(GIVEN)} | more


def help_seconds(arguments: list[str]) -> dict[str, float]:
    began, before = time.perf_counter(), processor_seconds()
    subprocess.run([sys.executable, "-m", *arguments], check=True, stdout=subprocess.DEVNULL, env=plain())
    return {"": time.perf_counter() - began, ", processor": processor_seconds() - before}


def processor_seconds() -> float:
    """What the children of this process that have ended have taken of all cores."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def training_seconds(config: str, caches: Path) -> dict[str, float]:
    """Seconds from the start of train_rlpd to its first action and its first update, and the processor's until then."""
    with tempfile.TemporaryDirectory() as folder, open(Path(folder) / "log", "w+") as log:
        (Path(folder) / "timed.py").write_text(ENVIRONMENT)
        line = [sys.executable, "-m", "warmloop.launch.train_rlpd", "--exp_name=start", f"--runs={folder}", f"--config={config}"]
        line += ["--config.environment.id=timed:Timed-v0", "--config.learner.log_every=1", "--config.learner.frozen_steps=0"]
        began, before = time.time(), processor_seconds()
        process = subprocess.Popen(line, cwd=folder, env=plain(XDG_CACHE_HOME=str(caches)), stdout=log, stderr=subprocess.STDOUT)
        try:
            update = first_update(Path(folder), process)
        finally:
            process.kill()
            process.wait()
        if update is None:
            raise SystemExit(f"train_rlpd ended before its first update:\n{Path(log.name).read_text()}")
        action = float((Path(folder) / "first_action").read_text())
        return {"first action": action - began, "first update": update - began, "processor": processor_seconds() - before}


def first_update(folder: Path, process: subprocess.Popen) -> float | None:
    """When the run in `folder` had its first metrics on disk; None where it ended without."""
    while process.poll() is None:
        lines = (line for path in folder.glob("start/metrics.jsonl") for line in path.read_text().splitlines(keepends=True))
        if any(json.loads(line)["updates"] for line in lines if line.endswith("\n")):
            return time.time()
        time.sleep(0.01)
    return None


def measured(rounds: int) -> dict[str, list[float]]:
    """Seconds of each case, round by round, so that what else the machine does is spread over all of them."""
    seconds: dict[str, list[float]] = {}

    def note(case: str, value: float) -> None:
        seconds.setdefault(case, []).append(value)
        print(f"{case}: {value:.2f} s", file=sys.stderr, flush=True)

    for _ in range(rounds):
        for name, arguments in HELPS.items():
            for what, value in help_seconds(arguments).items():
                note(f"{name}{what}", value)
        for name, config in CONFIGS.items():
            start_twice(name, config, note)
    return seconds


def start_twice(name: str, config: str, note: Callable[[str, float], None]) -> None:
    with tempfile.TemporaryDirectory() as caches:
        for start in ("cold", "warm"):
            for what, value in training_seconds(config, Path(caches)).items():
                note(f"{name}, {start}: {what}", value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="how often each case is measured")
    parser.add_argument("--out", type=Path, default=Path("runs/start_up.json"))
    given = parser.parse_args()
    seconds = measured(given.rounds)
    for case, values in seconds.items():
        print(f"{case:<30}{statistics.median(values):>8.2f} s   ({min(values):.2f} to {max(values):.2f})")
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(seconds, indent=1) + "\n")
    print(f"written to {given.out}")


if __name__ == "__main__":
    main()
