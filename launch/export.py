"""Exports a policy as files that run without this package, and compares them with the agent.

    warmloop export --checkpoint=runs/door/checkpoints --out=door_policy

Writes policy.py (NumPy alone; actions in the environment's units and in [-1, 1]), policy.stablehlo and sampled.stablehlo (jax.export, any
batch), weights.safetensors and policy.json (spaces, action limits, normaliser, tasks). The head of policy.py shows how to use the files.

Each form is read back and run on observations of the environment and on random ones. If an action differs from the agent's by more
than 1e-5, no file is left and the exit code is 2.
"""

from __future__ import annotations

if not __package__:
    from starting import by_path as by_path  # started by its path

from absl import flags
from ml_collections import config_flags

from ..data.errors import WarmloopError
from .flags import overrides
from .flags.arguments import locate_config, named_checkpoint
from .flags.common import output_path, run
from .flags.step_flag import define_step
from .parts.exporting import export_checkpoint
from .starting.platforms import prefer_cpu

CHECKPOINT = flags.DEFINE_string("checkpoint", None, "Folder with checkpoints, or a checkpoint's own, as a training command wrote it.")
flags.DEFINE_alias("checkpoint_path", CHECKPOINT.name)
STEP = define_step(
    "step",
    'Checkpoint to export, by its number of updates, "best" for the best policy of the run or "last" for the trained one. Default: the one '
    "in selection.json; without that file, the best policy if the run chose it at its end, else the newest checkpoint.",
)
CONFIG = config_flags.DEFINE_config_file(
    "config",
    None,
    "Used as --config.environment.NAME=VALUE alone: changes one setting of the checkpoint's environment, such as "
    "--config.environment.kwargs={'port': 5000}, for the comparison of the exported policy with the agent.",
)
OUT = flags.DEFINE_string("out", None, "Folder to write the exported policy to.")
OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace the exported policy in --out.")


def main() -> None:
    if not CHECKPOINT.value:
        raise WarmloopError("Name a checkpoint, as in --checkpoint=runs/door/checkpoints.")
    if overrides.configuration():
        raise WarmloopError("A checkpoint has its own configuration: leave --config out, or change a setting: --config.environment.NAME=….")
    changes = overrides.taken("export", overrides.LOOKED_AT)
    prefer_cpu()
    out = output_path(OUT.value, OVERWRITE.value)
    for report in export_checkpoint(CHECKPOINT.value, out, STEP.value, changes=changes):
        print(report)
    print(f"written            {out}")


def cli() -> None:
    """The console script `warmloop-export`."""
    run(main, prepare=lambda argv: locate_config(argv, named_checkpoint))


if __name__ == "__main__":
    cli()
