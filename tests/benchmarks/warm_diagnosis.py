"""Why a warm policy falls, in figures along one run, and what each suspect does to it when it is switched off alone.

    python tests/benchmarks/warm_diagnosis.py --task=relocate --steps=6000 --seed=0
    python tests/benchmarks/warm_diagnosis.py --task=relocate --off width recorded-returns --recipe agent.bc_weight=5.0
    python tests/benchmarks/warm_diagnosis.py --list                                # the suspects
    python tests/benchmarks/warm_diagnosis.py --task=relocate --all --jobs=2        # the run as it is, then without each of them

Tasks are relocate, door and hammer on the data beside the repository (../shared/data), and every Meta-World task, on 25 episodes of its
disturbed expert. A run warms up, unless such a warm-up is in OUT, and fine-tunes in lock step. At 0, 250, 500, 1,000, 2,000, 4,000 and
6,000 environment steps it is looked at, which changes nothing of it. Writes OUT/TASK-SEED/NAME.json and NAME.png, with --all also causes.md
and causes.png beside them; learner/diagnosis/diagnosis.py and diagnosis_batches.py say what the figures are. Runs that are done are not
done again.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
from diagnosis_causes import CAUSES, by_sac, changed, recipe_changes, stages, warmed_without, without
from diagnosis_looks import Looks
from diagnosis_page import compare, page
from scoreboard import ONE_THREAD, SHARED

from warmloop import ExpertDataCollector, OfflineRLTrainer
from warmloop.configs import load
from warmloop.configs.schema import RunConfig, to_dict

POINTS = (0, 250, 500, 1_000, 2_000, 4_000, 6_000)
ADROIT = {
    "relocate": ("suboptimal=relocate-suboptimal.npz", "random=relocate-random.npz"),
    "door": ("demos=door-human-replay.npz", "suboptimal=door-suboptimal.npz"),
    "hammer": ("suboptimal=hammer-suboptimal.npz", "random=hammer-random.npz"),
}
WARM_UP = ("warmup_steps", "held_out", "early_stop_after", "early_stop_on")  # of the learner's settings
EPISODES, NOISE = 25, 0.6  # of a Meta-World task's expert


def task_of(name: str, recipe: list[str]) -> tuple[str, RunConfig]:
    """A task's preset, and its configuration under a recipe."""
    preset = f"configs/{'adroit' if name in ADROIT else 'metaworld'}.py:{name}"
    specification = ",".join([preset, *(word for word in recipe if "=" not in word)])
    config = load(specification) if recipe else by_sac(load(specification))
    return specification, changed(config.replace(learner={"checkpoint_every": 0}), recipe_changes(recipe))


def data_of(name: str, out: Path) -> list[str]:
    """The flags of a task's data, which are recorded first where they are no files of ../shared/data."""
    if name in ADROIT:
        if not SHARED.is_dir():
            sys.exit(f"The data of {name} are not here: {SHARED} does not exist.")
        return [f"{kind}={SHARED / file}" for kind, file in (source.split("=") for source in ADROIT[name])]
    path = out / "data" / f"{name}.npz"
    with alone(path):
        if not path.exists():
            collector = ExpertDataCollector(f"configs/metaworld.py:{name}", path.parent)
            collector.save_dataset(collector.collect_from_policy("scripted", EPISODES, noise=NOISE), path.resolve())
    return [f"demos={path}"]


def warmed(given: argparse.Namespace, specification: str, config: RunConfig) -> Path:
    """The folder with the warm-up's checkpoint under a configuration, made first where it is not there."""
    sections = to_dict(config)
    decisive = {name: section for name, section in sections.items() if name not in ("agent", "actor", "fqe", "learner", "mixing")}
    decisive["learner"] = {name: sections["learner"][name] for name in WARM_UP}
    digest = hashlib.sha256(json.dumps(decisive, sort_keys=True, default=str).encode()).hexdigest()[:10]
    folder = given.out / "warm" / f"{given.task}-{given.seed}-{digest}"
    with alone(folder):
        if not folder.exists():
            trainer = OfflineRLTrainer(specification, "", seed=given.seed)
            trainer.config = config
            trainer.train_offline(data_of(given.task, given.out), config.learner.warmup_steps)
            trainer.save(folder.with_suffix(".part"))
            folder.with_suffix(".part").rename(folder)
    return folder


