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
has no score, and the table counts such seeds. The sweep ends with OUT/table.md and OUT/scores.png: the interquartile mean over the other
seeds with its 95 % interval (Agarwal et al. 2021), on D4RL's scale where there is one.
"""

from __future__ import annotations

if not __package__:
    from starting import by_path as by_path  # started by its path

from pathlib import Path

from absl import flags
from ml_collections import config_flags

from ..data.errors import WarmloopError
from .flags import data_flags, overrides
from .flags.arguments import locate_config
from .flags.common import progress, run

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


def main() -> None:
    if not overrides.configuration() or not OUT.value:
        raise WarmloopError("Name the task and where the results go, as in --config=configs/adroit.py:door --out=runs/sweep.")
    import jax

    jax.config.update("jax_cpu_enable_async_dispatch", False)  # judging is one small network at a time: waiting for it at once is faster
    from .sweeps.sweep_report import chart, table
    from .sweeps.sweep_runs import Judging, train_and_judge
    from .sweeps.sweeping import Results, runs_of, with_data

    judging = Judging(EVAL_TRAJS.value, CHECKPOINTS.value, JUDGE_ALL.value and CHECKPOINTS.value > 1)
    out = Path(OUT.value)
    changes = overrides.changes()
    for path, flag in ({"learner.warmup_steps": WARMUP_STEPS.name} | data_flags.SAME).items():
        if path in changes:
            overrides.refuse_both(path, flag)
    changes |= data_flags.changes()
    learner = {"warmup_steps": WARMUP_STEPS.value}
    configs = runs_of(overrides.configuration(), ALGORITHMS.value, SET.value, learner, judging.checkpoints, changes)
    runs = with_data(configs, DATA.value, judging.checkpoints)
    results = Results(out, judging)
    missing = {name: results.missing(name, chosen, SEEDS.value) for name, chosen in runs.items()}
    with progress("seeds", sum(map(len, missing.values()))) as advance:
        for name, chosen in runs.items():
            for result in train_and_judge(name, chosen.config, chosen.recorded, missing[name], judging, out, MEMORY.value << 20):
                results.add(name, chosen, result)
                advance(1, f"{name}: {'diverged' if result['diverged'] else 'return {mean_return:.1f}'.format(**result)}")
    shown = table(results.of(runs, SEEDS.value))
    (out / "table.md").write_text(shown)
    print(f"\n{shown}\nresults in {out}: results.jsonl, table.md, {chart(results.of(runs, SEEDS.value), out).name}")


def cli() -> None:
    """The console script `warmloop-sweep`."""
    run(main, prepare=locate_config)


if __name__ == "__main__":
    cli()
