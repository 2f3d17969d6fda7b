"""Judged runs that stay with the repository, so that a judging of many hours is done in parts, on any machine.

They are lines of JSON in judged/RECIPE.jsonl.gz, one for each run of the judging half, as OUT/RECIPE/TASK-SEED.json has it.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from warm_data import HERE
from warm_tasks import JUDGING

from warmloop.data.files.whole_files import replacing

JUDGED = HERE / "judged"
Run = dict[str, Any]


def kept(recipe: str, folder: Path = JUDGED) -> dict[str, Run]:
    """The runs of a recipe that are kept, by TASK-SEED."""
    path = folder / f"{recipe}.jsonl.gz"
    runs = map(json.loads, gzip.decompress(path.read_bytes()).decode().splitlines()) if path.exists() else ()
    return {name_of(run): run for run in runs}


def name_of(run: Mapping[str, Any]) -> str:
    return f"{run['task']}-{run['seed']}"


def keep(out: Path, recipe: str, folder: Path = JUDGED) -> int:
    """Adds the judged runs of OUT to those that are kept, in place of kept ones of the same task and seed. How many there are then."""
    found = [json.loads(path.read_text()) for path in sorted((out / recipe).glob("*.json"))]
    every = kept(recipe, folder) | {name_of(run): run for run in found if run["half"] == JUDGING}
    lines = "".join(json.dumps(every[name]) + "\n" for name in sorted(every))
    folder.mkdir(exist_ok=True)
    with replacing(folder / f"{recipe}.jsonl.gz") as file:
        file.write(gzip.compress(lines.encode(), mtime=0))
    return len(every)


def restore(out: Path, recipe: str, folder: Path = JUDGED) -> None:
    """Puts the kept runs of a recipe that OUT lacks into OUT."""
    for name, run in kept(recipe, folder).items():
        path = out / recipe / f"{name}.json"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as file:
                file.write((json.dumps(run) + "\n").encode())
