"""A person in the loop, start to end, played by a teacher: few imperfect demonstrations, warm-up, and fine-tuning with interventions.

    warmloop demo-hil --seed=0

On gym-hil's task of picking up a cube, from states: collects demonstrations by a scripted expert that is made noisy; warms up; then a
learner and an actor process fine-tune on the sparse success signal, while a scripted teacher takes over whenever the policy gets stuck,
as a person would. Every command that it runs is shown. Results go to runs/demo-hil: summary.json, curves.png and, where rendering works,
final.mp4. It needs gym-hil: pip install 'warmloop[robotics]'.
"""

from __future__ import annotations

if not __package__:
    from starting import by_path as by_path  # started by its path

import importlib.util
import time
from pathlib import Path

from absl import flags

from ..data.errors import WarmloopError
from ..data.files.run_folder import RunFolder
from .flags.common import run
from .parts.demo_parts import evaluate, fresh_folder, record, say, stage, summarise
from .starting.processes import free_port, run_command, run_together

TASK = flags.DEFINE_string("task", "pick-cube", "gym-hil task, a name of configs/gym_hil.py.")
SEED = flags.DEFINE_integer("seed", 0, "Seed of everything random in the run.", lower_bound=0)
OUT = flags.DEFINE_string("out", "runs/demo-hil", "Folder for the results; what a demo left there before is replaced.")
DEMOS = flags.DEFINE_integer("demos", 20, "Number of demonstrations that the noisy scripted expert records.", lower_bound=2)
NOISE = flags.DEFINE_float("noise", 0.6, "Standard deviation of the noise on the expert's actions.", lower_bound=0.0)
RANDOM = flags.DEFINE_float(
    "random_share", 0.3, "Share of the demonstrations' steps with random actions.", lower_bound=0.0, upper_bound=0.9
)
WARMUP = flags.DEFINE_integer("warmup_steps", 2_000, "Updates of the warm-up; 0 leaves the warm-up out.", lower_bound=0)
ONLINE = flags.DEFINE_integer("online_steps", 6_000, "Environment steps of the fine-tuning.", lower_bound=1)
INTERVENTION = flags.DEFINE_string("intervention", "teacher", "Who may take over: teacher, none, or a device, as train_rlpd takes it.")
EVALUATE = flags.DEFINE_integer(
    "evaluate_every", 0, "Environment steps between two evaluations of the policy without the teacher; 0 makes none during the fine-tuning."
)
EPISODES = flags.DEFINE_integer("episodes", 50, "Number of episodes of each evaluation.", lower_bound=1)
VIDEO = flags.DEFINE_bool("video", True, "Write a film of the final policy, OUT/final.mp4.")


def main() -> None:
    if importlib.util.find_spec("gym_hil") is None:
        raise WarmloopError("gym-hil is not installed: pip install 'warmloop[robotics]' (its evdev is built by a C compiler).")
    began, out = time.perf_counter(), Path(OUT.value)
    fresh_folder(out)
    success = collect(out)
    untrained = {"success_rate": 0.0, "success_low": 0.0, "success_high": 0.0, "mean_length": 0.0}
    before = warm_up(out) if WARMUP.value else untrained
    fine_tune(out)
    stage(5, "evaluate the policy alone")
    after = evaluate(RunFolder(out).checkpoints, EPISODES.value, SEED.value)
    seconds = time.perf_counter() - began
    summarise(out, TASK.value, SEED.value, success, before, after, seconds, **interventions(out))
    if VIDEO.value:
        record(out)


def collect(out: Path) -> float:
    """Writes demos.npz; returns the demonstrations' success rate."""
    from ..data.formats import load_episodes

    stage(1, "collect imperfect demonstrations")
    noise = (f"--noise={NOISE.value}", f"--random_share={RANDOM.value}")
    given = (f"--config={preset()}", f"--seed={SEED.value}", "--policy=scripted", *noise, f"--episodes={DEMOS.value}")
    say(run_command("collect", *given, f"--out={out}/demos.npz"))
    episodes = load_episodes(out / "demos.npz")
    return sum(episode.succeeded for episode in episodes) / len(episodes)


def warm_up(out: Path) -> dict:
    """Trains on the demonstrations, and judges what was learnt."""
    stage(2, "warm up offline")
    data = (f"--offline_data_path=demos={out}/demos.npz", f"--warmup_steps={WARMUP.value}", f"--checkpoint_path={out}/warmup")
    plain = ("--config.learner.held_out=0.0", "--config.learner.warmup_checkpoints=1")  # too few episodes to hold any out
    say(run_command("train_offline_warmup", *names(out), *data, *plain))
    stage(3, "evaluate the policy alone")
    return evaluate(RunFolder(out).warmup, EPISODES.value, SEED.value)


def fine_tune(out: Path) -> None:
    """A learner process and an actor process, beside which the teacher takes over."""
    stage(4, f"fine-tune online; who takes over: {INTERVENTION.value}")
    steps = (f"--online_steps={ONLINE.value}", "--config.learner.log_every=200", f"--config.actor.evaluate_every={EVALUATE.value}")
    shared = (*names(out), *steps)
    warm = (f"--checkpoint_path={out}/warmup",) if WARMUP.value else ()
    learner = (*shared, *warm, f"--demo_path={out}/demos.npz")
    actor = (*shared, f"--intervention={INTERVENTION.value}")
    print(f"\n$ python -m warmloop.launch.local {' '.join((*learner, actor[-1]))}", flush=True)
    run_together(learner, actor, 1, free_port())


def interventions(out: Path) -> dict[str, float]:
    """The share of steps that the teacher took: in the first twenty episodes, and over the last quarter of the run."""
    from ..learner.diagnosis.metrics import read

    seen = [(int(each["environment_steps"]), each["actor/intervention_rate"]) for each in read(out) if "actor/intervention_rate" in each]
    late = [rate for steps, rate in seen if steps >= 0.75 * seen[-1][0]]
    first, last = round(seen[0][1], 3), round(sum(late) / len(late), 3)
    print(f"\nthe teacher took {100 * first:.0f} % of the steps at first and {100 * last:.0f} % in the last quarter")
    return {"intervention_rate_first": first, "intervention_rate_last": last}


def preset() -> str:
    return f"configs/gym_hil.py:{TASK.value}"


def names(out: Path) -> tuple[str, ...]:
    return (f"--exp_name={out.name}", f"--runs={out.parent}", f"--config={preset()}", f"--seed={SEED.value}")


def cli() -> None:
    """The console script `warmloop-demo-hil`."""
    run(main)


if __name__ == "__main__":
    cli()
