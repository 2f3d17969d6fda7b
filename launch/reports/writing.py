"""Writes the report of a run, or of several; at a run's end nothing that goes wrong here costs the run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...data.errors import WarmloopError
from ...data.files.run_folder import REPORT
from ...data.files.whole_files import replacing
from ..flags.common import log


def write_report(directory: str | Path) -> Path:
    """Writes RUN/report.html at the end of a run; returns its path. What keeps it from being written is told, and costs nothing else."""
    path = Path(directory) / REPORT
    try:
        write([directory], path)
    except Exception as error:  # the run is over and saved, and its page can be made at any time
        reason = str(error) if isinstance(error, WarmloopError) else f"{type(error).__name__}: {error}"
        log.warning("%s could not be written (%s); `warmloop report %s` tries again.", path, reason, directory)
    return path


def write(directories: Sequence[str | Path], out: Path) -> None:
    """Writes the page of a run, or the comparison of several, to `out`, whole or not at all.

    Raises:
        WarmloopError: one of the folders is no run's, or `out` cannot be written.
    """
    from . import one_run, several_runs
    from .story import read_story

    stories = [read_story(directory) for directory in directories]
    text = one_run.page(stories[0], out) if len(stories) == 1 else several_runs.page(stories, out)
    try:
        with replacing(out) as file:
            file.write(text.encode("utf-8", errors="replace"))
    except OSError as error:
        raise WarmloopError(f"{out} cannot be written: {error.strerror}.") from error
