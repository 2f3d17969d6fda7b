"""Folders below a trainer's `run_dir`, and the checkpoints of its offline trainings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...data.errors import WarmloopError
from ...learner.checkpoints import checkpoint, stored_rows
from ...learner.state import LearnerParts, LearnerState


def made(folder: Path) -> Path:
    """A folder, made if need be. Raises WarmloopError where the disk refuses."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WarmloopError(f"Metrics cannot be written to {folder}: {error.strerror}.") from error
    return folder


def new_folder(below: Path, stem: str) -> Path:
    """STEM-1, or the first after it that is not there."""
    number = 1
    while (below / f"{stem}-{number}").exists():
        number += 1
    return below / f"{stem}-{number}"


def offline_checkpoints(
    folder: Path, parts: LearnerParts, about: dict[str, Any], tell: Callable[[int, Path], object]
) -> Callable[[LearnerState], None]:
    """What saves an offline training's state to a folder, with what is said `about` it, and tells of each checkpoint."""
    stored: list[stored_rows.StoredRows] = []

    def save(state: LearnerState) -> None:
        stored[:] = stored or [stored_rows.store_offline(folder, state)]
        tell(int(state.updates), checkpoint.save(folder, state, parts.agent, about, keep=None, offline=stored[0]))

    return save
