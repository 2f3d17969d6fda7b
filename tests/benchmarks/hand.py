"""What a hand in the loop and a warm-up buy: the four combinations on gym-hil's cube, several seeds, one picture.

    python tests/benchmarks/hand.py --out=runs/hand          # the picture is runs/hand/hand.png

Each run is `warmloop-demo-hil` with its flags; the policy alone is judged every --every environment steps by 20 episodes, and at the
end by 50. What is done is not done again.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import numpy as np
from matplotlib import pyplot as plt

from warmloop.learner.diagnosis.metrics import read

SUCCESS, HAND = "evaluation/success_rate", "actor/intervention_rate"
ARMS = {
    "warm-up and teacher": (2_000, "teacher", "#1f4e79"),
    "warm-up alone": (2_000, "none", "#5b9bd5"),
    "teacher alone": (0, "teacher", "#c7772e"),
    "neither": (0, "none", "#999999"),
}


def run(name: str, seed: int, given: argparse.Namespace) -> Path:
    """One run's folder, complete."""
    warmup, who, _ = ARMS[name]
    out = given.out / f"{name.replace(' ', '-')}-{seed}"
    if not (out / "summary.json").exists():
        flags = [f"--seed={seed}", f"--warmup_steps={warmup}", f"--intervention={who}", f"--online_steps={given.steps}", "--novideo"]
        flags += [f"--evaluate_every={given.every}", f"--out={out}"]
        done = subprocess.run(
            [sys.executable, "-m", "warmloop.launch.demo_hil", *flags],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode:
            sys.exit(f"{name}, seed {seed}, failed:\n{done.stderr[-2000:]}")
    return out


def curve(out: Path, name: str) -> tuple[list[float], list[float]]:
    """Environment steps and a metric; of success, the end too."""
    seen = [each for each in read(out) if name in each]
    steps, values = [each.get("evaluation/environment_steps", each["environment_steps"]) for each in seen], [each[name] for each in seen]
    if name == SUCCESS:
        end = json.loads((out / "summary.json").read_text())
        steps, values = [*steps, end["env_steps"]], [*values, end["success_after_finetune"]]
    return steps, values


def draw(found: dict[str, list[Path]], path: Path) -> None:
    """Success of the policy alone, and the share of steps that the teacher took: each seed thin, their mean thick."""
    figure, (success, hand) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    for name, outs in found.items():
        for axis, metric in ((success, SUCCESS), (hand, HAND)):
            if axis is hand and ARMS[name][1] == "none":
                continue
            curves = [curve(out, metric) for out in outs]
            for steps, values in curves:
                axis.plot(steps, values, color=ARMS[name][2], linewidth=0.7, alpha=0.5)
            grid = np.linspace(0, max(steps[-1] for steps, _ in curves), 60)
            mean = np.mean([np.interp(grid, steps, values) for steps, values in curves], axis=0)
            axis.plot(grid, mean, color=ARMS[name][2], linewidth=2.2, label=name)
    success.set(xlabel="environment steps", ylabel="success of the policy alone", ylim=(-0.02, 1.02))
    hand.set(xlabel="environment steps", ylabel="share of steps by the teacher", ylim=(-0.02, None))
    for axis in (success, hand):
        axis.grid(alpha=0.25)
        axis.legend(frameon=False, fontsize="small")
    figure.suptitle(f"gym-hil PandaPickCube from states, {len(next(iter(found.values())))} seeds", fontsize=11)
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4_000, help="environment steps of each run")
    parser.add_argument("--every", type=int, default=1_000, help="environment steps between two evaluations")
    parser.add_argument("--out", type=Path, default=Path("runs/hand"))
    given = parser.parse_args()
    found: dict[str, list[Path]] = {name: [] for name in ARMS}
    for seed in range(given.seeds):
        for name in ARMS:
            found[name].append(run(name, seed, given))
            print(name, seed, (found[name][-1] / "summary.json").read_text().replace("\n", ""), flush=True)
    for name, outs in found.items():
        shown = [json.loads((out / "summary.json").read_text()) for out in outs]
        ends = ", ".join(f"{one['success_after_finetune']:.2f}" for one in shown)
        print(f"{name:<22}{ends}   teacher at first, in the last quarter:", end=" ")
        print(", ".join(f"{one['intervention_rate_first']:.2f} → {one['intervention_rate_last']:.2f}" for one in shown))
    draw(found, given.out / "hand.png")


if __name__ == "__main__":
    main()
