"""Metrics on disk: TensorBoard's event file, and the same numbers as JSON lines."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tensorboardX import SummaryWriter


class Recorder:
    """Writes `directory/metrics.jsonl` and an event file beside it. A resumed run appends."""

    def __init__(self, directory: str | Path):
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self._lines = open(self.directory / "metrics.jsonl", "a", buffering=1)  # noqa: SIM115 - closed by close()
        self._events = SummaryWriter(str(self.directory), flush_secs=10)

    def write(self, updates: int, metrics: Mapping[str, Any], environment_steps: int | None = None) -> dict[str, float]:
        """Records scalars at an update; returns them as floats."""
        scalars = {name: float(value) for name, value in metrics.items()}
        for name, value in scalars.items():
            self._events.add_scalar(name, value, updates)
        line: dict[str, Any] = {"updates": updates, "time": round(time.time(), 3)}
        if environment_steps is not None:
            line["environment_steps"] = environment_steps
        self._lines.write(json.dumps(line | scalars) + "\n")
        return scalars

    def close(self) -> None:
        """Flushes and closes both files."""
        self._lines.close()
        self._events.close()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read(path: str | Path) -> list[dict[str, float]]:
    """The records of a `metrics.jsonl`, or of the run directory that holds one; a torn last line is left out."""
    path = Path(path)
    path = path / "metrics.jsonl" if path.is_dir() else path
    records = []
    for line in path.read_text().splitlines():
        try:
            records.append(json.loads(line))
        except ValueError:
            break
    return records
