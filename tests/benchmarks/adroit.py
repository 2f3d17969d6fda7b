"""Success against environment steps on Adroit, from recorded data: the figures of docs/results.md.

    python tests/benchmarks/adroit.py --task=door --seeds 0 1 2 --online_steps=20000 --jobs=2
    python tests/benchmarks/adroit.py --task=door --from_nothing --out=runs/from-nothing    # without data and warm-up

For every seed it runs train_offline_warmup and then train_rlpd, as a user would, on the data beside the repository
(../shared/data), and draws all seeds as runs/results/TASK.png. One thread a job, so that jobs do not slow each other.
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

from warmloop.learner.diagnosis.metrics import read

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"
SOURCES = {
    "door": ("demos=door-human-replay.npz", "suboptimal=door-suboptimal.npz"),
    "hammer": ("suboptimal=hammer-suboptimal.npz", "random=hammer-random.npz"),
}
ONE_THREAD = {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1", "OMP_NUM_THREADS": "1"}


def one_seed(task: str, seed: int, online_steps: int, out: Path, from_nothing: bool) -> dict[str, Any]:
    """Both phases of one seed; the evaluations of the online phase and the seconds each phase took. One that is done is not
    done again."""
    name = f"{task}-{seed}"
    kept = out / name / "result.json"
    if kept.exists():
        return json.loads(kept.read_text())
    common = [f"--exp_name={name}", f"--runs={out}", f"--config=configs/adroit.py:{task}", f"--seed={seed}"]
    data = [f"--offline_data_path={kind}={DATA / file}" for kind, file in (source.split("=") for source in SOURCES[task])]
    warm = out / name / "warmup"
    began = time.perf_counter()
    plain = ("--config.learner.held_out=0.0", "--config.learner.warmup_checkpoints=1")  # as in the published results
    if not from_nothing:
        command("train_offline_warmup", *common, *data, *plain, f"--checkpoint_path={warm}")
    warmed = time.perf_counter()
    evaluation = ["--config.actor.evaluate_every=2000", "--config.actor.evaluation_episodes=50"]
    known = [] if from_nothing else [f"--checkpoint_path={warm}", f"--demo_path={warm / 'filtered_demos.npz'}"]
    command("train_rlpd", *common, *known, f"--online_steps={online_steps}", *evaluation)
    done = time.perf_counter()
    records = [record for record in read(out / name) if "evaluation/success_rate" in record]
    result = {
        "seed": seed,
        "steps": [record["evaluation/environment_steps"] for record in records],
        "success": [record["evaluation/success_rate"] for record in records],
        "warmup_seconds": warmed - began,
        "online_seconds": done - warmed,
    }
    kept.write_text(json.dumps(result) + "\n")
    return result


def command(module: str, *arguments: str) -> None:
    line = [sys.executable, "-m", f"warmloop.launch.{module}", *arguments]
    subprocess.run(line, check=True, env=os.environ | ONE_THREAD, stdout=subprocess.DEVNULL)


def draw(task: str, results: list[dict[str, Any]], path: Path) -> None:
    figure, axis = plt.subplots(figsize=(8, 4.5), layout="constrained")
    for result in results:
        axis.plot(result["steps"], result["success"], "o-", alpha=0.8, label=f"seed {result['seed']}")
    axis.axhline(0.9, color="grey", linestyle=":", linewidth=1)
    axis.set(xlabel="environment steps", ylabel="success rate (50 episodes)", ylim=(-0.02, 1.02), title=f"Adroit {task}, sparse success")
    axis.legend(frameon=False, loc="lower right")
    axis.grid(alpha=0.25)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=list(SOURCES), required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--online_steps", type=int, default=50_000)
    parser.add_argument("--jobs", type=int, default=1, help="seeds at a time")
    parser.add_argument("--from_nothing", action="store_true", help="the same agent without any data")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "results")
    given = parser.parse_args()
    if not DATA.is_dir():
        sys.exit(f"The data are not here: {DATA} does not exist.")
    given.out.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(given.jobs) as pool:
        results = list(pool.map(lambda seed: one_seed(given.task, seed, given.online_steps, given.out, given.from_nothing), given.seeds))
    (given.out / f"{given.task}.json").write_text(json.dumps(results, indent=1) + "\n")
    draw(given.task, results, given.out / f"{given.task}.png")
    for result in results:
        success = np.array(result["success"])
        reached = [steps for steps, rate in zip(result["steps"], success, strict=True) if rate >= 0.9]
        print(
            f"seed {result['seed']}: {success[0]:.2f} at first, {success[-1]:.2f} at {result['steps'][-1]:.0f} steps, "
            f"best {success.max():.2f}, 0.90 first at {reached[0] if reached else 'no'} steps; "
            f"{result['warmup_seconds']:.0f} s + {result['online_seconds']:.0f} s"
        )


if __name__ == "__main__":
    main()
