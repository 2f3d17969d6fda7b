"""Warms a policy up on recorded data, offline.

    train_offline_warmup --exp_name=door --config=configs/adroit.py:door \\
        --offline_data_path=demos=demos.pkl --offline_data_path=random=random.npz --checkpoint_path=warmup_ckpt

Writes checkpoints. Beside them it writes selection.json, which compares the checkpoints and marks the one to fine-tune, and
filtered_demos.npz, the demonstrations to keep for the fine-tuning. The comparison takes about a minute;
--config.learner.warmup_checkpoints=1 saves the last checkpoint alone and compares nothing. Ctrl-C or SIGTERM saves and ends the
warm-up, and the same command with --resume continues it. Settings of the agent are flags, as in --config.warmup_agent.utd=4.
The next command is

    train_rlpd --exp_name=door --config=configs/adroit.py:door --checkpoint_path=warmup_ckpt --demo_path=warmup_ckpt/filtered_demos.npz
"""

from __future__ import annotations

if not __package__:
    from starting import by_path as by_path  # started by its path

import dataclasses
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from absl import flags

from ..data.errors import WarmloopError
from ..data.files.disk import lock_directory
from .flags import data_flags
from .flags.common import log, progress, run
from .flags.limits import taken_over
from .flags.progress import upto
from .judging.select import divided, select, table
from .run import settings
from .run.recorded_data import gathered, keep_demonstrations, warmup_data
from .run.session import recorder_of
from .run.sizes import fitted, slow_pictures, warm_up_told
from .starting.signals import Ended, answering
from .telling import run_history as history
from .telling.run_line import warm_up_line

if TYPE_CHECKING:
    from ..configs.schema import RunConfig
    from ..learner.rows.offline_rows import OfflineData
    from ..learner.state import LearnerParts, LearnerState

flags.adopt_module_key_flags(settings)
flags.adopt_module_key_flags(data_flags)
DATA = flags.DEFINE_multi_string(
    "offline_data_path", [], "Data to learn from beside the preset's sources, KIND=PATH with KIND demos, suboptimal or random; repeatable."
)
DATASET = flags.DEFINE_string(
    "dataset",
    None,
    "Folder of a set that `warmloop merge --into` made, to learn from. The files of --offline_data_path are added to the set first.",
)
WARMUP_STEPS = flags.DEFINE_integer(
    "warmup_steps", None, "Updates of the whole warm-up. Default: the configuration's learner.warmup_steps.", lower_bound=1
)
CHECKPOINT = flags.DEFINE_string("checkpoint_path", None, "Folder for the checkpoints. Default: RUNS/EXP_NAME/warmup.")
RESUME = flags.DEFINE_bool(
    "resume",
    False,
    "Resume from the newest checkpoint in --checkpoint_path, up to --warmup_steps in all. With a larger --warmup_steps than before, IQL's "
    "actor step size follows the longer cosine.",
)
EVAL_TRAJS = flags.DEFINE_integer(
    "eval_n_trajs",
    0,
    "Number of episodes in the environment to judge the last policy by; 0 judges nothing and needs no environment.",
    lower_bound=0,
)

ABSENT = flags.DEFINE_bool(
    "environment_absent", False, "The environment is on another machine, such as a robot's: do not check the data against it."
)


