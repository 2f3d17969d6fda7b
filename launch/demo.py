"""A whole run, start to end: demonstrations, offline warm-up, then online fine-tuning to reliable success.

    warmloop demo --seed=0

Collects a mixed set on a Meta-World task with its scripted expert, made noisy, and with random actions; warms up; keeps the best
demonstrations; then starts a learner and an actor process and fine-tunes on the sparse success signal. Every command that it
runs is shown. Results go to runs/demo: report.html, summary.json, curves.png and, where rendering works, final.mp4.
"""

from __future__ import annotations

if not __package__:
    from starting import by_path as by_path  # started by its path

import time
from pathlib import Path

from absl import flags

from ..data.files.run_folder import RunFolder
from .flags.common import run
from .parts.demo_parts import evaluate, fresh_folder, record, say, stage, summarise
from .starting.processes import free_port, run_command, run_together

TASK = flags.DEFINE_string("task", "peg-insert-side", "Meta-World task, a name of configs/metaworld.py.")
SEED = flags.DEFINE_integer("seed", 0, "Seed of everything random in the run.", lower_bound=0)
OUT = flags.DEFINE_string("out", "runs/demo", "Folder for the results; what a demo left there before is replaced.")
DEMOS = flags.DEFINE_integer("demos", 320, "Number of demonstrations that the noisy scripted expert records.", lower_bound=2)
RANDOM = flags.DEFINE_integer("random_episodes", 10, "Number of episodes of random actions in the data.", lower_bound=1)
NOISE = flags.DEFINE_float("noise", 0.6, "Standard deviation of the noise on the expert's actions.", lower_bound=0.0)
WARMUP = flags.DEFINE_integer("warmup_steps", None, "Updates of the warm-up. Default: the preset's learner.warmup_steps.", lower_bound=1)
ONLINE = flags.DEFINE_integer(
    "online_steps", None, "Environment steps of the fine-tuning. Default: the preset's learner.online_steps.", lower_bound=1
)
EPISODES = flags.DEFINE_integer("episodes", 50, "Number of episodes of each evaluation.", lower_bound=1)
VIDEO = flags.DEFINE_bool("video", True, "Write a film of the final policy, OUT/final.mp4.")


def main() -> None:
    began, out = time.perf_counter(), Path(OUT.value)
    fresh_folder(out)
    success = collect(out)
    warm_up(out)
    stage(3, "evaluate")
    before = judge(RunFolder(out).warmup)
    fine_tune(out)
    stage(5, "evaluate")
    after = judge(RunFolder(out).checkpoints)
    summarise(out, TASK.value, SEED.value, success, before, after, time.perf_counter() - began)
    if VIDEO.value:
        record(out, "--stochastic")


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


def judge(checkpoint: Path) -> dict:
    """The success rate of a checkpoint over the evaluation's episodes."""
    return evaluate(checkpoint, EPISODES.value, SEED.value, "--stochastic")


def fine_tune(out: Path) -> None:
    """A learner process and an actor process."""
    stage(4, "fine-tune online: a learner process and an actor process")
    steps = (f"--online_steps={ONLINE.value}",) if ONLINE.value else ()
    demos = RunFolder(out).filtered
    shared = (*names(out), *steps)
    learner = (*shared, f"--checkpoint_path={out}/warmup", f"--demo_path={demos}")
    print(f"\n$ python -m warmloop.launch.local {' '.join(learner)}", flush=True)
    run_together(learner, shared, 1, free_port())


def preset() -> str:
    return f"configs/metaworld.py:{TASK.value}"


def names(out: Path) -> tuple[str, ...]:
    return (f"--exp_name={out.name}", f"--runs={out.parent}", f"--config={preset()}", f"--seed={SEED.value}")


def cli() -> None:
    """The console script `warmloop-demo`."""
    run(main)


if __name__ == "__main__":
    cli()
