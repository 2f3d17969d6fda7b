"""A bench of many tasks: does a fine-tuning lose what the warm-up learnt, and does it finish it?

    python tests/benchmarks/warm/run.py --list                                     # the tasks, and how long they take
    python tests/benchmarks/warm/run.py --recipe=old --seeds 0 --jobs=2            # the choosing half, one seed: about an hour
    python tests/benchmarks/warm/run.py --recipe=old --half=judging --steps=20000  # the judging half, for a recipe that is done
    python tests/benchmarks/warm/run.py --report --half=choosing                   # tables and curves of what there is

A run is a warm-up on recordings and then so many environment steps, in one process on one core; its policy is judged after the warm-up, at
1,000, 2,000, 5,000, 10,000 and 20,000 steps, and at the end. Recordings are made once, in OUT/data, and shared by all recipes. Results are
OUT/RECIPE/TASK-SEED.json. The same command resumes: a run that is done is not done again, and one that was cut off begins anew.

Recipes are in warm_recipes.py, where a new one is a line; tasks in warm_tasks.py. Choose with the choosing half. Run the judging half once
for a recipe that you believe to be done: OUT/judged.json counts how often it was. A judging takes hours: --keep puts its runs into judged/,
beside this file, where the next one finds them, also on another machine.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, NamedTuple

import warm_kept
import warm_report
from warm_data import HERE, lacking, specification
from warm_measures import measured
from warm_recipes import RECIPES, configured, settings_of
from warm_tasks import CHOOSING, HALVES, JUDGING, NAMED, TASKS, Task

from warmloop.configs import load
from warmloop.data.errors import WarmloopError
from warmloop.data.files.whole_files import replacing
from warmloop.launch.starting.processes import one_thread

ROOT = HERE.parents[2]
SHOWN = 3  # differing settings that a sentence names


class Job(NamedTuple):
    """One run."""

    task: Task
    seed: int


def chosen_tasks(half: str, names: Sequence[str] | None) -> list[Task]:
    """The tasks of a half, or those of it that are named.

    Raises:
        WarmloopError: a name that there is not, or one of the other half.
    """
    for name in names or ():
        if name not in NAMED:
            raise WarmloopError(f'There is no task "{name}"; --list shows them.')
        if NAMED[name].half != half:
            raise WarmloopError(
                f"{name} is in the {NAMED[name].half} half; add --half={NAMED[name].half}, and name tasks of one half at a time."
            )
    return [task for task in TASKS if task.half == half and (not names or task.name in names)]


def result(out: Path, recipe: str, job: Job) -> Path:
    return out / recipe / f"{job.task.name}-{job.seed}.json"


def is_done(path: Path, steps: int, settings: dict[str, Any]) -> bool:
    """Whether a run was done, with so many environment steps or more. Settings that came or went with a version are not compared.

    Raises:
        WarmloopError: it was, by other settings.
    """
    if not path.exists():
        return False
    run = json.loads(path.read_text())
    then, now = run["settings"], json.loads(json.dumps(settings))
    if differing := [name for name in now if name in then and now[name] != then[name]]:
        told = ", ".join(f"{name} {then[name]}, now {now[name]}" for name in differing[:SHOWN])
        more = f" and {len(differing) - SHOWN} more" if len(differing) > SHOWN else ""
        raise WarmloopError(f"{path} was made by other settings ({told}{more}): give the recipe another name, or move the file away.")
    return run["steps"] >= steps


def note_judging(out: Path, recipe: str, settings: Sequence[dict[str, Any]], asked: dict[str, Any]) -> None:
    """Counts a judging in OUT/judged.json, unless it is one that goes on."""
    path, digest = out / "judged.json", hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:16]
    judged = json.loads(path.read_text()) if path.exists() else []
    goes_on = any(each["recipe"] == recipe and each["settings"] == digest for each in judged) and any((out / recipe).glob("*.json"))
    if goes_on:
        return
    judged.append({"recipe": recipe, "settings": digest, "began": time.strftime("%Y-%m-%d %H:%M:%S")} | asked)
    with replacing(path) as file:
        file.write((json.dumps(judged, indent=1) + "\n").encode())


class Bench:
    """Runs jobs, each in a process of its own, and says how far they are."""

    def __init__(self, given: argparse.Namespace, out: Path):
        self._given, self._out = given, out
        self._locks = {task.name: threading.Lock() for task in TASKS}  # of the tasks' recordings
        self._minutes, self._spent = 0.0, 0.0  # as the table estimates the runs that are done, and as they took

    def run(self, jobs: Sequence[Job]) -> int:
        """Runs them, and goes on where one fails; how many did."""
        failed, left = 0, sum(self._estimate(job) for job in jobs)
        with ThreadPoolExecutor(self._given.jobs) as pool:
            running = {pool.submit(self._one, job): job for job in jobs}
            try:
                for number, future in enumerate(as_completed(running), 1):
                    job, said = running[future], future.exception()
                    left -= self._estimate(job)
                    failed += said is not None
                    told = f"failed: {said}" if said else future.result()
                    print(f"[{number}/{len(jobs)}] {job.task.name}, seed {job.seed}: {told}; {self._remaining(left)}", flush=True)
            except KeyboardInterrupt:  # which the terminal sends the runs, too
                pool.shutdown(cancel_futures=True)
                raise
        return failed

    def _estimate(self, job: Job) -> float:
        return job.task.minutes * self._given.steps / 10_000

    def _remaining(self, left: float) -> str:
        pace = self._spent / self._minutes if self._minutes else 1.0
        minutes = left * pace / self._given.jobs
        return f"about {minutes / 60:.1f} hours left" if minutes >= 90 else f"about {minutes:.0f} minutes left"

    def _one(self, job: Job) -> str:
        given, began = self._given, time.perf_counter()
        with self._locks[job.task.name]:
            self._child("warm_data.py", f"--task={job.task.name}", f"--out={self._out / 'data'}")
        flags = [f"--recipe={given.recipe}", f"--seed={job.seed}", f"--steps={given.steps}", f"--episodes={given.episodes}"]
        flags += [f"--warmup_steps={given.warmup_steps}"] if given.warmup_steps else []
        flags += ["--keep_folder"] if given.keep_folders else []
        self._child("warm_run.py", f"--task={job.task.name}", *flags, f"--out={self._out}")
        self._minutes, self._spent = self._minutes + self._estimate(job), self._spent + (time.perf_counter() - began) / 60
        one = measured(job.task, json.loads(result(self._out, given.recipe, job).read_text()))
        under = ", under its warm-up" if one.under else ""
        return f"{one.warm:.2f} after the warm-up, {one.end:.2f} at {given.steps:,} steps{under} ({one.minutes:.1f} min)"

    def _child(self, script: str, *flags: str) -> None:
        """Raises RuntimeError with the end of what a script said where it fails."""
        shared = one_thread(os.environ) | {"JAX_COMPILATION_CACHE_DIR": str(self._out / "cache")}
        line = [sys.executable, str(HERE / script), *flags]
        done = subprocess.run(line, cwd=HERE, env=shared, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{script} ended with exit code {done.returncode}:\n{done.stdout[-2_000:]}")


def listed() -> str:
    """The table as text."""
    lines = [f"{'task':<22}{'half':<10}{'horizon':>8}{'minutes':>9}  what"]
    for task in TASKS:
        horizon = load(specification(task)).environment.horizon
        here = lacking(task)
        kinds = ", ".join(task.kinds) + (f"   NOT HERE: {here}" if here else "")
        lines.append(f"{task.name:<22}{task.half:<10}{horizon or 'own':>8}{task.minutes:>9.0f}  {kinds}")
    for half in HALVES:
        of = [task for task in TASKS if task.half == half]
        lines.append(f"{half}: {len(of)} tasks, about {sum(task.minutes for task in of) / 60:.1f} hours a seed on one core, 10,000 steps")
    return "\n".join(lines)


def positive(text: str) -> int:
    """A whole number of at least 1, for argparse."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", choices=list(RECIPES), help="what to run; of a report, the only one in it")
    parser.add_argument("--half", choices=HALVES, default=CHOOSING, help="of the tasks (%(default)s)")
    parser.add_argument("--tasks", nargs="+", metavar="NAME", help="only these of the half")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the runs (0 1 2)")
    parser.add_argument("--steps", type=positive, default=10_000, help="environment steps of a run (%(default)s)")
    parser.add_argument(
        "--episodes", type=positive, default=50, help="of an evaluation; the first and the last have twice as many (%(default)s)"
    )
    parser.add_argument("--warmup_steps", type=positive, help="updates of every warm-up, instead of the recipe's: for a trial")
    parser.add_argument("--jobs", type=positive, default=2, help="runs at a time, one thread each (%(default)s)")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "warm", help="folder of everything (runs/warm)")
    parser.add_argument("--keep_folders", action="store_true", help="keep each run's checkpoints and metrics")
    parser.add_argument("--list", action="store_true", help="show the tasks and end")
    parser.add_argument("--keep", action="store_true", help="add OUT's runs of the judging half by --recipe to judged/, and end")
    parser.add_argument("--report", action="store_true", help="write OUT/report-HALF.md and OUT/curves-HALF.png, and end")
    return parser.parse_args(given)


