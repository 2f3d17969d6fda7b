"""Fine-tunes a policy online: a learner process, an actor process beside the robot or simulator, or both in one.

    train_rlpd --exp_name=door --config=configs/adroit.py:door --checkpoint_path=warmup_ckpt --demo_path=filtered_demos.npz --learner
    train_rlpd --exp_name=door --config=configs/adroit.py:door --actor --ip=LEARNER_HOST

With neither --learner nor --actor both run in this process, in lock step, and --seed decides every bit of the result.
"""

from __future__ import annotations

if not __package__:
    from starting import by_path as by_path  # started by its path

import contextlib
import shlex
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING

from absl import flags

from ..data.errors import WarmloopError
from ..data.files.run_folder import FILTERED
from .flags import connection, data_flags, interveners, page_flags
from .flags.common import log, run
from .flags.envs_flag import check_alone, define_envs
from .flags.limits import taken_over
from .flags.step_flag import define_step
from .run import settings
from .run.acting import acting
from .run.acting_abreast import act_abreast
from .run.plan import Origin, Plan
from .run.session import in_lock_step, running_learner
from .run.sizes import fine_tuning_told, slow_pictures
from .starting.platforms import act_on, prefer_cpu
from .starting.signals import answering

if TYPE_CHECKING:
    from ..configs.schema import RunConfig
    from ..learner.loop import Learner

flags.adopt_module_key_flags(settings)
flags.adopt_module_key_flags(data_flags)
flags.adopt_module_key_flags(connection)
flags.adopt_module_key_flags(interveners)
flags.adopt_module_key_flags(page_flags)
LEARNER = flags.DEFINE_bool("learner", False, "Run the learner process alone; actors connect to it.")
ACTOR = flags.DEFINE_bool("actor", False, "Run an actor process alone, which connects to the learner at --ip.")
CHECKPOINT = flags.DEFINE_string(
    "checkpoint_path", None, "Folder with the warm-up's checkpoints. Default: none, and training starts from an untrained policy."
)
WARM_STEP = flags.DEFINE_integer(
    "warm_checkpoint_step",
    None,
    "Warm-up checkpoint to start from, by its number of updates. Default: the one in selection.json, else the newest.",
    lower_bound=0,
)
DEMOS = flags.DEFINE_multi_string("demo_path", [], "Recorded data to mix into the batches, [KIND=]PATH; repeatable.")
flags.DEFINE_alias("offline_data_path", DEMOS.name)
ONLINE_STEPS = flags.DEFINE_integer(
    "online_steps", None, "Environment steps of the whole run. Default: the configuration's learner.online_steps.", lower_bound=1
)
RESUME = flags.DEFINE_bool(
    "resume", False, "Resume this run from its newest checkpoint, with its saved configuration unless --config is given."
)
EVAL_STEP = define_step(
    "eval_checkpoint_step", 'Evaluate a policy of this run and train nothing: a checkpoint by its number of updates, "best" or "last".'
)
EVAL_TRAJS = flags.DEFINE_integer("eval_n_trajs", 20, "Number of episodes of the evaluation by --eval_checkpoint_step.", lower_bound=1)
PLATFORM = flags.DEFINE_string(
    "actor_platform",
    "cpu",
    "Device that an actor process computes on, such as cpu or cuda. An actor does not read JAX_PLATFORMS, so that it leaves the "
    "GPU to the learner.",
)
ENVS = define_envs("an actor process")
VIDEO = flags.DEFINE_bool("save_video", False, "Record clips of evaluations and interventions, and a contact sheet.")


