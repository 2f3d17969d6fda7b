"""Compares algorithms, seeds and settings on the same recorded data.

    warmloop sweep --config=configs/adroit.py:door --algorithms=iql+small,cql+small --seeds=3 \\
        --offline_data_path=demos=demos.npz --offline_data_path=suboptimal=logs.npz --out=runs/door_sweep
    warmloop sweep ... "--set=warmup_agent.actor_lr=1e-4,3e-4" "--set=warmup_agent.hidden=(256,256),(512,512)"

Each run warms up on all of the data and is judged in the environment by its last checkpoint; with --checkpoints=N also by the one
of N that fitted Q evaluation (FQE) chooses. A sweep fine-tunes nothing, and refuses settings that would change no run.
--config.SECTION.SETTING=VALUE changes a setting of all runs, --set=SECTION.SETTING=VALUE,VALUE makes a run with each value.
Presets are joined by a plus, as in --algorithms=cql+small,iql+small; two rows that would be the same run are refused. Where memory
allows, the seeds of a run learn side by side in one program that holds the data once. Every finished seed is a line of
OUT/results.jsonl, and its checkpoint is in OUT/NAME/seed-N; the same command continues after an interruption. A seed of the same NAME
with other data or settings replaces the line and the checkpoint. A seed whose policy gives an action that is not finite has diverged: it
has no score, and the table counts such seeds. With --ray, each missing seed is a trial on a node of a Ray cluster. What a node that dies
had not finished is run again elsewhere, and results and checkpoints come to OUT on this machine. With --asha, runs that do poorly at a
rung are stopped; the table says after how many updates, and OUT/rungs.jsonl remembers it. The sweep ends with OUT/table.md and
OUT/scores.png: the interquartile mean over the other seeds with its 95 % interval (Agarwal et al. 2021), on D4RL's scale where there is
one.
"""

from __future__ import annotations

if not __package__:
    from starting import by_path as by_path  # started by its path

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags
from ml_collections import config_flags

from ..data.errors import WarmloopError
from .flags import data_flags, overrides
from .flags.arguments import locate_config
from .flags.common import progress, run

if TYPE_CHECKING:
    from ..configs.schema import RunConfig
    from .sweeps.halving import HalvingRule
    from .sweeps.sweep_results import Results
    from .sweeps.sweep_runs import Judging
    from .sweeps.sweep_work import Outcome, Work
    from .sweeps.sweeping import Run