def run(given: argparse.Namespace) -> dict[str, Any]:
    """One run and its looks, as in its JSON, which has all looks until now."""
    path = json_of(given, given.off)
    if kept := finished(path, given.steps):
        return kept
    specification, base = task_of(given.task, given.recipe)
    if given.warmup:
        base = base.replace(learner={"warmup_steps": given.warmup})
    warm = warmed(given, specification, warmed_without(base, given.off, given.throughout))
    config = without(base, given.off, given.throughout)
    report = {"task": given.task, "seed": given.seed, "off": given.off, "throughout": given.throughout, "recipe": given.recipe}
    report |= {"config": to_dict(config), "done": False, "looks": [], "records": []}
    path.parent.mkdir(parents=True, exist_ok=True)

    def write(look: dict[str, Any]) -> None:
        report["looks"].append(look)
        path.write_text(json.dumps(report, default=str) + "\n")
        print(f"{path.stem}, {look['steps']} steps: {said(look)}", flush=True)

    began = time.perf_counter()
    trainer = OfflineRLTrainer(specification, "", seed=given.seed).load(warm)
    points = [point for point in POINTS if point < given.steps] + [given.steps]
    with contextlib.closing(Looks(config, given.seed, points, given.episodes, write)) as looks:
        for begin, end in zip([0, *(ends := stages(given.off, given.steps))], ends, strict=False):
            trainer.config = without(base, given.off, given.throughout, begin)
            report["records"] += trainer.finetune_online(None, end - begin, looks)
    report |= {"done": True, "seconds": time.perf_counter() - began, "seconds_of_looks": looks.seconds}
    path.write_text(json.dumps(report, default=str) + "\n")
    return report


def finished(path: Path, steps: int) -> dict[str, Any] | None:
    """The report of a run of at least so many steps that has ended; else None."""
    report = json.loads(path.read_text()) if path.exists() else {"done": False}
    return report if report["done"] and report["looks"][-1]["steps"] >= steps else None


def said(look: dict[str, Any]) -> str:
    """A look in one line."""
    success, own, moved = look["success"], look["critic"]["own"], look["movement"]["data"]
    gradient = ", ".join(f"{name} {share:.2f}" for name, share in look["gradient"]["share"].items())
    return (
        f"success {success['mean']:.2f} by the mean, {success['sampled']:.2f} sampled; Q {own['q']:.2f} for {own['returns']:.2f}; "
        f"moved {moved['moved_in_deviations']:.2f} deviations; gradient: {gradient}"
    )


def every_cause(given: argparse.Namespace) -> None:
    """The run as it is, then without each cause, each in a process with one thread; and their comparison."""

    def one(names: list[str]) -> tuple[str, dict[str, Any]]:
        path = json_of(given, names)
        if not finished(path, given.steps):
            settings = [f"--{name}={getattr(given, name)}" for name in ("task", "seed", "steps", "episodes", "warmup", "out")]
            settings += ["--throughout"] * given.throughout + ["--recipe", *given.recipe] * bool(given.recipe)
            settings += ["--off", *names] * bool(names)
            done = subprocess.run([sys.executable, __file__, *settings], env=os.environ | ONE_THREAD, check=False)
            if done.returncode:
                print(f"The run {path.stem} ended with exit code {done.returncode}; it is left out, and tried again next time.", flush=True)
                return path.stem, {}
        return path.stem, json.loads(path.read_text())

    with ThreadPoolExecutor(given.jobs) as pool:
        found = [pair for pair in pool.map(one, [[], *([name] for name in given.off or CAUSES)]) if pair[1]]
    compare(dict(found), json_of(given, []).parent / "causes")


def json_of(given: argparse.Namespace, off: list[str]) -> Path:
    name = "+".join(off) or "as it is"
    settings = [*given.recipe, *(["throughout"] if given.throughout and off else []), *([f"warmup={given.warmup}"] if given.warmup else [])]
    label = " ".join([f"without {name}" if off else name, *settings]).replace("/", "-").replace(" ", "_")
    return given.out / f"{given.task}-{given.seed}" / f"{label}.json"


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """Only one process at a time makes `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="relocate", help="relocate, door, hammer or a Meta-World task")
    about = "presets on top of the task's, and settings as agent.bc_weight=5.0; none is the SAC that warms up"
    parser.add_argument("--recipe", nargs="+", default=[], help=about)
    parser.add_argument("--off", nargs="+", default=[], choices=CAUSES, metavar="CAUSE", help="causes to switch off, see --list")
    parser.add_argument("--throughout", action="store_true", help="off in the warm-up too, where the warm-up has the setting")
    parser.add_argument("--steps", type=int, default=POINTS[-1], help="environment steps")
    parser.add_argument("--warmup", type=int, default=0, help="updates of the warm-up; 0 for the task's own number")
    parser.add_argument("--episodes", type=int, default=30, help="by which the mean and the sampled actions are judged, each")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/diagnosis"))
    parser.add_argument("--list", action="store_true", help="name the causes")
    parser.add_argument("--all", action="store_true", help="the run as it is, and without each cause alone, or each of --off")
    parser.add_argument("--jobs", type=int, default=1, help="runs of --all at a time, each with one thread")
    given = parser.parse_args()
    if given.list:
        print("\n".join(f"{name:20} {cause.told}" for name, cause in CAUSES.items()))
    elif given.all:
        every_cause(given)
    else:
        page(run(given), json_of(given, given.off).with_suffix(".png"))


if __name__ == "__main__":
    os.environ |= ONE_THREAD  # before jax looks for its devices
    jax.config.update("jax_cpu_enable_async_dispatch", False)  # acting is one small network at a time
    main()
