"""One run of the bench, in one process: warm-up, then fine-tuning in lock step, with evaluations between.

The commands' own parts do it: what train_offline_warmup, and then train_rlpd without --learner and --actor, would do. At an evaluation the
fine-tuning stops and is resumed, as by train_rlpd --resume, so that an episode is broken off there. Each policy is judged from the same
starts, by its mean action and by sampled ones. The result is OUT/RECIPE/TASK-SEED.json. Recipes whose warm-up is the same share it: it
stays in OUT/warmups, with what was seen of its policy.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import platform
import shutil
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax

jax.config.update("jax_cpu_enable_async_dispatch", False)  # acting is one small network at a time

import numpy as np  # noqa: E402
from warm_data import HERE, arguments, facts_of  # noqa: E402
from warm_recipes import RECIPES, configured, settings_of, warmup_digest  # noqa: E402
from warm_tasks import NAMED  # noqa: E402

from warmloop import OfflineRLTrainer  # noqa: E402
from warmloop.actor.environment.environment import Environment, make_environment  # noqa: E402
from warmloop.actor.episodes.rollout import evaluate  # noqa: E402
from warmloop.actor.policies.policy import AgentPolicy  # noqa: E402
from warmloop.configs.schema import RunConfig  # noqa: E402
from warmloop.data.errors import WarmloopError  # noqa: E402
from warmloop.data.files.run_folder import FILTERED, RunFolder  # noqa: E402
from warmloop.data.files.whole_files import replacing  # noqa: E402
from warmloop.data.reward import RewardConfig  # noqa: E402
from warmloop.launch.flags.choices import pinned_environment  # noqa: E402
from warmloop.launch.run.plan import Origin, Plan  # noqa: E402
from warmloop.launch.run.recorded_data import target_of  # noqa: E402
from warmloop.launch.run.session import in_lock_step, running_learner  # noqa: E402
from warmloop.learner.checkpoints import checkpoint, complete_checkpoints  # noqa: E402
from warmloop.learner.checkpoints.stored_policies import BEST  # noqa: E402
from warmloop.learner.state import LearnerState  # noqa: E402

LOOKS = (1_000, 2_000, 5_000, 10_000, 20_000, 50_000)  # environment steps at which a policy is judged; at the last one it always is
WINDOW = 1_000  # environment steps over which training episodes are counted
STARTS = 777  # seed of the episodes that all policies of a task are judged by


class StoppedError(Exception):
    """Somebody stopped the run: it is done again, from its beginning."""


class Judge:
    """Shows what policies do from the same starts, by their mean actions and by sampled ones; counts the seconds that it takes."""

    def __init__(self, environment: Environment, episodes: int):
        self._environment, self._episodes, self.seconds = environment, episodes, 0.0

    def __call__(self, checkpoints: Path, which: str | None = None, often: bool = True) -> dict[str, Any]:
        """Episodes of the newest policy of a folder of checkpoints, or of the "best" one: twice as many where `often` is true."""
        began, found = time.perf_counter(), {}
        agent, params, _ = checkpoint.load_policy(checkpoints, which)
        counts = (2 * self._episodes, self._episodes) if often else (self._episodes, max(self._episodes // 2, 1))
        for name, count in zip(("mean", "sampled"), counts, strict=True):
            shown = evaluate(self._environment, AgentPolicy(agent, params, deterministic=name == "mean"), STARTS, count)
            success, returns = shown.success.astype(int).tolist(), np.round(shown.returns, 3).tolist()
            found[name] = {"success": success, "returns": returns, "length": shown.mean_length}
        self.seconds += time.perf_counter() - began
        return found


@dataclasses.dataclass(frozen=True)
class Asked:
    """What is run: by these settings, from this seed and these data, judged by so many episodes, in `folder`, which is its own and empty;
    `shared` is where its warm-up is, or shall be, with what its policy does."""

    config: RunConfig
    seed: int
    data: list[str]
    episodes: int
    folder: Path
    shared: Path


def run(asked: Asked) -> dict[str, Any]:
    """Warm-up, fine-tuning and evaluations. Raises StoppedError."""
    config, steps = asked.config, asked.config.learner.online_steps
    environment = make_environment(config.environment, config.reward, tasks=config.tasks)
    judge, curve, checkpoints = Judge(environment, asked.episodes), [], asked.folder / "online" / "checkpoints"
    warm, demos, seconds = None, asked.data, {"warmup": 0.0, "online": []}
    training: list[dict[str, float]] = []
    if config.learner.warmup_steps:
        warm, told = asked.shared / "warmup", warmed(asked, judge)
        demos = [str(warm / FILTERED)] if (warm / FILTERED).exists() else []
        seconds["warmup"] = told["seconds"]
        curve.append(told["look"])
    for until in [*(look for look in LOOKS if look < steps), steps]:
        began = time.perf_counter()
        state = fine_tune(config, environment, checkpoints.parent, asked.seed, warm, demos, until)
        seconds["online"].append(time.perf_counter() - began)
        curve.append({"steps": until} | judge(checkpoints, often=until == steps))
        training = windows(state, config.reward)
    kept = judge(checkpoints, "best") if keeps_another(checkpoints) else None
    environment.close()
    return {"curve": curve, "kept": kept, "training": training, "seconds": seconds | {"evaluation": judge.seconds}}


def warmed(asked: Asked, judge: Judge) -> dict[str, Any]:
    """What is known of the warm-up, which is made where it is not there yet. Raises StoppedError."""
    if not asked.shared.exists():
        began, made = time.perf_counter(), asked.folder / "shared"
        warm_up(asked.config, asked.seed, asked.data, made / "warmup")
        told = {"seconds": time.perf_counter() - began, "look": {"steps": 0} | judge(made / "warmup")}
        (made / "told.json").write_text(json.dumps(told))
        share(made, asked.shared)
    return json.loads((asked.shared / "told.json").read_text())


def over_base(asked: Asked, base: Asked) -> Asked:
    """The run with the policy of another one's warm-up as its base. Raises StoppedError."""
    environment = make_environment(base.config.environment, base.config.reward, tasks=base.config.tasks)
    warmed(base, Judge(environment, base.episodes))
    environment.close()
    config = asked.config.replace(environment={"base": f"checkpoint:{base.shared / 'warmup'}"})
    config = config.replace(environment=pinned_environment(config.environment))
    return dataclasses.replace(asked, config=config, shared=asked.shared.with_name(f"{asked.shared.name}-over-{base.shared.name}"))