flags.adopt_module_key_flags(data_flags)
CONFIG = config_flags.DEFINE_config_file(
    "config",
    None,
    "Configuration of the task, such as my.py or configs/adroit.py:door. --config.warmup_agent.utd=4 changes one setting of all runs; a "
    "change by which no run would differ is refused.",
)
ALGORITHMS = flags.DEFINE_list(
    "algorithms", [], "Algorithms to compare: presets, such as iql+small,cql+small, or MODULE:NAME. Default: the task's own."
)
SEEDS = flags.DEFINE_integer("seeds", 3, "Number of seeds of each run; they are 0, 1, and so on.", lower_bound=1)
SET = flags.DEFINE_multi_string(
    "set", [], "Setting to compare, SECTION.NAME=VALUE,VALUE…: a run with each value. Repeated, every combination is run."
)
DATA = flags.DEFINE_multi_string("offline_data_path", [], "Data to learn from, [KIND=]PATH; repeatable.")
WARMUP_STEPS = flags.DEFINE_integer(
    "warmup_steps", None, "Updates of each warm-up. Default: the configuration's learner.warmup_steps.", lower_bound=1
)
EVAL_TRAJS = flags.DEFINE_integer("eval_n_trajs", 50, "Number of episodes to judge each seed by.", lower_bound=1)
flags.DEFINE_alias("episodes", EVAL_TRAJS.name)
CHECKPOINTS = flags.DEFINE_integer(
    "checkpoints",
    1,
    "Number of checkpoints of each seed, from which fitted Q evaluation (FQE) chooses; 1 keeps the last alone.",
    lower_bound=1,
)
JUDGE_ALL = flags.DEFINE_bool(
    "judge_all", False, "Judge all --checkpoints in the environment, to see how well fitted Q evaluation (FQE) ranks them."
)
MEMORY = flags.DEFINE_integer(
    "seed_mebibytes", 2048, "Memory in MiB for the seeds that learn side by side, without the data.", lower_bound=1
)
OUT = flags.DEFINE_string("out", None, "Folder for the results.")
RAY = flags.DEFINE_string(
    "ray",
    None,
    "Ray cluster whose nodes run the trials, HOST:PORT; auto is the one that this machine belongs to. Default: this process runs them.",
)
TRIAL_CPUS = flags.DEFINE_float(
    "trial_cpus", 1.0, "CPUs that Ray sets aside for a trial; up to 1, it computes on one thread.", lower_bound=0.0
)
TRIAL_GPUS = flags.DEFINE_float(
    "trial_gpus", 0.0, "GPUs that Ray sets aside for a trial; 0.25 puts four on one. With 0, a trial opens no GPU.", lower_bound=0.0
)
TRIAL_NEEDS = flags.DEFINE_list("trial_needs", [], "Resources that a trial's node declares, such as lab; the trial holds one of each.")
TRIAL_SEEDS = flags.DEFINE_integer(
    "trial_seeds", 1, "Seeds that learn side by side in a trial on Ray. A node that dies costs so many.", lower_bound=1
)
ASHA = flags.DEFINE_bool(
    "asha",
    False,
    "Stop poor runs early (ASHA): at each rung a run goes on that is among the best of those that came there so far, by its seeds' mean "
    "success or return in the environment. Works in one process too, one run after the other.",
)
ASHA_FIRST = flags.DEFINE_integer(
    "asha_first",
    None,
    "Updates at the first rung of --asha. Default: those of the shortest warm-up, divided twice by --asha_factor.",
    lower_bound=1,
)
ASHA_FACTOR = flags.DEFINE_integer(
    "asha_factor", 3, "Of the runs at a rung of --asha, about one in so many goes on; the next rung is so many times later.", lower_bound=2
)
# Flags that would change nothing without another one.
BELONGS = {RAY.name: (TRIAL_CPUS, TRIAL_GPUS, TRIAL_NEEDS, TRIAL_SEEDS), ASHA.name: (ASHA_FIRST, ASHA_FACTOR)}


def main() -> None:
    if not overrides.configuration() or not OUT.value:
        raise WarmloopError("Name the task and where the results go, as in --config=configs/adroit.py:door --out=runs/sweep.")
    ray = joined()
    import jax

    jax.config.update("jax_cpu_enable_async_dispatch", False)  # judging is one small network at a time: waiting for it at once is faster
    from .sweeps.sweep_results import Results
    from .sweeps.sweep_runs import Judging

    judging = Judging(EVAL_TRAJS.value, CHECKPOINTS.value, JUDGE_ALL.value and CHECKPOINTS.value > 1)
    out, runs = Path(OUT.value), runs_to_compare(judging)
    results = Results(out, judging)
    work = what_is_left(runs, results, judging, out)
    with progress("seeds", sum(map(len, work.missing.values()))) as advance:
        for name, result in outcomes(work, ray):
            if result is None:
                advance(len(work.missing[name]), f"{name}: stopped")
                continue
            results.add(name, runs[name], result)
            advance(1, f"{name}: {'diverged' if result['diverged'] else 'return {mean_return:.1f}'.format(**result)}")
    write_up(work, results)


