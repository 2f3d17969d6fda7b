"""Warm-up and fine-tuning against SAC from nothing: environment steps and seconds to the same return. The figures of docs/results.md.

    python tests/benchmarks/claim.py --task=pendulum --jobs=2
    python tests/benchmarks/claim.py --task=hopper --jobs=2

Every seed runs both on the same environment, with networks and batches of the same size, and is looked at every so many steps by as
many episodes of the policy's mode. The return aimed at is 95 % of what SAC from nothing has at its end (mean of all seeds' last two
looks; of a negative return, 1/0.95). Seconds are those of training alone; the warm-up's count, the making of its data does not. Needs
the data that scoreboard.py makes. Writes OUT/TASK.json, .md and .png; seeds that are done are not done again.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import numpy as np
from matplotlib import pyplot as plt
from scoreboard import ONE_THREAD

ROOT = Path(__file__).resolve().parents[2]
# Preset and algorithm, data, updates of the warm-up, steps of fine-tuning and of SAC from nothing, steps between two looks.
TASKS = {
    "pendulum": ("configs/classic.py:pendulum", "td3bc", "data/pendulum/expert.npz", 2_000, 4_000, 12_000, 500),
    "hopper": ("configs/mujoco.py:hopper", "td3bc", "data/hopper/medium.npz", 5_000, 40_000, 120_000, 5_000),
    "halfcheetah": ("configs/mujoco.py:halfcheetah", "cql", "data/halfcheetah/medium.npz", 2_500, 20_000, 40_000, 2_500),
}
HALVES = ("scratch", "warm")


def warm(task: str, seed: int, episodes: int, board: Path) -> dict[str, Any]:
    """The curve of a warm-up and its fine-tuning; its first look is at 0 environment steps."""
    from behaviour import SAC, look

    from warmloop import OfflineRLTrainer
    from warmloop.configs import load

    preset, algorithm, data, updates, steps, _, every = TASKS[task]
    run = {"learner": {"warmup_checkpoints": 1, "held_out": 0.0, "checkpoint_every": 0}, "replay": {"capacity": steps}}
    trainer = OfflineRLTrainer(preset, f"{algorithm}_tuned", seed=seed, **run)
    chosen = load(f"{preset},{algorithm}_tuned,small,then_sac")
    same = {name: SAC[name] for name in ("utd", "batch_size", "actor_lr", "critic_lr", "backup_entropy")}  # as from nothing
    trainer.config = trainer.config.replace(warmup_agent=chosen.warmup_agent, agent=chosen.agent.replace(**same))
    curve: dict[str, Any] = {"steps": [], "seconds": [], "returns": []}

    def note(done: int) -> None:
        for name, value in zip(curve, (done, seconds, look(trainer, episodes).mean_return), strict=False):
            curve[name].append(value)

    began = time.perf_counter()
    trainer.train_offline(f"suboptimal={board / data}", updates)
    seconds = time.perf_counter() - began
    note(0)
    for done in range(every, steps + 1, every):
        began = time.perf_counter()
        trainer.finetune_online(None, every)
        seconds += time.perf_counter() - began
        note(done)
    return curve


def one(half: str, task: str, seed: int, episodes: int, board: Path) -> dict[str, Any]:
    """The curve of one seed, here and now."""
    import jax

    jax.config.update("jax_cpu_enable_async_dispatch", False)
    if half == "warm":
        return warm(task, seed, episodes, board)
    from behaviour import learn

    preset, _, _, _, _, steps, every = TASKS[task]
    return learn(preset, seed, steps, every, float("inf"), episodes, {})[1]


def first(curve: dict[str, Any], aim: float) -> tuple[float, float] | None:
    """Environment steps and seconds at the first look that shows `aim`, or None."""
    for steps, seconds, shown in zip(curve["steps"], curve["seconds"], curve["returns"], strict=True):
        if shown >= aim:
            return steps, seconds
    return None


def report(curves: dict[str, dict[int, dict[str, Any]]]) -> str:
    """A Markdown table of the seeds."""
    final = np.mean([curve["returns"][-2:] for curve in curves["scratch"].values()])
    aim = float(final * 0.95 if final > 0 else final / 0.95)
    lines = [
        f"aimed at: {aim:.0f}, 95 % of {final:.0f}",
        "",
        "| seed | from nothing | warm-up and fine-tuning | return after the warm-up |",
        "|---|---|---|---|",
    ]
    for seed in sorted(curves["scratch"]):
        cells = []
        for half in HALVES:
            curve = curves[half][seed]
            reached = first(curve, aim)
            at = (
                f"{reached[0]:.0f} steps, {reached[1]:.0f} s"
                if reached
                else f"not in {curve['steps'][-1]:.0f} steps, {curve['seconds'][-1]:.0f} s"
            )
            cells.append(f"{at}; ends at {np.mean(curve['returns'][-2:]):.0f}")
        lines.append(f"| {seed} | {' | '.join(cells)} | {curves['warm'][seed]['returns'][0]:.0f} |")
    return "\n".join(lines) + "\n"


def draw(curves: dict[str, dict[int, dict[str, Any]]], task: str, path: Path) -> None:
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained", sharey=True)
    labels = {"scratch": "SAC from nothing", "warm": "warm-up and fine-tuning"}
    for half, colour in zip(HALVES, ("#8a8a8a", "#1f4e79"), strict=True):
        for number, curve in enumerate(curves[half].values()):
            for axis, key in zip(axes, ("steps", "seconds"), strict=True):
                axis.plot(curve[key], curve["returns"], "-", color=colour, alpha=0.8, label=None if number else labels[half])
    axes[0].set(xlabel="environment steps", ylabel="mean return", title=task)
    axes[1].set(xlabel="seconds of training, warm-up included")
    axes[0].legend(frameon=False)
    for axis in axes:
        axis.grid(alpha=0.25)
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=list(TASKS), required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--episodes", type=int, default=20, help="of each look")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--board", type=Path, default=ROOT / "runs" / "board", help="where data/TASK of behaviour.py is")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "claim")
    parser.add_argument("--one", choices=HALVES, help=argparse.SUPPRESS)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)

    def kept(half: str, seed: int) -> Path:
        return given.out / f"{given.task}-{half}-{seed}.json"

    if given.one:
        seed = given.seeds[0]
        kept(given.one, seed).write_text(json.dumps(one(given.one, given.task, seed, given.episodes, given.board)) + "\n")
        return
    work = [(half, seed) for half in HALVES for seed in given.seeds if not kept(half, seed).exists()]

    def run(half: str, seed: int) -> None:
        line = [sys.executable, __file__, f"--task={given.task}", f"--one={half}", "--seeds", str(seed), f"--episodes={given.episodes}"]
        subprocess.run(
            [*line, f"--board={given.board}", f"--out={given.out}"], check=True, env=os.environ | ONE_THREAD, stderr=subprocess.DEVNULL
        )

    with ThreadPoolExecutor(given.jobs) as pool:
        list(pool.map(lambda pair: run(*pair), work))
    curves = {half: {seed: json.loads(kept(half, seed).read_text()) for seed in given.seeds} for half in HALVES}
    (given.out / f"{given.task}.json").write_text(json.dumps(curves) + "\n")
    draw(curves, given.task, given.out / f"{given.task}.png")
    (given.out / f"{given.task}.md").write_text(report(curves))
    print(report(curves))


if __name__ == "__main__":
    main()
