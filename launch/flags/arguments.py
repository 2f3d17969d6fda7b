"""A training command's arguments before they are parsed: where `--config` is, and what is changed of it."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from pathlib import Path

from ...data.errors import WarmloopError
from ...data.files.run_folder import RunFolder
from ...data.settings.near_names import did_you_mean

FLAG_FILE = Path(__file__).resolve().parents[2] / "configs" / "_flag.py"
AGENTS = ("agent", "warmup_agent")  # of which another brings settings of its own
GIVEN = ("--config", "-config")
MAPPED = "config.data.observation"
Base = Callable[[list[str], str], str]  # by the arguments and the first one that changes a setting: what `_flag.py` is to load


def resumed_run(argv: list[str], change: str) -> str:
    """The saved configuration of the run that the arguments resume. Raises WarmloopError where they resume none."""
    if not any(re.fullmatch(r"--?resume(=(true|1))?", argument, re.IGNORECASE) for argument in argv):
        raise _nothing_to_change(change, "--resume to change the one that the run was started with")
    path = RunFolder(Path(value_of(argv, "runs") or "runs") / (value_of(argv, "exp_name") or "")).config
    if not path.is_file():
        raise WarmloopError(f"{change} is to change the configuration that the run was started with, and there is no {path}: add --config.")
    return str(path)


def named_environment(argv: list[str], change: str) -> str:
    """The environment of --env, with the defaults of all other settings. Raises WarmloopError where there is none."""
    if env := value_of(argv, "env"):
        return f";env={env}"
    raise _nothing_to_change(change, "--env=ID to change the settings of an environment")


def named_checkpoint(argv: list[str], change: str) -> str:
    """The configuration of the newest checkpoint in --checkpoint. Raises WarmloopError where there is none."""
    from ...learner.checkpoints import complete_checkpoints

    directory = (
        value_of(argv, "checkpoint") or value_of(argv, "checkpoint_path") or (value_of(argv, "policy") or "").removeprefix("checkpoint:")
    )
    if not directory:
        raise WarmloopError(f"{change} changes the configuration of a checkpoint, and none is named: add --checkpoint=DIR.")
    return f";meta={complete_checkpoints.newest(directory).path / 'meta.json'}"


def locate_config(argv: list[str], base: Base = resumed_run) -> list[str]:
    """The arguments with `--config` as `configs.load` reads it: a file that exists, with presets on top; and with mappings as pairs.

    With settings to change (`--config.SECTION.NAME=VALUE`), but without `--config`, it is the configuration that `base` finds.

    Raises:
        WarmloopError: there is no such file, or nothing to change the settings of.
    """
    from ...configs import _flag, locate

    named = {section: name for section in AGENTS for name in [value_of(argv, f"config.{section}.name")] if name}
    located, follows = [], False
    for argument in argv:
        name, equals, value = argument.partition("=")
        if follows or (equals and name in GIVEN):
            specification = f"{FLAG_FILE}:{_flag.with_agents(locate(argument if follows else value), named)}"
            argument = specification if follows else f"--config={specification}"
        follows = argument in GIVEN
        located.append(_with_pairs(argument))
    if any(argument.partition("=")[0] in GIVEN for argument in located):
        return located
    changes = [argument for argument in located if re.match(r"--?(no)?config\.", argument)]
    if not changes:
        return located
    specification = _flag.with_agents(base(located, changes[0]), named)
    return [*located[:1], f"--config={FLAG_FILE}:{specification}", *located[1:]]


def specification_of(flag: str) -> str:
    """What the user wrote, from the flag's value after `locate_config`; "" where that was no configuration."""
    from ...configs import _flag

    return _flag.divided(flag.removeprefix(f"{FLAG_FILE}:"))[0]


def as_named(specification: str) -> str:
    """What `specification_of` gives, as a user names it: the package's own presets as configs/NAME.py."""
    from ...configs import PACKAGED

    own = f"{PACKAGED}/"
    return f"configs/{specification.removeprefix(own)}" if specification.startswith(own) else specification


def unknown_setting(argv: list[str]) -> str | None:
    """What to say of the first `--config.SECTION.NAME` of the arguments that is no setting of their configuration; None where all are."""
    from ...configs import _flag

    text = "\n".join(argv)
    whole = re.search(r"^--?config[=\n](.+)$", text, re.MULTILINE)
    if whole is None:
        return None
    for override in re.finditer(r"^--?(?:no)?config\.([\w.]+)", text, re.MULTILINE):
        values, where = _flag.values_of(whole[1].removeprefix(f"{FLAG_FILE}:")), "--config"
        for name in override[1].split("."):
            if not isinstance(values, dict) or not values:
                return f'{where} has no settings of its own, and "{name}" is none.'
            if name not in values:
                return f'{where} has no setting "{name}"{did_you_mean(name, values, one=True, listing=True)}'
            values, where = values[name], f"{where}.{name}"
    return None


def _with_pairs(argument: str) -> str:
    """`--config.data.observation={…}` with the mapping as pairs, as it is stored; of a mapping, a flag would take the keys alone."""
    setting, equals, value = argument.partition("=")
    if not equals or setting.lstrip("-") != MAPPED or not value.lstrip().startswith("{"):
        return argument
    try:
        mapping = ast.literal_eval(value.strip())
    except (ValueError, SyntaxError):
        return argument
    return f"{setting}={tuple(mapping.items())!r}" if isinstance(mapping, dict) else argument


def _nothing_to_change(change: str, otherwise: str) -> WarmloopError:
    return WarmloopError(
        f"{change} changes a configuration, and none is named: add --config=…, such as --config=configs/adroit.py:door, or {otherwise}."
    )


def value_of(argv: list[str], name: str) -> str | None:
    """Of the last flag of this name, given as --name=value or --name value; None where there is none."""
    found = None
    for argument, following in zip(argv, [*argv[1:], ""], strict=True):
        flag, equals, value = argument.partition("=")
        if flag.startswith("-") and flag.lstrip("-") == name:
            found = value if equals else following
    return found
