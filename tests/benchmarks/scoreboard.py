"""Every algorithm on every data set: the tables and the picture of docs/results.md.

    python tests/benchmarks/scoreboard.py --jobs=2                # the small board
    python tests/benchmarks/scoreboard.py --size=full             # networks, batches and updates as published; days on a CPU

The algorithms are the recipes of configs/recipes/own.py (`td3bc_tuned` and so on), and sac is the task's own; the published presets, which
draw rows uniformly and have their papers' sizes, are not on this board.

Adroit's data lie beside the repository (../shared/data). Locomotion's are made first, by behaviour.py: SAC from nothing, up to a
known return. Then one warmloop-sweep for each data set: three seeds side by side, each judged by 50 episodes of its last checkpoint and
of the one that FQE chose. What is done is not done again. Writes OUT/scoreboard.md and OUT/scoreboard.png.
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

from warmloop.learner.judging.scores import interquartile_mean, interval

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "data"
ONE_THREAD = {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1", "OMP_NUM_THREADS": "1"}
ALGORITHMS = ("bc", "td3bc", "iql", "awac", "bcq", "sac", "cql", "calql")
COSTLY = ("bcq", "cql", "calql")  # which look at many actions for each row, and get half of the others' updates
UPDATES = {"small": (5_000, 2_500), "full": (1_000_000, 1_000_000)}
LONGER = {("pendulum", "cql"): 10_000, ("pendulum", "calql"): 10_000}  # of the small board, where half is too little
# Preset, the return that ends the learning of the behaviour policy, the most environment steps that it may take, steps between two
# looks, episodes recorded of it, and what that makes of them.
BEHAVIOUR = {
    "pendulum": ("configs/classic.py:pendulum", -160, 12_000, 500, 100, ("expert",)),
    "hopper": ("configs/mujoco.py:hopper", 1200, 120_000, 5_000, 100, ("medium", "medium-replay")),
    "walker2d": ("configs/mujoco.py:walker2d", 1200, 120_000, 5_000, 100, ("medium", "medium-replay")),
    "halfcheetah": ("configs/mujoco.py:halfcheetah", 4000, 120_000, 5_000, 100, ("medium", "medium-replay")),
}
# Where an episode ends by falling, standing still is a trap: a higher temperature and less entropy asked for lead out of it.
WARMER = {"initial_temperature": 1.0, "target_entropy_per_dim": -1.0, "actor_lr": 3e-4}
SETTINGS = {"hopper": WARMER, "walker2d": WARMER}
ADROIT = {
    "door expert": ("demos=door-expert",),
    "door suboptimal + human": ("suboptimal=door-suboptimal", "demos=door-human-replay"),
    "door everything": ("demos=door-expert", "demos=door-human-replay", "suboptimal=door-suboptimal", "random=door-random"),
    "hammer expert": ("demos=hammer-expert",),
    "hammer suboptimal": ("suboptimal=hammer-suboptimal",),  # there are no human data for it
    "hammer everything": ("demos=hammer-expert", "suboptimal=hammer-suboptimal", "random=hammer-random"),
}


def data_sets(made: Path) -> dict[str, tuple[str, list[str]]]:
    """The task's preset and the data's flags of every row of the board."""
    found = {}
    for name, files in ADROIT.items():
        parts = [file.split("=") for file in files]
        found[name] = f"configs/adroit.py:{name.split()[0]}", [f"{kind}={SHARED / file}.npz" for kind, file in parts]
    for task, (config, *_, qualities) in BEHAVIOUR.items():
        for quality in qualities:
            kind = "demos" if quality == "expert" else "suboptimal"
            found[f"{task} {quality}"] = config, [f"{kind}={made / task / quality}.npz"]
    return found


def make_behaviour(task: str, made: Path) -> None:
    """Data of SAC, learnt from nothing, unless they are there."""
    if (made / task / "curve.json").exists():
        return
    config, until, steps, every, episodes, qualities = BEHAVIOUR[task]
    flags = [f"--config={config}", f"--until={until}", f"--steps={steps}", f"--every={every}", f"--episodes={episodes}"]
    flags += [f"--quality={qualities[0]}", f"--settings={json.dumps(SETTINGS.get(task, {}))}"]
    call(Path(__file__).with_name("behaviour.py"), *flags, f"--out={made / task}")


def budgets(name: str, size: str) -> dict[int, list[str]]:
    """The algorithms by the updates that they get on a data set."""
    found: dict[int, list[str]] = {}
    for algorithm in ALGORITHMS:
        longer = LONGER.get((name.split()[0], algorithm)) if size == "small" else None
        found.setdefault(longer or UPDATES[size][algorithm in COSTLY], []).append(algorithm)
    return found


def sweep(name: str, config: str, data: list[str], updates: int, algorithms: list[str], given: argparse.Namespace) -> None:
    """The board's row of one data set, for the algorithms that get so many updates."""
    # The recipes of docs/results.md, which are warmloop's own; sac is the task's default.
    presets = [given.size if algorithm == "sac" else f"{algorithm}_tuned+{given.size}" for algorithm in algorithms]
    flags = [f"--config={config}", f"--algorithms={','.join(presets)}", f"--seeds={given.seeds}", f"--eval_n_trajs={given.episodes}"]
    flags += [f"--warmup_steps={updates}", "--checkpoints=4", f"--out={folder(given.out, name) / f'{updates}-updates'}"]
    flags += ["--judge_all"] if name in given.judge_all else []
    began = time.perf_counter()
    call("-m", "warmloop.launch.sweep", *flags, *(f"--offline_data_path={each}" for each in data))
    print(f"{name}: {', '.join(presets)} took {time.perf_counter() - began:.0f} s", flush=True)


