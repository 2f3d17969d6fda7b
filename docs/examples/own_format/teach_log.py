"""Reads the logs of a made-up teaching pendant, a text file of sessions: `teach_log:read:PATH`.

    session cube 17                      the task, and a number
    0.00 | 0.96 -0.28 0.10 | 0.5 | -0.3  seconds | what was observed | the action, in [-1, 1] | the reward for it
    0.05 | 0.95 -0.31 0.62 | 0.1 | -0.4
    end 0.94 -0.34 0.81 solved           what was observed after the last action; "solved", "cut" or "failed"

A session that was not ended, as by a flat battery, is left out and told. Start it as README.md says.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

log = logging.getLogger("warmloop")


def read(path: str) -> Iterator[dict[str, Any]]:
    """One episode for each session. There is one observation more than there are actions: the last one has no action."""
    task, rows = "", []
    for number, line in enumerate(Path(path).read_text().splitlines(), start=1):
        head, _, rest = line.partition(" ")
        if head == "session":
            if rows:
                log.warning("%s: the session that ends before line %d was broken off, and is left out", path, number)
            task, rows = rest.split()[0], []
        elif head == "end":
            *last, verdict = rest.split()
            yield episode(rows, [float(value) for value in last], verdict, task)
            rows = []
        elif line.strip():
            rows.append([[float(value) for value in part.split()] for part in line.split("|")])


def episode(rows: list[list[list[float]]], last: list[float], verdict: str, task: str) -> dict[str, Any]:
    """The arrays of one session; the task was over only where it was solved or failed, and not where a time limit cut it."""
    times, observations, actions, rewards = zip(*rows, strict=True)
    return {
        "observations": np.array([*observations, last], np.float32),  # [T + 1, D]
        "actions": np.array(actions, np.float32),  # [T, A]
        "rewards": np.array(rewards, np.float32)[:, 0],  # [T]
        "timestamps": np.array(times)[:, 0],
        "terminals": verdict != "cut",
        "success": verdict == "solved",
        "task": task,
    }