def share(made: Path, shared: Path) -> None:
    """Moves a finished warm-up to its place, unless another process has put the same one there in the meantime."""
    shared.parent.mkdir(parents=True, exist_ok=True)
    try:
        made.rename(shared)
    except OSError:
        if not shared.exists():
            raise


def warm_up(config: RunConfig, seed: int, data: list[str], warm: Path) -> None:
    """Writes a warm-up's last checkpoint to `warm`, and beside it the demonstrations that are worth keeping."""
    trainer = OfflineRLTrainer(config.environment.id, "", seed=seed, run_dir=warm.parent)
    trainer.config = config
    trainer.train_offline(data, config.learner.warmup_steps)
    if trainer.updates < config.learner.warmup_steps:
        raise StoppedError
    trainer.save(warm)


def fine_tune(
    config: RunConfig, environment: Environment, directory: Path, seed: int, warm: Path | None, demos: list[str], until: int
) -> LearnerState:
    """The learner's state after `until` environment steps in all; it goes on from the newest checkpoint of `directory`, if there is one."""
    config = config.replace(learner={"online_steps": until})
    folder = RunFolder(directory)
    origin = Origin(warm, demos=tuple(demos), resume=bool(complete_checkpoints.steps(folder.checkpoints)))
    plan = Plan(config, folder, seed, origin, lock_step=True)
    with running_learner(plan, target_of(environment)) as (learner, meta):
        in_lock_step(plan, learner, meta, environment)
    if learner.environment_steps < until:
        raise StoppedError
    return learner.state


