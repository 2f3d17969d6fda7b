"""Fine-tunes a policy online: a learner process, an actor process beside the robot or simulator, or both in one.

    train_rlpd --exp_name=door --config=configs/adroit.py:door --checkpoint_path=warmup_ckpt --demo_path=filtered_demos.npz --learner
    train_rlpd --exp_name=door --config=configs/adroit.py:door --actor --ip=LEARNER_HOST

With neither --learner nor --actor both run in this process, in lock step, and --seed decides every bit of the result.
"""

from __future__ import annotations

import contextlib
import shlex
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING

from absl import flags

from ..data.errors import WarmloopError
from . import interveners, link, settings
from .acting import acting
from .common import log, run
from .limits import taken_over
from .session import in_lock_step, on_signals, running_learner
from .sources import FILTERED

if TYPE_CHECKING:
    from ..configs.schema import RunConfig
    from ..learner.loop import Learner

flags.adopt_module_key_flags(settings)
flags.adopt_module_key_flags(link)
flags.adopt_module_key_flags(interveners)
LEARNER = flags.DEFINE_bool("learner", False, "Be the learner process.")
ACTOR = flags.DEFINE_bool("actor", False, "Be an actor process.")
CHECKPOINT = flags.DEFINE_string("checkpoint_path", None, "Folder with the warm-up's checkpoints; without it the policy starts afresh.")
WARM_STEP = flags.DEFINE_integer("warm_checkpoint_step", None, "Which of them, by its updates (the one that is marked).", lower_bound=0)
DEMOS = flags.DEFINE_multi_string("demo_path", [], "Demonstrations to mix in, [KIND=]PATH; repeatable.")
ONLINE_STEPS = flags.DEFINE_integer("online_steps", None, "Environment steps (the preset's learner.online_steps).", lower_bound=1)
RESUME = flags.DEFINE_bool("resume", False, "Go on from this run's own newest checkpoint, by its configuration unless --config is given.")
EVAL_STEP = flags.DEFINE_integer("eval_checkpoint_step", 0, "Only evaluate this run's checkpoint of that many updates.", lower_bound=0)
EVAL_TRAJS = flags.DEFINE_integer("eval_n_trajs", 20, "Episodes of that evaluation.", lower_bound=1)
VIDEO = flags.DEFINE_bool("save_video", False, "Record clips of evaluations and interventions, and a contact sheet.")


def main() -> None:
    if LEARNER.value and ACTOR.value:
        raise WarmloopError("Choose one of --learner and --actor; with neither, both run in this process.")
    if interveners.choose_intervention(interveners.INTERVENTION.value).kinds != ("none",) and LEARNER.value:
        raise WarmloopError("--intervention is for the actor, beside whose robot the person is; leave it out for --learner.")
    config = settings.run_config(RESUME.value, port=link.PORT.value, online_steps=ONLINE_STEPS.value)
    if EVAL_STEP.value:
        evaluate_checkpoint()
    elif ACTOR.value:
        act(config)
    else:
        config = going_on(config)
        learn(config) if LEARNER.value else lock_step(config)


def going_on(config: RunConfig) -> RunConfig:
    """The configuration with the action limits of the checkpoint that the flags go on from.

    Raises:
        WarmloopError: it sets others, or --resume would begin from nothing beside a warm-up of this name.
    """
    from ..learner import checkpoint

    own, warm = settings.run_directory() / "checkpoints", settings.run_directory() / "warmup"
    if RESUME.value and not CHECKPOINT.value and checkpoint.steps(warm) and not checkpoint.steps(own):
        flags = [f"--checkpoint_path={warm}", *(f"--demo_path={kept}" for kept in [warm / FILTERED] if kept.exists())]
        raise WarmloopError(
            f"There is no checkpoint in {own} to go on from, but a warm-up in {warm}: begin with it by {shlex.join(flags)}, or, "
            "without --resume, from nothing."
        )
    return taken_over(config, own, CHECKPOINT.value)


def learn(config: RunConfig) -> None:
    """The learner process."""
    from ..learner.service import serve

    secrets = link.learner_credentials()
    with learning(config) as (learner, _):
        server = serve(link.IP.value, config.learner.port, learner.intake, secrets)
        log.info("learning; actors connect to port %d", server.port)
        (settings.run_directory() / "port").write_text(f"{server.port}\n")
        on_signals(lambda: setattr(learner, "stop_requested", True))
        try:
            learner.run()
        finally:
            learner.intake.stop()
            server.stop(grace=10.0)


def act(config: RunConfig) -> None:
    """An actor process."""
    import jax

    jax.config.update("jax_cpu_enable_async_dispatch", False)  # one small network at a time: waiting for it at once is twice as fast
    from ..actor.client import Client
    from ..actor.loop import ActorLoop
    from ..actor.spool import Spool
    from ..data.wire.schema import Schema
    from .assemble import fine_agent

    channel = link.actor_channel(config.learner.port)
    chosen = config.replace(actor={"evaluate_every": 0}).actor if link.ACTOR_ID.value else config.actor
    stream = uuid.uuid4().int % 2**31  # a restarted actor sends what its spool holds, but its episodes are new ones
    folder, limits = settings.run_directory() / "spool" / link.actor_name(), (config.actor.spool_rows, config.actor.spool_mebibytes << 20)
    with acting(config, VIDEO.value, link.actor_name() if link.ACTOR_ID.value else "") as (environment, intervener, clips):
        agent = fine_agent(config, environment.spec)
        schema = Schema.of(environment.spec, config.tasks.label(config.environment.id), action_limits=config.environment.limits)
        with Spool(folder, schema, *limits) as spool:
            client = Client(channel, schema, agent, link.actor_name(), config.actor, rows=spool.rows)
            on_signals(client.stop)
            try:
                ActorLoop(environment, agent, client, chosen, settings.SEED.value, stream, intervener=intervener, clips=clips).run()
            finally:
                client.close()


def lock_step(config: RunConfig) -> None:
    """Actor and learner in this process, in turn."""
    with learning(config, lock_step=True) as (learner, meta):
        on_signals(lambda: setattr(learner, "stop_requested", True))
        with acting(config, VIDEO.value) as (environment, intervener, clips):
            in_lock_step(config, learner, meta, environment, settings.SEED.value, intervener=intervener, clips=clips)


@contextlib.contextmanager
def learning(config: RunConfig, lock_step: bool = False) -> Iterator[tuple[Learner, dict]]:
    """The learner that the flags ask for, as `running_learner` gives it; draws the run's curves at the end."""
    from ..actor.environment import make_environment
    from ..learner.plot import plot_run
    from .sources import target_of

    directory = settings.run_directory()
    environment = make_environment(config.environment, config.reward, tasks=config.tasks)
    environment.close()
    origin = ((CHECKPOINT.value, WARM_STEP.value), DEMOS.value, RESUME.value)
    with running_learner(config, target_of(environment), directory, settings.SEED.value, *origin, lock_step) as running:
        yield running
    print(f"curves       {plot_run(directory)}")


def evaluate_checkpoint() -> None:
    """Evaluates one of this run's checkpoints."""
    from .judge import Subject, judge, table

    directory = settings.run_directory()
    video = directory / "evaluation.mp4" if VIDEO.value else None
    subject = Subject(checkpoint=directory / "checkpoints", step=EVAL_STEP.value)
    judge(subject, EVAL_TRAJS.value, settings.SEED.value, video, lambda shown: print(table(shown), flush=True))


def cli() -> None:
    """The console script `train_rlpd`."""
    run(main, prepare=settings.locate_config)


if __name__ == "__main__":
    cli()
