"""Makes the recordings of one of the bench's tasks, once: `python warm_data.py --task=NAME --out=runs/warm/data`.

OUT/NAME/facts.json, which is written last, says what there is: each file with its digest, its episodes and how many of them succeeded.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from warm_tasks import NAMED, Collected, Learnt, Shared, Task

from warmloop.configs import load
from warmloop.data.errors import WarmloopError
from warmloop.data.files.digest import of_path
from warmloop.data.files.whole_files import replacing
from warmloop.data.formats import load_episodes, write_episodes
from warmloop.launch.starting.processes import command

HERE = Path(__file__).resolve().parent
SHARED = HERE.parents[3] / "shared" / "data"
FACTS, SEED = "facts.json", 1
REPLAY = "medium-replay.npz"  # what behaviour.py writes
ROBOTICS = "pip install -e '.[robotics]'"
# What an environment's id begins with, the modules that it needs, and what installs them.
PACKAGES = {
    "gym_hil/": (("gym_hil",), ROBOTICS),
    "Meta-World/": (("metaworld",), ROBOTICS),
    "AdroitHand": (("gymnasium_robotics",), ROBOTICS),
    "Fetch": (("gymnasium_robotics",), ROBOTICS),
    "FrankaKitchen": (("gymnasium_robotics",), ROBOTICS),
    "ogbench:": (("ogbench", "dm_control"), "pip install ogbench==1.2.2 dm_control==1.0.28  # that of MuJoCo 3.3"),
}


def specification(task: Task) -> str:
    """The task's configuration as --config takes it in any folder."""
    return f"{HERE}/{task.config}" if task.config.startswith("warm_config") else task.config


def lacking(task: Task) -> str | None:
    """What is not here of what a task needs, as a sentence; None where all is."""
    for source in task.sources:
        if isinstance(source, Shared) and not (SHARED / f"{source.file}.npz").is_file():
            return f"{task.name} needs {SHARED / source.file}.npz, which does not exist"
    environment = load(specification(task)).environment.id
    modules, remedy = next((found for start, found in PACKAGES.items() if environment.startswith(start)), ((), ""))
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    return f"{task.name} needs {' and '.join(missing)}: {remedy}" if missing else None


def file_of(source: Shared | Collected | Learnt, number: int, folder: Path) -> Path:
    """Where a source's episodes lie, or will."""
    if isinstance(source, Shared) and not source.first:
        return SHARED / f"{source.file}.npz"
    return folder / (REPLAY if isinstance(source, Learnt) else f"{source.kind}-{number}.npz")


def arguments(task: Task, folder: Path) -> list[str]:
    """The recordings as training takes them, KIND=PATH."""
    return [f"{source.kind}={file_of(source, number, folder)}" for number, source in enumerate(task.sources)]


def described(task: Task) -> dict[str, Any]:
    """What decides a task's recordings."""
    sources = [{"from": type(source).__name__} | dataclasses.asdict(source) for source in task.sources]
    return json.loads(json.dumps({"config": task.config, "sources": sources}))


def facts_of(task: Task, folder: Path) -> dict[str, Any] | None:
    """What facts.json says; None where the recordings are not made yet.

    Raises:
        WarmloopError: those that are there were made otherwise than the table has it now.
    """
    path = folder / FACTS
    if not path.exists():
        return None
    facts = json.loads(path.read_text())
    if facts["made"] != described(task):
        raise WarmloopError(
            f"The recordings in {folder} were made otherwise than warm_tasks.py has them now: remove the folder, or use another --out."
        )
    return facts


def make(task: Task, folder: Path) -> dict[str, Any]:
    """Makes the recordings, from the beginning, and says what they are."""
    began = time.perf_counter()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    files = []
    for number, source in enumerate(task.sources):
        path = file_of(source, number, folder)
        if isinstance(source, Shared) and source.first:
            write_episodes(path, load_episodes(SHARED / f"{source.file}.npz")[: source.first])
        elif isinstance(source, Collected):
            collect(task, source, path)
        elif isinstance(source, Learnt):
            learn(task, source, folder)
        files.append(facts(source.kind, path))
    found = {"made": described(task), "files": files, "seconds": round(time.perf_counter() - began, 1)}
    with replacing(folder / FACTS) as file:
        file.write((json.dumps(found, indent=1) + "\n").encode())
    return found


def facts(kind: str, path: Path) -> dict[str, Any]:
    episodes = load_episodes(path)
    return {
        "kind": kind,
        "file": path.name,
        "sha256": of_path(path),
        "episodes": len(episodes),
        "steps": sum(map(len, episodes)),
        "successes": sum(episode.success is not None and episode.succeeded for episode in episodes),
        "mean_return": float(np.mean([episode.undiscounted_return for episode in episodes])),
    }


def succeeding(found: dict[str, Any]) -> float:
    """The share of successful episodes among those that are no random ones."""
    files = [file for file in found["files"] if file["kind"] != "random"]
    return sum(file["successes"] for file in files) / sum(file["episodes"] for file in files)


def collect(task: Task, source: Collected, path: Path) -> None:
    flags = [f"--config={task.config}", f"--policy={source.policy}", f"--noise={source.noise}", f"--episodes={source.episodes}"]
    called([*command("collect", *flags, *source.more), f"--seed={SEED}", f"--out={path}", "--overwrite"])


def learn(task: Task, source: Learnt, folder: Path) -> None:
    flags = [f"--config={task.config}", f"--until={source.until}", f"--steps={source.steps}", f"--settings={source.settings}"]
    called([sys.executable, os.fspath(HERE.parent / "behaviour.py"), *flags, "--judged_by=3", "--episodes=1", f"--out={folder}"])


def called(line: list[str]) -> None:
    """Runs a command here, where it finds this folder's modules. Raises WarmloopError with the end of what it said where it fails."""
    done = subprocess.run(line, cwd=HERE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise WarmloopError(f"{' '.join(line)} failed:\n{done.stderr[-2_000:]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=list(NAMED), required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder of the tasks' folders")
    given = parser.parse_args()
    task, folder = NAMED[given.task], given.out.resolve() / given.task
    try:
        found = facts_of(task, folder) or make(task, folder)
    except WarmloopError as error:
        sys.exit(str(error))
    print(f"{task.name}: {found['seconds']} s, {succeeding(found):.2f} of the episodes succeed", flush=True)


if __name__ == "__main__":
    main()
