"""What happened in a run's folder, RUNS/EXP_NAME/history.jsonl: a line for each start and end of a command, for the run's page.

It is told, and never believed: nothing that learns reads it. Each line has a sha256 of its own.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ... import __version__
from ...data.errors import WarmloopError
from ...data.files.sealed_json import seal, unseal
from ..flags.common import log

HISTORY = "history.jsonl"
ASKED, BEGAN, RETAINED, JUDGED, ENDED = "asked", "began", "retained", "judged", "ended"


def note(directory: str | Path, event: str, phase: str, **values: Any) -> None:
    """Adds a line. Where it cannot be written, that is said, and the run goes on."""
    line = {"event": event, "phase": phase, "time": round(time.time(), 3), "version": __version__, **values}
    try:
        with open(Path(directory) / HISTORY, "a", encoding="utf-8") as file:
            file.write(seal(line, indent=None))
    except OSError as error:
        log.warning("%s cannot be written (%s): the run's report will say less.", Path(directory) / HISTORY, error.strerror)


def read_history(directory: str | Path) -> tuple[list[dict[str, Any]], int]:
    """The lines, oldest first, and how many were left out because they are damaged or were changed."""
    path, lines, damaged = Path(directory) / HISTORY, [], 0
    text = path.read_bytes().decode(errors="replace") if path.is_file() else ""
    for line in text.splitlines(keepends=True):
        try:
            values = unseal(line, str(path), "")
        except WarmloopError:
            damaged += 1
            continue
        if {"event", "phase", "version"} <= values.keys() and isinstance(values.get("time"), int | float):
            lines.append(values)
    return lines, damaged


def asked(lines: Iterable[Mapping[str, Any]]) -> tuple[str | None, dict[str, Any] | None]:
    """The configuration that was named last, and by what the run differs from it: of each setting its value there and here. None where it
    was not recorded."""
    named: str | None = None
    changed: dict[str, Any] | None = None
    for line in lines:
        if line["event"] == ASKED and "configuration" in line:
            named, changed = str(line["configuration"]), dict(line["changed"]) if "changed" in line else None
        elif line["event"] == ASKED and changed is not None:
            changed |= {name: [changed.get(name, [None])[0], value] for name, value in line.get("resumed_with", {}).items()}
    return named, changed


def digest_of(digests: Iterable[str]) -> str:
    """What tells these episodes, by their `digests`, from others, whatever files they are in and in whatever order."""
    return hashlib.sha256("\n".join(sorted(digests)).encode()).hexdigest()


def last(lines: Iterable[Mapping[str, Any]], event: str, phase: str) -> Mapping[str, Any]:
    """The newest line of an event of a phase; an empty one where there is none."""
    return next((line for line in reversed(list(lines)) if line["event"] == event and line["phase"] == phase), {})
