"""What a run was started with: its configuration, its seed and where its modules are, in RUNS/EXP_NAME/config.json and in its checkpoints.

A checkpoint's copy is hashed with it and is the one that counts. config.json is for people to read; it has a sha256, and must agree.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...configs.saved import BESIDE, config_of, read_saved
from ...configs.schema import RunConfig, to_dict
from ...data.doors.imports import FOLDERS, user_folders
from ...data.errors import WarmloopError
from ...data.files.run_folder import RunFolder
from ...data.files.sealed_json import write_sealed
from ...learner.checkpoints import complete_checkpoints
from ...learner.checkpoints.selection_file import SEALS
from ..flags.common import log

BEGUN = "began_with"
BY_CONFIG = "give the configuration by --config"


def described(config: RunConfig, phase: str, seed: int) -> dict[str, Any]:
    """What a checkpoint says of the run that made it. Raises WarmloopError for a setting that JSON cannot hold."""
    values = to_dict(config)
    for name, value in _leaves(values):
        try:
            json.dumps(value)
        except (TypeError, ValueError) as error:
            raise WarmloopError(
                f"config.{name} is {value!r:.60}, which config.json cannot hold ({error}); give numbers, text, lists or dicts of them."
            ) from error
    return {"config": json.loads(json.dumps(values)), "phase": phase, "seed": seed, FOLDERS: user_folders()}


def begun_with(warm: str | Path | None, demo_paths: Sequence[str], meta: Mapping[str, Any] | None) -> dict[str, Any]:
    """What a run learns from that began with this warm-up and these demonstrations: as said, and in full. `meta` describes the checkpoint
    that it is resumed from, which has both already.

    Raises:
        WarmloopError: it began with others, so that these would not be read.
    """
    said = {"checkpoint_path": [] if warm is None else [str(warm)], "demo_path": list(demo_paths)}
    now = {name: [paths, [_in_full(path) for path in paths]] for name, paths in said.items()}
    if meta is None:
        return {BEGUN: now}
    before = meta.get(BEGUN)
    for name, (paths, full) in now.items():
        known = [[], []] if before is None else before[name]
        if paths and before is None:
            log.warning("--%s is not read: a run that is resumed has what it began with in its checkpoints", name)
        elif paths and sorted(paths) != sorted(known[0]) and sorted(full) != sorted(known[1]):
            began = " and ".join(known[0]) or "none"
            raise WarmloopError(
                f"--{name}={' and '.join(paths)} would not be read: the run to resume began with {began}, which is in its checkpoints. "
                "Leave the flag out, or begin another run from this one's policy by --checkpoint_path and another --exp_name."
            )
    return {} if before is None else {BEGUN: before}


def _in_full(path: str) -> str:
    """A path, with a KIND= before it where it has one, that means the same in every folder."""
    kind, equals, rest = path.partition("=")
    named = equals and kind.isidentifier()
    return f"{kind}={Path(rest).expanduser().resolve()}" if named else str(Path(path).expanduser().resolve())


def save_config(folder: RunFolder, description: Mapping[str, Any]) -> None:
    """Writes what was `described` to the run's config.json. Raises WarmloopError where that cannot be written."""
    values = description["config"] | {name: description[name] for name in BESIDE}
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
        write_sealed(folder.config, values)
    except OSError as error:
        raise WarmloopError(f"The run's folder {folder.path} cannot be written: {error.strerror}.") from error


def resumed(folder: RunFolder, checkpoints: Path | None, given: Collection[str] = ()) -> RunConfig | None:
    """The configuration of the run to resume; None where nothing says it.

    Args:
        folder: the run's.
        checkpoints: the folder of its checkpoints, which may be elsewhere; None for an actor, which has none.
        given: settings that flags set, SECTION.NAME: config.json may have others of these.

    Raises:
        WarmloopError: config.json was changed, or does not agree with the newest checkpoint.
    """
    found = complete_checkpoints.newest(checkpoints).meta if checkpoints and complete_checkpoints.steps(checkpoints) else None
    path, beside = folder.config, None
    if path.is_file():
        advice = BY_CONFIG if found is None else f"delete {path.name}, since the checkpoints have a copy, and give changes as flags"
        beside = read_saved(path, advice, must=bool(found and found.get(SEALS)))
    if found is None:
        return None if beside is None else config_of(beside)
    if beside is not None and beside.get("phase", found["phase"]) == found["phase"]:
        _compare(path, beside, found, given)
    return config_of(found)


def own_seed(folder: RunFolder, checkpoints: Path | None) -> int | None:
    """The seed of the run to resume, by its newest checkpoint, or, where it has none, by its config.json; None where neither says it."""
    if checkpoints and complete_checkpoints.steps(checkpoints):
        return complete_checkpoints.newest(checkpoints).meta.get("seed")
    return read_saved(folder.config, BY_CONFIG).get("seed") if folder.config.is_file() else None


def _compare(path: Path, beside: Mapping[str, Any], found: Mapping[str, Any], given: Collection[str]) -> None:
    """Raises WarmloopError where config.json says something else than the checkpoint."""
    here, there = (dict(_leaves(what["config"])) | {"seed": what.get("seed")} for what in (beside, found))
    if "seed" not in beside:
        del here["seed"], there["seed"]
    here, there = ({name: json.dumps(value) for name, value in leaves.items()} for leaves in (here, there))
    differing = [name for name in sorted(here.keys() | there.keys()) if here.get(name) != there.get(name) and name not in given]
    if differing:
        shown = ", ".join(f"{name} ({here.get(name, 'absent')}, there {there.get(name, 'absent')})" for name in differing)
        raise WarmloopError(
            f"{path} does not agree with the run's newest checkpoint: {shown}. Delete {path.name} to resume with the checkpoint's "
            "configuration, and give what you mean to change as flags, as in --config.agent.utd=4."
        )


def differences(preset: RunConfig, config: RunConfig) -> dict[str, list[Any]]:
    """Of each setting SECTION.NAME that a run has changed, the preset's value and its own; but for the data, which are no preset's."""
    here, there = (dict(_leaves(json.loads(json.dumps(to_dict(one), default=str)))) for one in (preset, config))
    names = sorted(name for name in here.keys() | there.keys() if not name.startswith("data."))
    return {name: [here.get(name), there.get(name)] for name in names if here.get(name) != there.get(name)}


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every setting by its path, SECTION.NAME."""
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