def keeps_another(checkpoints: Path) -> bool:
    """Whether the run kept a policy as its best, which `--step=best` takes, and that is not the last one."""
    last = complete_checkpoints.newest(checkpoints)
    return BEST in last.meta and checkpoint.load_policy(checkpoints, "best")[2]["updates"] != last.updates


def windows(state: LearnerState, reward: RewardConfig) -> list[dict[str, float]]:
    """Of the training episodes that ended within each `WINDOW` environment steps, how many there are and their mean outcome: 1 for a
    success where success is rewarded, the return by the environment's rewards elsewhere. Episodes that an evaluation broke off count."""
    pool = state.online
    inserted = int(pool.inserted)
    held = np.arange(max(0, inserted - pool.capacity), inserted)
    rows = jax.tree.map(lambda leaf: np.asarray(leaf)[held % pool.capacity], pool.rows)
    ends = np.flatnonzero((rows.mask == 0) | rows.truncated)
    if not len(ends):
        return []
    paid = (np.asarray(rows.reward, np.float64) - reward.bias) / reward.scale
    totals = np.add.reduceat(paid[: ends[-1] + 1], np.r_[0, ends[:-1] + 1])
    of = (held[0] + ends) // WINDOW
    return [
        {"steps": int((number + 1) * WINDOW), "episodes": int((of == number).sum()), "outcome": float(totals[of == number].mean())}
        for number in np.unique(of)
    ]


def versions() -> dict[str, str]:
    """What ran: versions, the repository's commit, and the processor."""
    line = ["git", "-C", str(HERE), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(line, capture_output=True, text=True, check=False).stdout.strip()
    packages = {name: version(name) for name in ("warmloop", "jax", "flax", "gymnasium", "mujoco", "numpy")}
    return packages | {"commit": commit, "python": platform.python_version(), "machine": platform.machine()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=list(NAMED), required=True)
    parser.add_argument("--recipe", choices=list(RECIPES), required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=10_000, help="environment steps")
    parser.add_argument("--episodes", type=int, default=50, help="of an evaluation by mean actions, and twice as many at its ends")
    parser.add_argument("--warmup_steps", type=int, help="updates, instead of the recipe's")
    parser.add_argument("--keep_folder", action="store_true", help="keep checkpoints and metrics")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    task, recipe, folder = NAMED[given.task], RECIPES[given.recipe], given.out.resolve() / given.recipe / f"{given.task}-{given.seed}"
    data = given.out.resolve() / "data" / task.name
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was cut off
    folder.mkdir(parents=True)
    try:
        facts = facts_of(task, data)
        if facts is None:
            raise WarmloopError(f"The recordings of {task.name} are not in {data}; make them first, by warm_data.py.")
        config = configured(task, recipe, given.steps, given.warmup_steps)

        def asked(config: RunConfig) -> Asked:
            episodes = max(round(given.episodes * task.judged), 1)
            shared = given.out.resolve() / "warmups" / f"{task.name}-{given.seed}-{warmup_digest(config)}-{episodes}"
            return Asked(config, given.seed, arguments(task, data), episodes, folder, shared)

        one = asked(config)
        if recipe.base:
            one = over_base(one, asked(configured(task, RECIPES[recipe.base], given.steps, given.warmup_steps)))
        found = run(one)
    except WarmloopError as error:
        sys.exit(str(error))
    except StoppedError:
        sys.exit("The run was stopped, and begins anew when it is asked for again.")
    about = {"task": task.name, "half": task.half, "recipe": given.recipe, "seed": given.seed, "steps": given.steps}
    about |= {"settings": settings_of(config, given.episodes), "data": facts, "versions": versions()}
    with replacing(folder.with_name(f"{folder.name}.json")) as file:
        file.write((json.dumps(about | found) + "\n").encode())
    if not given.keep_folder:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
