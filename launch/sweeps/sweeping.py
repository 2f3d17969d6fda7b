"""What a sweep is to do: its runs by name, with their data."""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...configs import load
from ...configs.schema import RunConfig, from_dict, to_dict
from ...data.errors import WarmloopError
from ...data.files.digest import of_arrays, of_episode
from ...data.transition import Spec
from ..flags.overrides import Changes, changed

if TYPE_CHECKING:
    from ...data.episode import Episode

Configs = dict[str, RunConfig]
# Of these sections a sweep looks at no other settings: it warms up on all of the data, without a record or a fine-tuning.
LOOKED_AT: dict[str, tuple[str, ...]] = {
    "actor": (),
    "mixing": (),
    "retention": (),
    "learner": ("warmup_steps", "updates_per_call"),
    "replay": ("alpha", "epsilon", "beta", "beta_updates", "quality_in"),
    "frames": ("random_shift", "chroma_subsampling", "budget_mebibytes"),
    "fqe": ("steps", "members", "hidden", "batch_size", "learning_rate", "tau"),
}


def runs_of(
    task: str,
    algorithms: Sequence[str],
    settings: Sequence[str],
    learner: Mapping[str, Any],
    checkpoints: int = 1,
    changes: Changes | None = None,
) -> Configs:
    """The configurations to compare, by name. An algorithm may be several presets, as in cql+small; `changes` are settings of all runs.

    Raises:
        WarmloopError: an unknown algorithm or setting, one that a sweep of so many checkpoints does not look at, a value of another type,
            or two runs that would be the same.
    """
    choices = [_values(setting, checkpoints) for setting in settings]
    _check_changes(changes or {}, [choice[0][0] for choice in choices], checkpoints)
    runs = {}
    for algorithm in algorithms or [""]:
        base = load(",".join([task, *filter(None, algorithm.split("+"))])).replace(
            learner={n: v for n, v in learner.items() if v is not None}
        )
        base = changed(base, changes or {})
        for chosen in itertools.product(*choices):
            plain = to_dict(base)
            for path, value in chosen:
                _put(plain, path, value)
            name = " ".join([algorithm or base.warmup_agent.name, *(f"{path.rpartition('.')[2]}={value}" for path, value in chosen)])
            if not base.learner.warmup_steps:
                raise WarmloopError(f"{name} has no warm-up, which is all that a sweep does: say how long by --warmup_steps.")
            if name in runs:
                raise WarmloopError(f"{name} is there twice; leave one of them out.")
            runs[name] = from_dict(plain)
    _refuse_alike(runs, checkpoints)
    return runs


def _check_changes(changes: Changes, compared: Sequence[str], checkpoints: int) -> None:
    """Raises WarmloopError where a setting of all runs would change none of them, or is one of those to compare."""
    for path in changes:
        if path in compared:
            raise WarmloopError(f"--set={path} and --config.{path} set the same; leave one of them out.")
        if useless := _useless(path, checkpoints):
            raise WarmloopError(f"--config.{path} would change nothing: {useless}.")


def _refuse_alike(runs: Configs, checkpoints: int) -> None:
    """Raises WarmloopError where two runs would be the same under two names."""
    first: dict[str, str] = {}
    for name, config in runs.items():
        other = first.setdefault(json.dumps(_what_counts(config, checkpoints), sort_keys=True, default=str), name)
        if other != name:
            raise WarmloopError(
                f"{other} and {name} would be the same run under two names: a sweep warms up alone, and what they differ by, if anything, "
                "comes after that. Leave one of them out."
            )


def _what_counts(config: RunConfig, checkpoints: int) -> dict[str, Any]:
    """The settings by which the runs of a sweep may differ. How many updates a program does is none: they are the same to the bit."""
    sections = {name: values for name, values in to_dict(config).items() if name != "agent" and (name != "fqe" or checkpoints > 1)}
    for section, names in LOOKED_AT.items():
        if section in sections:
            sections[section] = {name: sections[section][name] for name in names if name != "updates_per_call"}
    return sections


