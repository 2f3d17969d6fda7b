"""The `--config` flag and what every training command shares: where a run lives, and what it was run with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags
from ml_collections import config_flags

from ...data.errors import WarmloopError
from ...data.files.names import check_name
from ...data.files.run_folder import RunFolder
from ..flags.arguments import as_named, specification_of
from ..flags.arguments import locate_config as locate_config
from ..flags.common import log
from ..flags.overrides import refuse_both, typed_in

if TYPE_CHECKING:
    from ...configs.schema import RunConfig

CONFIG = config_flags.DEFINE_config_file(
    "config",
    None,
    "Task and presets, such as configs/adroit.py:door or configs/metaworld.py:door-open,rlpd, or a file of your own, such as my.py,iql. "
    "--config.agent.utd=4 changes one setting, here of the agent that fine-tunes; --config.warmup_agent.utd=4 is for the agent of the "
    'warm-up. The page "Settings" of the documentation lists them all.',
)
EXP_NAME = flags.DEFINE_string("exp_name", None, "Name of the run; its files go to RUNS/EXP_NAME.")
RUNS = flags.DEFINE_string("runs", "runs", "Folder that holds the runs.")
SEED = flags.DEFINE_integer("seed", 0, "Seed of everything random in the run. A resumed run keeps its own.", lower_bound=0)
DEBUG = flags.DEFINE_bool("debug", False, "Stop at the first NaN, with a traceback, and log JAX's compilations.")


def run_config(resuming: bool = False, checkpoints: Path | None = None, **learner: int | float | str | None) -> RunConfig:
    """The configuration that the flags give; `learner` settings that are not None replace the preset's.

    When `resuming` without `--config`, it is the one that the run was started with, as `saved.resumed` finds it by the run's `checkpoints`,
    with what `--config.SECTION.NAME` changes of it.

    Raises:
        WarmloopError: no `--config`, a setting that is unknown, out of range or given twice, or a classifier of success that is not there.
    """
    from ...configs.schema import from_config_dict
    from ..flags.choices import pinned_environment
    from .run_record import resumed

    if DEBUG.value:
        import jax

        jax.config.update("jax_debug_nans", True)
        jax.config.update("jax_log_compiles", True)
    changes = _changes_of_the_saved() if resuming else None
    found = resumed(run_folder(), checkpoints, changes or {}) if resuming and (CONFIG.value is None or changes) else None
    if CONFIG.value is not None:
        config = from_config_dict(CONFIG.value)
        if changes:
            log.info("the run resumes with its saved configuration, changed: %s", ", ".join(f"{n}={v}" for n, v in changes.items()))
    elif found is not None:
        config = found
    else:
        raise WarmloopError("Name a configuration, such as --config=configs/adroit.py:door.")
    config = config.replace(environment=pinned_environment(config.environment))
    given = {name: value for name, value in learner.items() if value is not None}
    for name in given:
        if f"learner.{name}" in typed_in():
            refuse_both(f"learner.{name}", name)
    return config.replace(learner=given)


def _changes_of_the_saved() -> dict[str, Any] | None:
    """What flags change of the run's own saved configuration, by SECTION.NAME; None where `--config` is another one, or none."""
    if CONFIG.value is None:
        return None
    flag = flags.FLAGS["config"]
    path = Path(specification_of(config_flags.get_config_filename(flag)))
    return typed_in() if path.absolute() == run_folder().config.absolute() else None


def gives(flag: str, setting: str) -> bool:
    """Whether a flag or `--config.` says what a setting SECTION.NAME is."""
    return not flags.FLAGS[flag].using_default_value or setting in typed_in()


def run_seed(resuming: bool = False, checkpoints: Path | None = None) -> int:
    """What decides everything random: --seed; of a run that is resumed the seed that it was started with, whatever --seed says."""
    from .run_record import own_seed

    given = None if flags.FLAGS["seed"].using_default_value else SEED.value
    own = own_seed(run_folder(), checkpoints) if resuming else None
    if own is not None and given is not None and given != own:
        log.warning("the run resumes with its own seed, %d, and not with --seed=%d", own, given)
    return SEED.value if own is None else own


def refuse_unused_agent(config: RunConfig) -> None:
    """For a command that trains `warmup_agent` alone.

    Raises:
        WarmloopError: a flag sets something of `agent`, and none the same of `warmup_agent`.
    """
    from ...configs.schema import to_dict

    known = to_dict(config)["warmup_agent"]
    given = typed_in()
    for path in given:
        section, _, name = path.partition(".")
        if section != "agent" or f"warmup_agent.{name}" in given:
            continue
        if name.split(".")[0] in known:
            raise WarmloopError(f"The warm-up trains warmup_agent, not agent: write --config.warmup_agent.{name}, or both.")
        algorithm = config.warmup_agent.name
        raise WarmloopError(
            f"The warm-up trains warmup_agent ({algorithm}), which has no {name}: leave --config.agent.{name} to train_rlpd."
        )


def asked(config: RunConfig) -> dict[str, Any]:
    """What `--config` named, and by what the run's configuration differs from that, for the run's history. Of a run that is resumed with
    its own configuration, what flags change of it. Empty where nothing was named."""
    from ...configs import load
    from .run_record import differences

    if CONFIG.value is None:
        return {}
    if (changes := _changes_of_the_saved()) is not None:
        return {"resumed_with": changes}
    named = specification_of(config_flags.get_config_filename(flags.FLAGS["config"]))
    shown = {"configuration": as_named(named)}
    try:
        return shown | {"changed": differences(load(named), config)}
    except WarmloopError:  # a file that gave a configuration once, and is gone or broken since: the run has what it needs
        return shown


def run_folder() -> RunFolder:
    """`RUNS/EXP_NAME`, which is made when the run begins. Raises WarmloopError where there is no name, or none that a folder can have."""
    return RunFolder(Path(RUNS.value) / check_name(EXP_NAME.value, "the run with --exp_name", "--exp_name=door"))