def main() -> None:
    if LEARNER.value and ACTOR.value:
        raise WarmloopError("Choose one of --learner and --actor; with neither, both run in this process.")
    if interveners.choose_intervention(interveners.INTERVENTION.value).kinds != ("none",) and LEARNER.value:
        raise WarmloopError("--intervention is for the actor, beside whose robot the person is; leave it out for --learner.")
    check_envs()
    if ACTOR.value:
        act_on(PLATFORM.value)
    elif not flags.FLAGS["actor_platform"].using_default_value:
        raise WarmloopError("--actor_platform is for an actor process; elsewhere JAX_PLATFORMS chooses, as in JAX_PLATFORMS=cpu.")
    page_flags.check(acting_alone=ACTOR.value or bool(EVAL_STEP.value))
    checkpoints = None if ACTOR.value else settings.run_folder().checkpoints
    config = settings.run_config(RESUME.value, checkpoints, port=connection.PORT.value, online_steps=ONLINE_STEPS.value)
    config = data_flags.with_reading(config)
    seed = settings.run_seed(RESUME.value, checkpoints)
    if EVAL_STEP.value:
        evaluate_checkpoint()
    elif ACTOR.value:
        act(config, seed)
    else:
        config = going_on(config)
        origin = Origin(CHECKPOINT.value, WARM_STEP.value, tuple(DEMOS.value), RESUME.value)
        plan = Plan(config, settings.run_folder(), seed, origin, lock_step=not LEARNER.value)
        learn(plan) if LEARNER.value else lock_step(plan)


def check_envs() -> None:
    """Raises WarmloopError where --envs does not go with the other flags."""
    check_alone(ENVS.value, interveners.INTERVENTION.value)
    if ENVS.value > 1 and not ACTOR.value:
        raise WarmloopError("--envs is for an actor process, as of --actor or warmloop-local; to evaluate, use warmloop-evaluate --envs.")
    if ENVS.value > 1 and VIDEO.value:
        raise WarmloopError("--save_video records the episodes of one environment; leave it or --envs out.")


def going_on(config: RunConfig) -> RunConfig:
    """The configuration with the action limits of the checkpoint that the flags go on from.

    Raises:
        WarmloopError: it sets others, or --resume would begin from nothing beside a warm-up of this name.
    """
    from ..learner.checkpoints import complete_checkpoints

    own, warm = settings.run_folder().checkpoints, settings.run_folder().warmup
    if RESUME.value and not CHECKPOINT.value and complete_checkpoints.steps(warm) and not complete_checkpoints.steps(own):
        flags = [f"--checkpoint_path={warm}", *(f"--demo_path={kept}" for kept in [warm / FILTERED] if kept.exists())]
        raise WarmloopError(
            f"There is no checkpoint in {own} to resume, but a warm-up in {warm}: start from it by {shlex.join(flags)}, or, "
            "without --resume, from nothing."
        )
    return taken_over(config, own, CHECKPOINT.value)


def learn(plan: Plan) -> None:
    """The learner process."""
    from ..data.desk.desk import at_desk
    from ..learner.operating.learner_desk import LearnerDesk
    from ..learner.receiving.service import serve
    from .operating.beside_run import beside_the_run

    secrets = connection.learner_credentials()
    with learning(plan) as (learner, _):
        server = serve(connection.IP.value, plan.config.learner.port, learner.intake, secrets)
        log.info("learning; actors connect to port %d", server.port)
        plan.folder.port.write_text(f"{server.port}\n", encoding="utf-8")
        shown = LearnerDesk(learner, lambda: setattr(learner, "stop_requested", True))
        try:
            with at_desk(plan.folder.desks, "learner", shown), beside_the_run(plan.folder.path):
                learner.run()
        finally:
            learner.intake.stop()
            server.stop(grace=10.0)


