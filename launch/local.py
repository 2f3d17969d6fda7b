"""Fine-tunes with one learner process and N actor processes on this machine; takes the flags of train_rlpd.

    warmloop local --actors=2 --exp_name=door --config=configs/adroit.py:door \\
        --checkpoint_path=warmup_ckpt --demo_path=warmup_ckpt/filtered_demos.npz

Ctrl-C or SIGTERM saves the run and ends all processes; a second one ends them at once. --resume continues the run.
"""

from __future__ import annotations

if not __package__:
    from starting import by_path as by_path  # started by its path

import sys

from absl import flags

from ..data.errors import WarmloopError
from ..data.wire.address import is_loopback
from . import train_rlpd
from .flags import connection, interveners, page_flags
from .flags.common import run
from .flags.envs_flag import check_alone
from .reports.writing import write_report
from .run import settings
from .starting.platforms import compute_on
from .starting.processes import free_port, run_together

OWN = ("actors", "port", "learner", "actor", "nolearner", "noactor", "actor_id", "seed", "config.learner.port")
TRAIN_RLPDS = ("learner", "actor", "actor_id", "eval_checkpoint_step", "eval_n_trajs")  # nobody gives them to this command
for flag in list(flags.FLAGS.get_key_flags_for_module(train_rlpd.__name__)):
    if flag.name not in TRAIN_RLPDS:
        flags.declare_key_flag(flag.name)
ACTORS = flags.DEFINE_integer("actors", 1, "Number of actor processes.", lower_bound=1)
PAGES = ("page", "nopage", "page_port", "page_ip")  # the learner's process starts it
EVERYWHERE = ("0.0.0.0", "::")


def main() -> None:
    compute_on("cpu", children=False)  # the accelerator is the learner's
    page_flags.check()
    resuming, checkpoints = train_rlpd.RESUME.value, settings.run_folder().checkpoints
    config = train_rlpd.going_on(settings.run_config(resuming, checkpoints, port=connection.PORT.value))
    shared, host = [*_without(sys.argv[1:], OWN), f"--seed={settings.run_seed(resuming, checkpoints)}"], connection.IP.value
    if host not in EVERYWHERE and not is_loopback(host):
        raise WarmloopError(f"The actors of this machine use 127.0.0.1, which --ip={host} leaves out; --ip=0.0.0.0 serves others too.")
    check_alone(train_rlpd.ENVS.value, interveners.INTERVENTION.value)
    if interveners.choose_intervention(interveners.INTERVENTION.value).personal and ACTORS.value > 1:
        raise WarmloopError(f"A person can take over one actor, and there would be {ACTORS.value}; use --actors=1, or a teacher.")
    actors = _without(shared, ("ip", *PAGES) if host in EVERYWHERE else PAGES)
    if config.environment.limits:
        actors = [*actors, *config.environment.limits.flags()]
    # Others find the learner at its usual port; on this machine any will do, so that two runs do not get in each other's way.
    port = config.learner.port if settings.gives(connection.PORT.name, "learner.port") or host in EVERYWHERE else 0
    learner = _without(shared, ("intervention", "actor_platform", "envs"))
    run_together(learner, actors, ACTORS.value, port or free_port(), robots=not config.actor.simulator)
    if train_rlpd.VIDEO.value:  # the last clips came after the learner's own report
        write_report(settings.run_folder().path)


def _without(arguments: list[str], names: tuple[str, ...]) -> list[str]:
    """The arguments without the flags of these names, given as --name=value, --name value or --name."""
    kept, skip = [], False
    for argument in arguments:
        name, equals, _ = argument.lstrip("-").partition("=")
        if skip and not argument.startswith("-"):
            skip = False
            continue
        skip = False
        if argument.startswith("-") and name in names:
            skip = not equals
            continue
        kept.append(argument)
    return kept


def cli() -> None:
    """The console script `warmloop-local`."""
    run(main, prepare=settings.locate_config)


if __name__ == "__main__":
    cli()