def main() -> None:
    given = arguments()
    try:
        if given.list:
            print(listed())
        elif given.keep:
            print(f"{warm_kept.keep(given.out, named(given.recipe))} runs are kept in {warm_kept.JUDGED}")
        elif given.report:
            for recipe in RECIPES:
                warm_kept.restore(given.out, recipe)
            print(warm_report.write(given.out, given.half, [given.recipe] if given.recipe else list(RECIPES)))
        else:
            sys.exit(bench(given))
    except WarmloopError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("Stopped: the same command resumes.")


def named(recipe: str | None) -> str:
    """Raises WarmloopError where no recipe is named."""
    if recipe is None:
        raise WarmloopError(f"Name what to run, as in --recipe=old; there are {', '.join(RECIPES)}.")
    return recipe


def bench(given: argparse.Namespace) -> int:
    """Runs what is asked for and not done yet; the exit code."""
    recipe, tasks, out = named(given.recipe), chosen_tasks(given.half, given.tasks), given.out.resolve()
    if missing := [told for task in tasks if (told := lacking(task))]:
        raise WarmloopError("Not all of the tasks can run here:\n  " + "\n  ".join(missing) + "\nInstall that, or name others by --tasks.")
    configs = [(task, configured(task, RECIPES[recipe], given.steps, given.warmup_steps)) for task in tasks]
    settings = {task.name: settings_of(each, given.episodes) for task, each in configs}
    if given.half == JUDGING:
        warm_kept.restore(out, recipe)
    jobs = [Job(task, seed) for seed in given.seeds for task in tasks]
    left = [job for job in jobs if not is_done(result(out, recipe, job), given.steps, settings[job.task.name])]
    print(f"{len(jobs) - len(left)} of {len(jobs)} runs are done", flush=True)
    if given.half == JUDGING and left:
        asked = {"seeds": given.seeds, "steps": given.steps, "tasks": [task.name for task in tasks]}
        note_judging(out, recipe, list(settings.values()), asked)
    return 1 if Bench(given, out).run(left) else 0


if __name__ == "__main__":
    main()