def main() -> None:
    from ..actor.endings.success import check_unattended
    from ..learner.checkpoints import complete_checkpoints
    from ..learner.diagnosis.plot import plot_warm_up
    from .reports.writing import write_report

    folder = settings.run_folder()
    target = Path(CHECKPOINT.value) if CHECKPOINT.value else folder.warmup
    config = data_flags.with_reading(settings.run_config(RESUME.value, target, warmup_steps=WARMUP_STEPS.value))
    seed = settings.run_seed(RESUME.value, target)
    if EVAL_TRAJS.value and ABSENT.value:
        raise WarmloopError(f"--eval_n_trajs={EVAL_TRAJS.value} needs the environment here; leave it or --environment_absent out.")
    if EVAL_TRAJS.value:
        check_unattended(config.environment.success, f"--eval_n_trajs={EVAL_TRAJS.value}")
    settings.refuse_unused_agent(config)
    if not config.learner.warmup_steps:
        raise WarmloopError(
            "This configuration has no warm-up (learner.warmup_steps is 0), as rlpd and hilserl have none: give the data to train_rlpd by "
            "--demo_path, or say how long by --warmup_steps."
        )
    resumed = target if RESUME.value else None
    refuse_a_second(target)
    arguments = gathered(DATASET.value, DATA.value)
    config, data = warmup_data(taken_over(config, resumed), arguments, None if EVAL_TRAJS.value else ABSENT.value)
    taken_over(config, resumed)  # limits that only now came from the data are not those of the checkpoint
    data = divided(config, data, seed, resumed)
    config = fitted(config, sum(map(len, data.episodes)))
    log.info(
        "\n".join(
            [*data.summary(config.tasks), f"{data.held.sum()} episodes are held out for measurement", warm_up_told(config, data.spec)]
        )
    )
    if slow := slow_pictures(config.warmup_agent, data.spec, config.learner.warmup_steps):
        log.warning(slow)
    asked = threading.Event()
    with recorder_of(config, folder.warmup_metrics, f"{folder.path.name} warm-up") as recorder:
        with answering(asked.set):
            learnt = train(config, data, recorder, target, seed, asked.is_set)
        if asked.is_set():
            leave(config, target)
        try:
            compare(config, data, recorder, target, seed, learnt)
        except Ended:
            leave(config, target)
    print(f"checkpoint   {complete_checkpoints.chosen(target).path}")
    history.note(folder.path, history.ENDED, "warmup", updates=config.learner.warmup_steps, finished=True)
    print(f"curves       {plot_warm_up(folder.path, target)}")
    print(f"report       {write_report(folder.path)}")


def refuse_a_second(target: Path) -> None:
    """Raises WarmloopError where a warm-up was begun that is not to go on."""
    from ..learner.checkpoints import complete_checkpoints

    if complete_checkpoints.steps(target) and not RESUME.value:
        raise WarmloopError(f"{target} holds a warm-up already; resume it by --resume, or choose another --checkpoint_path.")


def train(
    config: RunConfig, data: OfflineData, recorder: Any, target: Path, seed: int, interrupted: Callable[[], bool]
) -> tuple[LearnerState, LearnerParts]:
    """The offline phase, from the beginning or from where it stopped, with its checkpoints; it ends early where it is `interrupted`."""
    from ..learner.checkpoints import checkpoint, stored_rows
    from ..learner.checkpoints.leftovers import tidy
    from ..learner.judging.heldout import measured
    from ..learner.starting_state import resume, warm_start
    from ..learner.warmup import WarmUpWatch, warm_up
    from .run.assemble import refuse_other_rows, warm_parts
    from .run.run_record import described, save_config

    parts = warm_parts(config, data.spec)
    lock_directory(target, "The warm-up's folder", "another warm-up writes there; stop it, or choose another --checkpoint_path")
    tidy(target)
    refuse_a_second(target)  # which another process may have saved while the data were read
    state, meta = resume(target, parts) if RESUME.value else (warm_start(parts, seed, data.rows_of(~data.held)), None)
    if meta:
        refuse_other_rows(config, meta, target)
    learnt, given = state.offline.capacity, sum(len(episode) for episode, out in zip(data.episodes, data.held, strict=True) if not out)
    if learnt != given:
        raise WarmloopError(f"The warm-up in {target} learns from {learnt} steps, and the data now have {given}; give it the same data.")
    digests = {out: [digest for digest, held in zip(data.digests, data.held, strict=True) if held == out] for out in (False, True)}
    learnt_from = history.digest_of(digests[False])
    if meta and meta.get("learnt_from", learnt_from) != learnt_from:
        raise WarmloopError(f"The warm-up in {target} learns from other episodes than the data now have; give it the same data.")
    description = described(config, "warmup", seed)
    save_config(settings.run_folder(), description)
    tell_of_the_beginning(config, data, target, bool(meta))
    if state.frames.cameras:
        log.info(state.frames.summary())
    stored, done = stored_rows.store_offline(target, state), int(state.updates)
    about = description | {"held_out": digests[True], "learnt_from": learnt_from}
    with progress("warming up", max(config.learner.warmup_steps - done, 0)) as advance:
        tell = upto(advance, done)

        def show(updates: int, metrics: Mapping[str, float]) -> None:
            tell(updates, warm_up_line(metrics))

        def save(state: LearnerState) -> None:
            checkpoint.save(target, state, parts.agent, about, keep=None, offline=stored)

        watch = WarmUpWatch(on_progress=show, on_call=tell, on_checkpoint=save, interrupted=interrupted)
        return warm_up(state, parts, config.learner, recorder, watch, measured(data)), parts