def call(*command: str | Path) -> None:
    done = subprocess.run(
        [sys.executable, *map(str, command)], env=os.environ | ONE_THREAD, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{done.stderr[-2000:]}")


def folder(out: Path, name: str) -> Path:
    return out / name.replace(" + ", "-").replace(" ", "-")


def results(out: Path, name: str, size: str) -> dict[str, list[dict[str, Any]]]:
    """The seeds' results of a data set by algorithm; those of the most updates where there are several, without seeds that
    diverged."""
    found: dict[str, dict[int, dict[str, Any]]] = {}
    files = sorted(folder(out, name).glob("*-updates/results.jsonl"), key=lambda path: int(path.parent.name.split("-")[0]))
    for line in (json.loads(text) for path in files for text in path.read_text().splitlines()):
        parts = line["run"].split()[0].split("+")
        if parts[-1] == size and not line.get("diverged"):
            found.setdefault(parts[0].removesuffix("_tuned") if len(parts) > 1 else "sac", {})[line["seed"]] = line
    return {algorithm: list(found[algorithm].values()) for algorithm in ALGORITHMS if algorithm in found}


def score(result: dict[str, Any], name: str) -> float:
    """On D4RL's scale; for Adroit, whose episodes end at the first success, the share of successes times 100; Pendulum's return."""
    if name in ADROIT:
        return 100 * result["success_rate"]
    return result["mean_return"] if result["normalised"] is None else result["normalised"]


def table(board: dict[str, dict[str, list[dict[str, Any]]]]) -> str:
    lines = ["| data | " + " | ".join(ALGORITHMS) + " |", "|---" * (len(ALGORITHMS) + 1) + "|"]
    for name, row in board.items():
        cells = []
        for algorithm in ALGORITHMS:
            if algorithm not in row:
                cells.append("")
                continue
            last, chosen = ([score(pick(one), name) for one in row[algorithm]] for pick in (lambda one: one, lambda one: one["selected"]))
            middle, of_chosen = (interquartile_mean(np.array(scores)) for scores in (last, chosen))
            cells.append(f"{middle:.0f} ({min(last):.0f} to {max(last):.0f}) · {of_chosen:.0f}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    times = [
        f"{np.mean([one['seconds'] for row in board.values() for one in row.get(algorithm, [])] or [0]):.0f}" for algorithm in ALGORITHMS
    ]
    return "\n".join([*lines, f"| seconds of training a seed | {' | '.join(times)} |"]) + "\n"


def draw(board: dict[str, dict[str, list[dict[str, Any]]]], path: Path) -> None:
    rows = -(-len(board) // 3)
    figure, axes = plt.subplots(rows, 3, figsize=(12, 0.6 + 2.1 * rows), layout="constrained", squeeze=False)
    for axis, (name, row) in zip(axes.flat, board.items(), strict=False):
        for place, algorithm in enumerate(reversed(ALGORITHMS)):
            if algorithm not in row:
                continue
            last = np.array([[score(one, name)] for one in row[algorithm]])
            chosen = [score(one["selected"], name) for one in row[algorithm]]
            axis.plot(interval(last), [place, place], color="#1f4e79", linewidth=6, alpha=0.3, solid_capstyle="butt")
            axis.plot(interquartile_mean(last), place, "|", color="#1f4e79", markersize=11, markeredgewidth=2.5)
            axis.plot(interquartile_mean(np.array(chosen)), place, "o", color="#c7772e", markersize=4)
        axis.set_yticks(range(len(ALGORITHMS)), ALGORITHMS[::-1], fontsize=8)
        axis.set_ylim(-0.6, len(ALGORITHMS) - 0.4)
        axis.set_title(name, fontsize=9)
        axis.grid(axis="x", alpha=0.25)
    for axis in list(axes.flat)[len(board) :]:
        axis.remove()
    figure.suptitle("Score by algorithm and data: bar, last checkpoint (3 seeds, 95 % interval); dot, the one that FQE chose", fontsize=10)
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=list(UPDATES), default="small")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--episodes", type=int, default=50, help="by which each checkpoint is judged")
    parser.add_argument("--updates", type=int, help="of every algorithm, instead of the size's own")
    parser.add_argument("--only", nargs="+", help="data sets, by how their names begin")
    parser.add_argument(
        "--judge_all", nargs="+", default=["door suboptimal + human", "hopper medium-replay"], help="where all checkpoints are judged"
    )
    parser.add_argument("--jobs", type=int, default=2, help="sweeps at a time, one thread each")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "board")
    given = parser.parse_args()
    if not SHARED.is_dir():
        sys.exit(f"Adroit's data are not here: {SHARED} does not exist.")
    given.out.mkdir(parents=True, exist_ok=True)
    made = given.out / "data"
    chosen = {name: row for name, row in data_sets(made).items() if not given.only or name.startswith(tuple(given.only))}
    with ThreadPoolExecutor(given.jobs) as pool:
        tasks = [task for task in BEHAVIOUR if any(name.startswith(task) for name in chosen)]
        list(pool.map(lambda task: make_behaviour(task, made), tasks))
        work = [
            (name, *row, updates, algorithms, given)
            for name, row in chosen.items()
            for updates, algorithms in ({given.updates: list(ALGORITHMS)} if given.updates else budgets(name, given.size)).items()
        ]
        list(pool.map(lambda arguments: sweep(*arguments), work))
    board = {name: results(given.out, name, given.size) for name in chosen}
    (given.out / "scoreboard.md").write_text(table(board))
    draw(board, given.out / "scoreboard.png")
    print(table(board))


if __name__ == "__main__":
    main()
