"""The main job, start to end: demonstrations, offline warm-up, then online fine-tuning to reliable success.

    python -m warmloop.launch.demo --seed=0

Collects a mixed set on a Meta-World task with its scripted expert, made noisy, and with random actions; warms up; keeps the best
demonstrations; then starts a learner and an actor process and fine-tunes on the sparse success signal. Every command that it
runs is shown. Results go to runs/demo: summary.json, curves.png and, where rendering works, final.mp4.
"""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

from absl import flags

from ..data.errors import WarmloopError
from .common import log, run
from .processes import free_port, run_command, run_together

TASK = flags.DEFINE_string("task", "peg-insert-side", "A Meta-World task.")
SEED = flags.DEFINE_integer("seed", 0, "Decides everything random.", lower_bound=0)
OUT = flags.DEFINE_string("out", "runs/demo", "Folder for the results; what a demo left there before is replaced.")
DEMOS = flags.DEFINE_integer("demos", 320, "Demonstrations by the noisy scripted expert.", lower_bound=2)
RANDOM = flags.DEFINE_integer("random_episodes", 10, "Episodes of random actions.", lower_bound=1)
NOISE = flags.DEFINE_float("noise", 0.6, "Standard deviation of the noise on the expert's actions.", lower_bound=0.0)
WARMUP = flags.DEFINE_integer("warmup_steps", None, "Updates of the warm-up (the preset's).", lower_bound=1)
ONLINE = flags.DEFINE_integer("online_steps", None, "Environment steps of the fine-tuning (the preset's).", lower_bound=1)
EPISODES = flags.DEFINE_integer("episodes", 50, "Episodes of each evaluation.", lower_bound=1)
VIDEO = flags.DEFINE_bool("video", True, "Record the final policy.")


def main() -> None:
    began, out = time.perf_counter(), Path(OUT.value)
    if out.exists():
        if any(out.iterdir()) and not (out / "summary.json").exists() and not (out / "demos.npz").exists():
            raise WarmloopError(f"{out} holds something that is not a demo's; choose another folder with --out.")
        shutil.rmtree(out)
    out.mkdir(parents=True)
    success = collect(out)
    warm_up(out)
    before = evaluate(out / "warmup")
    fine_tune(out)
    after = evaluate(out / "checkpoints")
    finish(out, success, before, after, time.perf_counter() - began)
    if VIDEO.value:
        record(out)


def collect(out: Path) -> float:
    """Writes demos.npz and random.npz; returns the demonstrations' success rate."""
    from ..data.formats import load_episodes

    stage(1, "collect demonstrations")
    common = (f"--config={preset()}", f"--seed={SEED.value}")
    say(
        run_command(
            "collect", *common, "--policy=scripted", f"--noise={NOISE.value}", f"--episodes={DEMOS.value}", f"--out={out}/demos.npz"
        )
    )
    say(run_command("collect", *common, "--policy=random", f"--episodes={RANDOM.value}", f"--out={out}/random.npz"))
    episodes = [*load_episodes(out / "demos.npz"), *load_episodes(out / "random.npz")]
    return sum(episode.succeeded for episode in episodes) / len(episodes)


def warm_up(out: Path) -> None:
    """Trains on the mixed set, and filters it."""
    stage(2, "warm up offline, and keep the best demonstrations")
    data = (f"--offline_data_path=demos={out}/demos.npz", f"--offline_data_path=random={out}/random.npz")
    steps = (f"--warmup_steps={WARMUP.value}",) if WARMUP.value else ()
    plain = ("--config.learner.held_out=0.0", "--config.learner.warmup_checkpoints=1")  # as in the published results
    say(run_command("train_offline_warmup", *names(out), *data, *steps, *plain, f"--checkpoint_path={out}/warmup"))