def tell_of_the_beginning(config: RunConfig, data: OfflineData, target: Path, resumed: bool) -> None:
    """Writes what is warmed up on into the run's history."""
    directory, said = settings.run_folder().path, data.summary(config.tasks)
    about = {"episodes": len(data.episodes), "steps": sum(map(len, data.episodes)), "held_out": int(data.held.sum()), "said": said}
    about |= {"success_rate": data.success_rate, "digest": history.digest_of(data.digests)}
    if asked := settings.asked(config):
        history.note(directory, history.ASKED, "warmup", **asked)
    history.note(directory, history.BEGAN, "warmup", checkpoints=str(target), resumed=resumed, data=about)


def leave(config: RunConfig, target: Path) -> NoReturn:
    """Says how to go on, and ends the process with exit code 0."""
    from ..learner.checkpoints import complete_checkpoints

    done = int(complete_checkpoints.steps(target)[-1].name)
    history.note(settings.run_folder().path, history.ENDED, "warmup", updates=done, finished=False)
    log.info(
        "%d of %d updates are done and saved in %s; the same command with --resume continues", done, config.learner.warmup_steps, target
    )
    raise SystemExit(0)


def compare(
    config: RunConfig, data: OfflineData, recorder: Any, target: Path, seed: int, learnt: tuple[LearnerState, LearnerParts]
) -> None:
    """What follows the offline phase: the demonstrations worth keeping, the comparison of its checkpoints, and episodes if they are asked
    for."""
    from ..learner.checkpoints import complete_checkpoints
    from ..learner.warmup import td_errors

    kept = keep_demonstrations(config, data, td_errors(*learnt), target)
    history.note(settings.run_folder().path, history.RETAINED, "warmup", said=str(kept), warning=kept.warning, **dataclasses.asdict(kept))
    if len(complete_checkpoints.steps(target)) > 1:
        log.info("\n%s", table(select(target, config, data, seed)))
    if EVAL_TRAJS.value:
        evaluate(target, recorder, seed)


def evaluate(target: Path, recorder: Any, seed: int) -> None:
    """Judges the policy of the checkpoint to go on from in the environment."""
    from ..actor.episodes.rollout import evaluate as run_episodes
    from ..learner.checkpoints import complete_checkpoints
    from .judging.judge import Subject, summarise
    from .judging.judge import table as lines

    saved = complete_checkpoints.chosen(target)
    environment, policy = Subject(checkpoint=target, step=saved.updates).load()
    with progress("evaluating", EVAL_TRAJS.value) as advance:
        shown = run_episodes(environment, policy, seed, EVAL_TRAJS.value, lambda episode: advance())
    environment.close()
    recorder.write(saved.updates, shown.scalars())
    print(lines(summarise(environment.config, shown)))


def cli() -> None:
    """The console script `train_offline_warmup`."""
    run(main, prepare=settings.locate_config)


if __name__ == "__main__":
    cli()
