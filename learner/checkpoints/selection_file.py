"""selection.json, beside a warm-up's checkpoints: how they compare, and which one to go on from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...data.errors import WarmloopError
from ...data.files.sealed_json import read_sealed, write_sealed

SELECTION = "selection.json"
ENTRIES = ("chosen", "by", "candidates", "episodes", "fqe", "stochastic", "play_off")
OF_A_CANDIDATE = ("updates", "fqe", "fqe_error", "as_good", "out")
MEASURES = "heldout/"
SEALS = "sealed_beside"  # in a checkpoint's description: the files beside it have their sha256
ADVICE = "select again by warmloop-evaluate --offline, or delete it and name a checkpoint by its number"


def seals(checkpoint: Path) -> bool:
    """Whether the files beside a checkpoint were written with their sha256, as they are since November 2026."""
    try:
        return bool(json.loads((checkpoint / "meta.json").read_text(encoding="utf-8")).get(SEALS))
    except ValueError:
        return True


def write(directory: str | Path, values: Mapping[str, Any]) -> Path:
    """Writes the file, whole or not at all. Raises WarmloopError where it cannot be written."""
    path = Path(directory) / SELECTION
    try:
        write_sealed(path, values)
    except OSError as error:
        raise WarmloopError(f"{path} could not be written: {error.strerror}.") from error
    return path


def read(directory: str | Path, must: bool = True) -> dict[str, Any]:
    """What `write` wrote; `must` as in `data.files.sealed_json.unseal`.

    Raises:
        WarmloopError: it is damaged, was changed, or is no selection.
    """
    path = Path(directory) / SELECTION
    values = read_sealed(path, ADVICE, ENTRIES, must)
    try:
        _ = int(values["chosen"]), [int(one["updates"]) for one in values["candidates"]]
        strange = [name for one in values["candidates"] for name in one if name not in OF_A_CANDIDATE and not name.startswith(MEASURES)]
    except (ValueError, KeyError, TypeError) as error:
        raise WarmloopError(f"{path} is not a selection; {ADVICE}.") from error
    if strange:
        raise WarmloopError(f'{path} has an entry "{strange[0]}" of a candidate, which is not known; {ADVICE}.')
    return values
