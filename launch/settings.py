"""The `--config` flag and what every training command shares: where a run lives, and what it was run with."""

from __future__ import annotations

import json
import re
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from ..configs import load, locate, nearest
from ..configs.schema import RunConfig, from_config_dict, from_dict, to_dict
from ..data.errors import WarmloopError
from .session import SAVED
from .session import save_config as save_config

CONFIG = config_flags.DEFINE_config_file(
    "config",
    None,
    "Preset, such as configs/adroit.py:door or configs/metaworld.py:door-open,rlpd; --config.agent.utd=4 overrides one setting "
    "of the agent that fine-tunes, --config.warmup_agent.utd=4 of the one that warms up.",
)
EXP_NAME = flags.DEFINE_string("exp_name", None, "Name of the run; its files go to RUNS/EXP_NAME.")
RUNS = flags.DEFINE_string("runs", "runs", "Folder that holds the runs.")
SEED = flags.DEFINE_integer("seed", 0, "Decides everything random in the run.", lower_bound=0)
DEBUG = flags.DEFINE_bool("debug", False, "Stop at the first NaN, with a traceback, and log JAX's compilations.")


def locate_config(argv: list[str]) -> list[str]:
    """The arguments with `--config` pointing at a file that exists: as given, or the package's own preset of that name."""
    located, follows = [], False
    for argument in argv:
        name, equals, value = argument.partition("=")
        if follows or (equals and name in ("--config", "-config")):
            argument = locate(argument) if follows else f"--config={locate(value)}"
        follows = argument in ("--config", "-config")
        located.append(argument)
    return located


def unknown_setting(argv: list[str]) -> str | None:
    """What to say of the first `--config.SECTION.NAME` of the arguments that is no setting of their configuration; None where all are."""
    text = "\n".join(argv)
    whole = re.search(r"^--?config[=\n](.+)$", text, re.MULTILINE)
    if whole is None:
        return None
    for override in re.finditer(r"^--?(?:no)?config\.([\w.]+)", text, re.MULTILINE):
        values, where = to_dict(load(whole[1])), "--config"
        for name in override[1].split("."):
            if not isinstance(values, dict) or not values:
                return f'{where} has no settings of its own, and "{name}" is none.'
            if name not in values:
                return f'{where} has no setting "{name}"; {nearest(name, values)}'
            values, where = values[name], f"{where}.{name}"
    return None


def run_config(resuming: bool = False, **learner: int | float | str | None) -> RunConfig:
    """The configuration that the flags give; `learner` settings that are not None replace the preset's.

    When `resuming` without `--config`, it is the one that the run was started with.

    Raises:
        WarmloopError: no `--config`, a setting that is unknown or out of range, or a classifier of success that is not there.
    """
    from ..actor.classified import pinned

    if DEBUG.value:
        import jax

        jax.config.update("jax_debug_nans", True)
        jax.config.update("jax_log_compiles", True)
    if CONFIG.value is not None:
        config = from_config_dict(CONFIG.value)
    elif resuming and (saved := run_directory() / SAVED).is_file():
        config = from_dict(json.loads(saved.read_text()))
    else:
        raise WarmloopError("Name a configuration, such as --config=configs/adroit.py:door.")
    config = config.replace(environment={"success": pinned(config.environment.success)})
    return config.replace(learner={name: value for name, value in learner.items() if value is not None})


def refuse_unused_agent(config: RunConfig) -> None:
    """For a command that trains `warmup_agent` alone.

    Raises:
        WarmloopError: a flag sets something of `agent`, and none the same of `warmup_agent`.
    """
    given, known = config_flags.get_override_values(flags.FLAGS["config"]), to_dict(config)["warmup_agent"]
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


def run_directory() -> Path:
    """`RUNS/EXP_NAME`, which is made when the run begins. Raises WarmloopError where there is no name."""
    name = EXP_NAME.value
    if not name or Path(name).name != name:
        raise WarmloopError("Name the run with --exp_name, as in --exp_name=door (a plain name, without slashes).")
    return Path(RUNS.value) / name
