"""A run's saved configuration, config.json: the sections, and beside them its seed, its phase, where its modules are, and a sha256."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..data.doors.imports import FOLDERS, find_again
from ..data.files.sealed_json import read_sealed
from .schema import RunConfig, from_dict

BESIDE = ("phase", "seed", FOLDERS)  # the sections


def read_saved(path: Path, advice: str, must: bool = False) -> dict[str, Any]:
    """What is in the file, the sections as "config"; `advice` and `must` as in `sealed_json.unseal`, and raises as it does."""
    values = read_sealed(path, advice, must=must)
    return {name: values.pop(name) for name in BESIDE if name in values} | {"config": values}


def config_of(description: Mapping[str, Any]) -> RunConfig:
    """The configuration in a saved file or a checkpoint's description; the modules that its run found are found from now on."""
    find_again(description)
    return from_dict(description["config"])