def write_up(work: Work, results: Results) -> None:
    """Prints the table, and writes it and the picture."""
    from .sweeps.sweep_report import chart, table

    halted = work.halving.stopped if work.halving else {}
    stopped = {name: updates for name, updates in halted.items() if results.missing(name, work.runs[name], SEEDS.value)}
    shown = {name: [] if name in stopped else results.of([name], SEEDS.value)[name] for name in work.runs}
    written = table(shown, stopped)
    (work.out / "table.md").write_text(written)
    print(f"\n{written}\nresults in {work.out}: results.jsonl, table.md, {chart(shown, work.out, stopped).name}")


def runs_to_compare(judging: Judging) -> dict[str, Run]:
    """The runs that the flags name, with their data."""
    from .sweeps.halving import check_comparable
    from .sweeps.sweeping import runs_of, with_data

    changes = overrides.changes()
    for path, flag in ({"learner.warmup_steps": WARMUP_STEPS.name} | data_flags.SAME).items():
        if path in changes:
            overrides.refuse_both(path, flag)
    changes |= data_flags.changes()
    learner = {"warmup_steps": WARMUP_STEPS.value}
    configs = runs_of(overrides.configuration(), ALGORITHMS.value, SET.value, learner, judging.checkpoints, changes)
    if ASHA.value:
        check_comparable(configs, halving_rule(configs))
    return with_data(configs, DATA.value, judging.checkpoints)


def what_is_left(runs: dict[str, Run], results: Results, judging: Judging, out: Path) -> Work:
    """The seeds that are not finished. Where runs are halved, all seeds of a run of which one is not, but for runs that were stopped."""
    from .sweeps.halving import Halving
    from .sweeps.sweep_work import Work

    missing = {name: results.missing(name, chosen, SEEDS.value) for name, chosen in runs.items()}
    halving = None
    if ASHA.value:
        configs = {name: chosen.config for name, chosen in runs.items()}
        keys = {name: results.key(chosen) for name, chosen in runs.items()}
        halving = Halving(out, configs, keys, halving_rule(configs))
        missing = {name: list(range(SEEDS.value)) if seeds and name not in halving.stopped else [] for name, seeds in missing.items()}
    return Work(runs, missing, judging, out, MEMORY.value << 20, halving)


def halving_rule(configs: Mapping[str, RunConfig]) -> HalvingRule:
    """When these runs are compared, by the flags."""
    from .sweeps.halving import HalvingRule

    shortest = min(config.learner.warmup_steps for config in configs.values())
    first = ASHA_FIRST.value or max(1, shortest // ASHA_FACTOR.value**2)
    return HalvingRule(first, ASHA_FACTOR.value, SEEDS.value)


def outcomes(work: Work, ray: Any) -> Iterator[Outcome]:
    """What becomes of the seeds, here or on the cluster that `ray` has joined."""
    from .sweeps.sweep_work import in_this_process

    if ray is None:
        return in_this_process(work)
    from .sweeps.trials_on_ray import TrialPlace, on_ray

    place = TrialPlace(TRIAL_CPUS.value, TRIAL_GPUS.value, tuple(TRIAL_NEEDS.value), TRIAL_SEEDS.value)
    return on_ray(ray, work, place)


def joined() -> Any:
    """Ray's package, once it has joined the cluster that --ray names; None where it names none.

    Raises:
        WarmloopError: there is no such cluster, what --ray or --asha needs is not installed, or a flag would change nothing without one of
            these.
    """
    for flag, others in BELONGS.items():
        for other in others:
            if not flags.FLAGS[flag].value and not flags.FLAGS[other.name].using_default_value:
                raise WarmloopError(f"--{other.name} would change nothing without --{flag}; add that, or leave it out.")
    if ASHA.value:
        from .sweeps.halving import optuna_package

        optuna_package()
    if not RAY.value:
        return None
    from .clusters.joining import connect

    return connect(RAY.value, f"--{RAY.name}", f"--{RAY.name}")


def cli() -> None:
    """The console script `warmloop-sweep`."""
    run(main, prepare=locate_config)


if __name__ == "__main__":
    cli()
