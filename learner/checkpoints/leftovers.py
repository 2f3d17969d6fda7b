"""What a crash left of a checkpoint that was being written, replaced or removed: completed where it can be, else removed."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

from .complete_checkpoints import MANIFEST, is_one
from .stored_policies import drop_unnamed
from .stored_rows import INTERVENTIONS, OFFLINE

log = logging.getLogger(__name__)


def tidy(directory: str | Path) -> None:
    """Leaves in a folder of checkpoints those that are complete, and the files of rows and policies that they name.

    To be called by the folder's one writer before it writes; a file that cannot be removed is said and stays.
    """
    directory = Path(directory).absolute()
    if not directory.is_dir() or is_one(directory):
        return
    try:
        removed = [name for path in sorted(directory.iterdir()) if (name := _settled(path))]
        removed += _unnamed_files(directory)
        incomplete = [path.name for path in sorted(directory.iterdir()) if _is_numbered(path) and not is_one(path)]
    except OSError as error:
        log.warning("Leftovers of an earlier process stay in %s: %s.", directory, error.strerror or error)
        return
    if incomplete:
        log.warning(
            "%s has checkpoints that lost their %s and count for nothing: %s. They stay as they are; remove them, or put the file back.",
            *(directory, MANIFEST, ", ".join(incomplete)),
        )
    if removed:
        log.info("Leftovers of an earlier process are removed from %s: %s.", directory, ", ".join(removed))


def _settled(path: Path) -> str | None:
    """Removes one unfinished thing; returns its name, None for what stays."""
    if path.suffix == ".old" and path.is_dir():
        final = path.with_suffix("")
        if (path / MANIFEST).is_file() and not is_one(final):  # the one that was to take its place did not get there
            shutil.rmtree(final, ignore_errors=True)
            path.rename(final)
            return None
    elif path.suffix not in (".partial", ".part"):
        return None
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    return path.name


def _is_numbered(path: Path) -> bool:
    return path.is_dir() and path.name.isdigit()


def _unnamed_files(directory: Path) -> list[str]:
    """Removes files of rows and of policies that no checkpoint names, unless one cannot be read."""
    try:
        metas = [json.loads(path.read_text(encoding="utf-8")) for path in directory.glob("*/meta.json") if _is_numbered(path.parent)]
    except (OSError, ValueError):
        return []
    named = {meta[kind]["file"] for meta in metas for kind in (OFFLINE, INTERVENTIONS) if kind in meta}
    unnamed = [path for kind in (OFFLINE, INTERVENTIONS) for path in directory.glob(f"{kind}-*.npz") if path.name not in named]
    for path in unnamed:
        path.unlink()
    return [*(path.name for path in unnamed), *drop_unnamed(directory, metas)]