def act(config: RunConfig, seed: int) -> None:
    """An actor process."""
    import jax

    jax.config.update("jax_cpu_enable_async_dispatch", False)  # one small network at a time: waiting for it at once is twice as fast
    from ..actor.control_loop import ActorLoop, Beside, EpisodeStream
    from ..actor.delivery.client import Client, Introduction
    from ..actor.delivery.spool import Spool
    from ..actor.operating.actor_desk import ActorDesk
    from ..data.desk.desk import at_desk
    from .run.assemble import fine_agent, schema_of
    from .run.recorded_data import target_of

    channel = connection.actor_channel(config.learner.port)
    chosen = config.replace(actor={"evaluate_every": 0}).actor if connection.ACTOR_ID.value else config.actor
    stream = uuid.uuid4().int % 2**31  # a restarted actor sends what its spool holds, but its episodes are new ones
    run = settings.run_folder()
    if ENVS.value > 1:
        act_abreast(config.replace(actor=chosen), run, connection.actor_name(), channel, EpisodeStream(seed, stream), ENVS.value)
        return
    limits = (config.actor.spool_rows, config.actor.spool_mebibytes << 20)
    with acting(config, VIDEO.value, connection.actor_name() if connection.ACTOR_ID.value else "") as (environment, intervener, clips):
        agent = fine_agent(config, environment.spec)
        schema = schema_of(config, target_of(environment))
        with Spool(run.spools / connection.actor_name(), schema, *limits) as spool:
            client = Client(channel, Introduction(schema, agent, connection.actor_name()), config.actor, rows=spool.rows)
            try:
                desk = ActorDesk(client.stop)
                with answering(client.stop), at_desk(run.desks, connection.actor_name(), desk):
                    beside = Beside(intervener, clips, run.quarantine, desk)
                    ActorLoop(environment, agent, client, chosen, EpisodeStream(seed, stream), beside).run()
            finally:
                client.close()


def lock_step(plan: Plan) -> None:
    """Actor and learner in this process, in turn."""
    from ..actor.control_loop import Beside
    from ..actor.operating.actor_desk import ActorDesk
    from ..data.desk.desk import at_desk
    from ..learner.operating.learner_desk import LearnerDesk
    from .operating.beside_run import beside_the_run

    desk = ActorDesk()
    with learning(plan) as (learner, meta), acting(plan.config, VIDEO.value) as (environment, intervener, clips):
        folder = plan.folder
        with (
            at_desk(folder.desks, "learner", LearnerDesk(learner, lambda: desk.stop())),
            at_desk(folder.desks, "actor-0", desk),
            beside_the_run(folder.path),
        ):
            in_lock_step(plan, learner, meta, environment, beside=Beside(intervener, clips, desk=desk))


@contextlib.contextmanager
def learning(plan: Plan) -> Iterator[tuple[Learner, dict]]:
    """The learner of a run, as `running_learner` gives it; draws the run's curves and writes its page at the end."""
    from ..actor.environment.environment import make_environment
    from ..learner.diagnosis.plot import plot_run
    from .reports.writing import write_report
    from .run.recorded_data import target_of
    from .telling import run_history as history

    environment = make_environment(plan.config.environment, plan.config.reward, tasks=plan.config.tasks)
    environment.close()
    target = target_of(environment)
    config, spec = plan.config, plan.config.tasks.condition_spec(target.whole_spec)
    log.info(fine_tuning_told(config, spec))
    if slow := slow_pictures(config.agent, spec, int(config.learner.online_steps * config.learner.max_utd)):
        log.warning(slow)
    with running_learner(plan, target) as running:
        if asked := settings.asked(config):
            history.note(plan.folder.path, history.ASKED, "online", **asked)
        yield running
    print(f"curves       {plot_run(plan.folder.path)}")
    print(f"report       {write_report(plan.folder.path)}", flush=True)


def evaluate_checkpoint() -> None:
    """Evaluates one of this run's checkpoints."""
    from .judging.judge import Subject, judge, table

    prefer_cpu()
    folder = settings.run_folder()
    video = folder.evaluation_video if VIDEO.value else None
    subject = Subject(checkpoint=folder.checkpoints, step=EVAL_STEP.value)
    judge(subject, EVAL_TRAJS.value, settings.SEED.value, video, lambda shown: print(table(shown), flush=True))


def cli() -> None:
    """The console script `train_rlpd`."""
    run(main, prepare=settings.locate_config)


if __name__ == "__main__":
    cli()