def evaluate(checkpoint: Path) -> dict:
    """The success rate of a checkpoint over the evaluation's episodes."""
    stage(3 if checkpoint.name == "warmup" else 5, "evaluate")
    flags_given = (f"--checkpoint={checkpoint}", f"--episodes={EPISODES.value}", f"--seed={SEED.value}", "--stochastic", "--json")
    shown = json.loads(run_command("evaluate", *flags_given))
    print(f"success {shown['success_rate']:.2f} (95 % interval {shown['success_low']:.2f} to {shown['success_high']:.2f})")
    return shown


def fine_tune(out: Path) -> None:
    """A learner process and an actor process."""
    stage(4, "fine-tune online: a learner process and an actor process")
    steps = (f"--online_steps={ONLINE.value}",) if ONLINE.value else ()
    demos = out / "warmup" / "filtered_demos.npz"
    shared = (*names(out), *steps)
    learner = (*shared, f"--checkpoint_path={out}/warmup", f"--demo_path={demos}")
    print(f"\n$ python -m warmloop.launch.local {' '.join(learner)}", flush=True)
    run_together(learner, shared, 1, free_port())


def finish(out: Path, success: float, before: dict, after: dict, seconds: float) -> None:
    """summary.json, the picture and the closing table."""
    from ..learner.metrics import read
    from ..learner.plot import plot_run

    last = read(out)[-1]
    summary = {
        "task": TASK.value,
        "seed": SEED.value,
        "demo_success": round(success, 3),
        "success_after_warmup": before["success_rate"],
        "success_after_finetune": after["success_rate"],
        "episodes_per_evaluation": EPISODES.value,
        "env_steps": int(last["environment_steps"]),
        "wall_seconds": round(seconds, 1),
        "updates": int(last["updates"]),
        "mean_length_after_warmup": before["mean_length"],
        "mean_length_after_finetune": after["mean_length"],
    }
    (out / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    judged = [evaluation_record(0, before), evaluation_record(summary["env_steps"], after)]
    plot_run(out, f"{TASK.value}: success while fine-tuning (seed {SEED.value})", judged)
    print(f"\n{TASK.value:<24}{'success':>10}{'95 % interval':>18}{'mean steps':>12}")
    print(f"{'demonstrations':<24}{success:>10.2f}")
    for name, shown in (("after the warm-up", before), ("after the fine-tuning", after)):
        interval = f"{shown['success_low']:.2f} to {shown['success_high']:.2f}"
        print(f"{name:<24}{shown['success_rate']:>10.2f}{interval:>18}{shown['mean_length']:>12.0f}")
    print(f"\n{summary['env_steps']} environment steps, {summary['updates']} updates, {seconds:.0f} seconds")
    print(f"results in {out}: summary.json, curves.png", flush=True)


def evaluation_record(steps: float, shown: dict[str, float]) -> dict[str, float]:
    """One of the two evaluations, as the plot takes it."""
    return {"environment_steps": steps} | {f"evaluation/{name}": shown[name] for name in ("success_rate", "success_low", "success_high")}


def record(out: Path) -> None:
    """A short video of the final policy, or a sentence why there is none."""
    try:
        run_command("evaluate", f"--checkpoint={out}/checkpoints", "--episodes=1", "--stochastic", "--json", f"--video={out}/final.mp4")
        print(f"video in {out}/final.mp4")
    except WarmloopError:
        log.warning("There is no video: this machine cannot render (see above).")


def preset() -> str:
    return f"configs/metaworld.py:{TASK.value}"


def names(out: Path) -> tuple[str, ...]:
    return (f"--exp_name={out.name}", f"--runs={out.parent}", f"--config={preset()}", f"--seed={SEED.value}")


def stage(number: int, title: str) -> None:
    print(f"\n== {number} of 5: {title}", flush=True)


def say(text: str) -> None:
    print(text.rstrip(), flush=True)


def cli() -> None:
    """The console script `warmloop-demo`."""
    run(main)


if __name__ == "__main__":
    cli()
