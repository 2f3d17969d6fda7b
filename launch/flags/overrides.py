"""`--config.SECTION.SETTING=VALUE` of commands that use a part of a configuration, and refuse changes of the rest.

Training commands, which use all of it, have `run.settings`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from absl import flags
from ml_collections import config_flags

from ...data.errors import WarmloopError
from .arguments import AGENTS, specification_of

if TYPE_CHECKING:
    from ...configs.schema import RunConfig

Changes = Mapping[str, Any]  # values by SECTION.SETTING
# What a command uses that plays episodes in an environment, and what one uses that looks at its spaces.
PLAYED = ("environment", "tasks", "actor.simulator", "actor.faults_per_hour", "actor.step_timeout", "actor.reset_timeout")
LOOKED_AT = tuple(f"environment.{name}" for name in ("id", "kwargs", "wrappers", "unseen", "horizon"))
LIMITS = ("environment.action_low", "environment.action_high")
BETWEEN_TWO = ("environment.local_kwargs",)  # which matters where actor and learner are compared


def configuration() -> str:
    """What `--config` names, `FILE[:ARGUMENT][,PRESET…]`; "" where it names nothing."""
    flag = flags.FLAGS["config"]
    return "" if flag.value is None else specification_of(config_flags.get_config_filename(flag))


def configured() -> RunConfig | None:
    """The configuration that `--config` names, with what flags change of it; None where it names nothing."""
    return _typed() if configuration() else None


def typed_in() -> dict[str, Any]:
    """What flags change, by SECTION.SETTING."""
    flag = flags.FLAGS["config"]
    return {} if flag.value is None else config_flags.get_override_values(flag)


def changes() -> dict[str, Any]:
    """What flags change, by SECTION.SETTING, with values of the settings' types."""
    if not (given := typed_in()):
        return {}
    from ...configs.schema import to_dict

    values = to_dict(_typed())
    return {path: _at(values, path) for path in given}


def taken(command: str, used: Sequence[str], but: Sequence[str] = (), same: Mapping[str, str] | None = None) -> dict[str, Any]:
    """As `changes`, for a command that uses a part of a configuration.

    Args:
        command: its verb, for the errors.
        used: the sections and settings that it uses.
        but: settings among these that it does not use.
        same: by a setting, the flag that says the same.

    Raises:
        WarmloopError: a change of a setting that the command does not use, or of one that another flag sets.
    """
    found = changes()
    for path in found:
        if any(_within(path, one) for one in but):
            raise WarmloopError(f"--config.{path} would change nothing: {command} does not use this setting. Leave it out.")
        if not any(_within(path, one) for one in used):
            raise WarmloopError(
                f"--config.{path} would change nothing: of a configuration, {command} uses {_listed(used)}. Leave the flag out."
            )
        if flag := (same or {}).get(path):
            refuse_both(path, flag)
    return found


def refuse_both(path: str, flag: str) -> None:
    """Raises WarmloopError where the flag is given that sets the same as the setting `path`."""
    if not flags.FLAGS[flag].using_default_value:
        raise WarmloopError(f"--{flag} and --config.{path} set the same; leave one of them out.")


def changed(config: RunConfig, changes: Changes) -> RunConfig:
    """The configuration with other values of these settings. Raises WarmloopError where it has no such setting, or takes no such value."""
    from ...configs.schema import from_dict, to_dict

    if not changes:
        return config
    for section in AGENTS:
        if name := changes.get(f"{section}.name"):
            config = config.replace(**{section: getattr(config, section).named(name, f"--config.{section}.name")})
    values = to_dict(config)
    for path, value in changes.items():
        *folders, name = path.split(".")
        _at(values, ".".join(folders))[name] = value
    return from_dict(values)


def changed_checkpoint(config: RunConfig, changes: Changes, directory: Any) -> RunConfig:
    """As `changed`, for the configuration of the checkpoint in `directory`.

    Raises:
        WarmloopError: the action limits would be others than those that its policy acts by.
    """
    from .limits import other_limits

    new = changed(config, changes)
    if new.environment.limits != config.environment.limits:
        raise other_limits(directory, config.environment.limits, new.environment.limits)
    return new


def _typed() -> RunConfig:
    from ...configs.schema import from_config_dict

    values: Any = flags.FLAGS["config"].value
    return from_config_dict(values)


def _at(values: Any, path: str) -> Any:
    for name in path.split("."):
        values = values[name]
    return values


def _within(path: str, part: str) -> bool:
    return path == part or path.startswith(f"{part}.")


def _listed(used: Sequence[str]) -> str:
    """The sections, and of others the settings, as a person lists them."""
    return used[0] if len(used) == 1 else f"{', '.join(used[:-1])} and {used[-1]}"
