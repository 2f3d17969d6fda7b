"""Plain SAC from nothing beside Stable-Baselines3's and SBX's: returns at the same settings. The figures of docs/results.md.

    python tests/benchmarks/plain_sac.py --peers=PEERS/bin/python --task=halfcheetah --steps=100000 --jobs=2

The preset `sac` on a task of configs/mujoco.py, and `plain_sac_peers.py` at its libraries' defaults, which are the same: two hidden
layers of 256, two critics, one update a step after 100 random ones, batches of 256, all step sizes 3e-4, target entropy −A. Each run
has one thread. Every policy's mode is judged every so many steps by episodes from the same starts. Writes OUT/TASK-LIBRARY-SEED.json, and
OUT/TASK.md and .png; runs that are done are not done again.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import numpy as np
from matplotlib import pyplot as plt
from scoreboard import ONE_THREAD

HERE = Path(__file__).resolve().parent
TASKS = {"halfcheetah": "HalfCheetah-v5", "humanoid": "Humanoid-v5", "hopper": "Hopper-v5", "walker2d": "Walker2d-v5", "ant": "Ant-v5"}
LIBRARIES = {"warmloop": "warmloop", "sb3": "Stable-Baselines3", "sbx": "SBX"}


def learn(task: str, seed: int, steps: int, every: int, episodes: int, out: Path) -> None:
    """The curve of warmloop's run, written after every look."""
    import jax

    jax.config.update("jax_cpu_enable_async_dispatch", False)
    from behaviour import look

    from warmloop import OfflineRLTrainer

    trainer = OfflineRLTrainer(f"configs/mujoco.py:{task}", "sac", seed=seed, learner={"checkpoint_every": 0}, replay={"capacity": steps})
    curve = {"steps": [], "seconds": [], "returns": []}
    seconds = 0.0
    for done in range(every, steps + 1, every):
        began = time.perf_counter()
        trainer.finetune_online(None, every)
        seconds += time.perf_counter() - began
        for name, value in zip(curve, (done, seconds, look(trainer, episodes).mean_return), strict=True):
            curve[name].append(value)
        print(f"warmloop {task} seed {seed}, {done} steps: return {curve['returns'][-1]:.0f}", flush=True)
        out.write_text(json.dumps(curve) + "\n")


def run(library: str, seed: int, given: argparse.Namespace) -> dict:
    """One run in a process of its own, unless it is done."""
    out = given.out / f"{given.task}-{library}-{seed}.json"
    if not out.exists() or json.loads(out.read_text())["steps"][-1] < given.steps:
        common = [f"--steps={given.steps}", f"--every={given.every}", f"--episodes={given.episodes}", f"--seed={seed}", f"--out={out}"]
        script = [sys.executable, str(HERE / "plain_sac.py"), f"--only={given.task}"]
        peer = [given.peers, str(HERE / "plain_sac_peers.py"), f"--library={library}", f"--task={TASKS[given.task]}"]
        subprocess.run([*(script if library == "warmloop" else peer), *common], check=True, env=os.environ | ONE_THREAD)
    return json.loads(out.read_text())


def report(curves: dict[str, list[dict]], given: argparse.Namespace) -> str:
    """A table of the last look and of the last quarter's mean, by seed, and the curves as a picture."""
    rows = ["| SAC of | return at the end, by seed | mean | mean of the last quarter's looks | seconds |", "|---|---|---|---|---|"]
    figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
    for library, runs in curves.items():
        steps, returns = runs[0]["steps"], np.array([curve["returns"] for curve in runs])  # [S, L]
        late = returns[:, -max(1, len(steps) // 4) :].mean()
        seconds = ", ".join(f"{curve['seconds'][-1]:.0f}" for curve in runs)
        last = ", ".join(f"{value:.0f}" for value in returns[:, -1])
        rows.append(f"| {LIBRARIES[library]} | {last} | {returns[:, -1].mean():.0f} | {late:.0f} | {seconds} |")
        (line,) = axes.plot(steps, returns.mean(axis=0), label=LIBRARIES[library])
        axes.fill_between(steps, returns.min(axis=0), returns.max(axis=0), alpha=0.15, color=line.get_color())
    axes.set(title=f"{TASKS[given.task]}: mean, least and greatest of the seeds", xlabel="environment steps", ylabel="return")
    axes.legend()
    figure.savefig(given.out / f"{given.task}.png", dpi=110)
    return "\n".join(rows) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=TASKS, default="halfcheetah")
    parser.add_argument("--peers", help="Python of an environment with stable-baselines3 and sbx-rl; without it warmloop runs alone")
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--every", type=int, default=10_000, help="steps between two looks")
    parser.add_argument("--episodes", type=int, default=10, help="of each look")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("runs/plain_sac"))
    parser.add_argument("--only", choices=TASKS, help=argparse.SUPPRESS)  # one run of warmloop, in this process
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only:
        return learn(given.only, given.seed, given.steps, given.every, given.episodes, given.out)
    given.out.mkdir(parents=True, exist_ok=True)
    libraries = LIBRARIES if given.peers else ["warmloop"]
    with ThreadPoolExecutor(given.jobs) as pool:
        waiting = {(library, seed): pool.submit(run, library, seed, given) for seed in range(given.seeds) for library in libraries}
    table = report({library: [waiting[library, seed].result() for seed in range(given.seeds)] for library in libraries}, given)
    (given.out / f"{given.task}.md").write_text(table)
    print(table)


if __name__ == "__main__":
    main()