def _values(setting: str, checkpoints: int) -> list[tuple[str, Any]]:
    """`SECTION.NAME=A,B` as one pair for each value."""
    path, equals, text = setting.partition("=")
    if not equals or "." not in path:
        raise WarmloopError(f'--set={setting}: write SECTION.NAME=VALUE,VALUE, as in --set="warmup_agent.actor_lr=1e-4,3e-4".')
    if useless := _useless(path, checkpoints):
        raise WarmloopError(f"--set={setting} would change nothing: {useless}.")
    try:
        found = ast.literal_eval(f"[{text}]")
    except (ValueError, SyntaxError):
        found = text.split(",")
    return [(path, value) for value in found]


def _useless(path: str, checkpoints: int) -> str:
    """Why no run would differ by the setting SECTION.NAME, and what to set instead; "" where they do."""
    section, _, name = path.partition(".")
    known = LOOKED_AT.get(section)
    if section == "agent":
        return f"a sweep trains the agent that warms up, so set warmup_agent.{name}"
    if path == "learner.warmup_checkpoints":
        return "a sweep keeps as many checkpoints as --checkpoints says"
    if section == "fqe" and checkpoints == 1:
        return "FQE chooses among several checkpoints of a seed, so add --checkpoints=N"
    if known is None or name in known:
        return ""
    return f"of the section {section} a sweep looks at {', '.join(known) or 'nothing, since it does not fine-tune'}"


def _put(plain: dict[str, Any], path: str, value: Any) -> None:
    section, _, name = path.partition(".")
    if section not in plain:
        raise WarmloopError(f"--set: there is no section {section}; there are {', '.join(plain)}.")
    plain[section] = {**plain[section], name: value}


@dataclasses.dataclass(frozen=True)
class Run:
    """One of the things to compare.

    Attributes:
        config: with the sources of its data, and the action limits that were taken from them, if any were.
        recorded: the episodes, as its environment has them.
        contents: what tells these from others, whatever files they are in and in whatever order.
    """

    config: RunConfig
    recorded: list[Episode]
    contents: str


def with_data(configs: Configs, arguments: Sequence[str], checkpoints: int) -> dict[str, Run]:
    """The runs of these configurations by name. What several of them learn from in the same environment is read once.

    Raises:
        WarmloopError: data do not fit their environment, or FQE cannot choose among several checkpoints.
    """
    from ...agents.registry import agent_classes
    from ..run.recorded_data import recorded_data

    read: dict[str, Run] = {}
    runs = {}
    for name, config in configs.items():
        key = repr((config.data, config.environment, config.tasks))
        if key not in read:
            given, recorded = recorded_data(config, arguments)
            read[key] = Run(given, recorded, _contents(recorded))
        found = read[key]
        if checkpoints > 1 and hasattr(agent_classes(config.warmup_agent.name, "warmup_agent.name")[0], "remember"):
            raise WarmloopError(
                f"--checkpoints={checkpoints}: FQE, which chooses among them, judges by single states alone, and "
                f"{config.warmup_agent.name} remembers what it saw before; leave it at 1."
            )
        if checkpoints > 1 and (cameras := Spec.of(found.recorded[0].steps).cameras):
            raise WarmloopError(
                f"--checkpoints={checkpoints}: FQE, which chooses among them, judges by states alone, and observations of "
                f"{config.environment.id} have images ({', '.join(leaf.name or 'the whole' for leaf in cameras)}); leave it at 1."
            )
        runs[name] = dataclasses.replace(found, config=config.replace(data=found.config.data, environment=found.config.environment))
    return runs


def _contents(recorded: Sequence[Episode]) -> str:
    """A hash of all that is learnt from of the episodes."""
    parts = [
        f"{of_episode(episode)} {of_arrays([steps.truncated, steps.quality, steps.source, steps.intervened]).hex()} {episode.task}"
        for episode in recorded
        for steps in [episode.steps]
    ]
    return hashlib.sha256("\n".join(sorted(parts)).encode()).hexdigest()
