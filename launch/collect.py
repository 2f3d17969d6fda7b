"""Records episodes of a policy in an environment, as a data set to warm up on.

    warmloop collect --env=Meta-World/door-open-v3 --policy=scripted --episodes=50 --noise=0:0.6 --out=demos.npz

Episodes are recorded as the environment gave them: its own rewards and endings, and the success signal of every step. The
ending of --out chooses the format: .npz, .pkl, .lerobot, or none for a Minari data set's folder.

--policy names who acts; `warmloop evaluate` judges policies by the same names:

    random            random actions
    scripted          the expert of Meta-World or gym-hil
    checkpoint:DIR    a policy that a training command saved
    export:DIR        a policy that `warmloop export` wrote
    sb3:PATH.zip      a policy that Stable-Baselines3 saved; nothing in the file is unpickled. A policy that was trained under
                      VecNormalize lacks that wrapper's statistics
    socket:HOST:PORT  a policy that another process serves (docs/howto/improve_a_policy.md)
    MODULE:NAME       a policy of your own, from the working directory or the folder of the configuration
    none              nobody; a person acts alone: --policy=none --intervention=keyboard:rate=10 (docs/interventions.md)

A policy of your own is one of these: a function from an observation to an action; an object with begin(seed) and
__call__(observation, step); or a class, or a function whose first parameter is called environment, that is called once with the
environment and returns such an object. An action is an array [A] of numbers in [-1, 1]; -1 and 1 stand for the limits of the
environment's action space.

Each finished episode is written at once, to the folder .NAME.part beside --out. After a crash or Ctrl-C, the same command continues
from there (with --overwrite where an unfinished --out was written). The data do not depend on interruptions or on --workers, and on
--envs only as far as an agent's network rounds its sums differently.
"""

from __future__ import annotations

if not __package__:
    from starting import by_path as by_path  # started by its path

import os
from functools import partial
from typing import TYPE_CHECKING

from absl import flags
from ml_collections import config_flags

from ..data.errors import WarmloopError
from .flags import interveners, overrides
from .flags.arguments import locate_config, named_environment
from .flags.choices import POLICIES, PolicyChoice, choose_environment, choose_policy
from .flags.common import log, output_path, progress, run
from .flags.envs_flag import check_alone, define_envs
from .parts.collect_report import show
from .starting.platforms import prefer_cpu
from .starting.processes import one_thread
from .starting.signals import unwound

if TYPE_CHECKING:
    from ..actor.config import ActorConfig
    from ..actor.episodes.collection import Plan
    from ..actor.episodes.parts import Parts
    from .flags.interveners import InterventionChoice

LABEL_STEPS = 10
flags.adopt_module_key_flags(interveners)
CONFIG = config_flags.DEFINE_config_file(
    "config",
    None,
    "Configuration whose environment is recorded in, such as my.py or configs/metaworld.py:door-open; --env names an environment without "
    "one. --config.environment.horizon=100 changes one setting of the configuration, or of --env. Collecting uses the sections "
    "environment and tasks, and of the section actor the timeouts; a change of another setting is refused.",
)
ENV = flags.DEFINE_string(
    "env", None, "Environment to record in, where there is no --config: a Gymnasium id, module:Id, or Meta-World/NAME-v3."
)
POLICY = flags.DEFINE_string(
    "policy", "scripted", f"Policy that acts: {POLICIES}, or none, which stands still. MODULE:NAME is a policy of your own."
)
DETERMINISTIC = flags.DEFINE_bool(
    "deterministic", False, "Act by the policy's mode instead of sampling its actions: for a checkpoint, an exported or an sb3 policy."
)
EPISODES = flags.DEFINE_integer("episodes", 50, "Number of episodes to record.", lower_bound=1)
OUT = flags.DEFINE_string("out", None, "File or folder to write; its ending chooses the format: demos.npz, demos.pkl, demos.lerobot.")
OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace --out if it exists, and an unfinished recording of other settings beside it.")
SEED = flags.DEFINE_integer("seed", 0, "Seed from which every episode's start, noise and actions follow.", lower_bound=0)
WORKERS = flags.DEFINE_integer(
    "workers", 1, "Number of recording processes, each with its own environment; one for each core is a good choice.", lower_bound=1
)
NOISE = flags.DEFINE_string(
    "noise",
    "0",
    "Standard deviation of the Gaussian noise on actions: a number; 0.5:0.1, from the first episode to the last along a line; "
    "or 0,0.3,0.6, one episode after another and over again.",
)
RANDOM_SHARE = flags.DEFINE_string(
    "random_share",
    "0",
    "Share of the steps in bursts that repeat one random action: a number; 0.5:0.1, from the first episode to the last along a line; or "
    "0,0.3,0.6, one episode after another and over again.",
)
ENVS = define_envs("each worker")
HORIZON = flags.DEFINE_integer(
    "horizon",
    None,
    "Steps after which an episode is cut. Default: environment.horizon, or the environment's own limit.",
    lower_bound=1,
)
SUCCESS = flags.DEFINE_string(
    "success",
    None,
    "Which steps count as success: auto, info:KEY[>=X], terminated, operator, reward>=X, return>=X or classifier:DIR. Default: "
    "the configuration's rule.",
)
SUCCESS_ONLY = flags.DEFINE_bool("success_only", False, "Keep successful episodes alone, and record until there are --episodes of them.")
STOP_AT_SUCCESS = flags.DEFINE_bool("stop_at_success", True, "Cut an episode after its first successful step.")
AFTER = flags.DEFINE_integer(
    "after_success", None, "Steps to record after an episode's first success, before it is cut. Default: 0; with --label 10.", lower_bound=0
)
LABEL = flags.DEFINE_bool("label", False, "Record frames of success and of failure for `warmloop classifier`; see docs/classifier.md.")


def main() -> None:
    out = output_path(OUT.value, OVERWRITE.value)
    os.environ |= one_thread(os.environ)
    prefer_cpu()
    from ..actor.episodes.collection import Tally, check_writable, write_set
    from ..actor.episodes.parts import Parts
    from ..data.formats import written_format

    check_writable(out)
    choice, hand = choose_policy(POLICY.value, DETERMINISTIC.value), interveners.choose_intervention(interveners.INTERVENTION.value)
    plan, use = make_plan(choice, hand)
    written_format(out, plan.settings())
    parts = Parts.open(out, plan.settings(), OVERWRITE.value)
    try:
        collect(plan, choice, hand, parts, use)
    finally:  # on Ctrl-C, and where too few succeed, what there is is worth keeping
        unwound()
        tally = Tally(plan, parts.over())
        try:
            show(out, write_set(out, tally, parts), tally, LABEL.value)
        finally:
            parts.close()
    if tally.found < plan.episodes:
        happened = "succeeded, too few for --success_only with" if plan.success_only else "were not discarded, too few for"
        raise WarmloopError(
            f"Only {tally.found} of {len(tally.over)} episodes {happened} --episodes={plan.episodes}; "
            f"{'they are written. U' if tally.found else 'nothing is written. U'}se another policy or less noise."
        )


def make_plan(choice: PolicyChoice, hand: InterventionChoice) -> tuple[Plan, ActorConfig]:
    """What the flags say, and the timeouts by which the environment is used. Raises WarmloopError where they do not go together."""
    from ..actor.episodes.collection import Plan
    from ..actor.episodes.schedule import Schedule
    from ..data.transition import Source

    if hand.personal and WORKERS.value > 1:
        raise WarmloopError(f"--intervention={hand.text}: a person can take over one worker, and there would be {WORKERS.value}.")
    check_alone(ENVS.value, hand.text)
    if choice.kind == "none" and not hand.personal:
        raise WarmloopError("With --policy=none nobody acts; add a person, as in --intervention=keyboard.")
    after = AFTER.value if AFTER.value is not None else LABEL_STEPS if LABEL.value else 0
    if after and not STOP_AT_SUCCESS.value:
        raise WarmloopError("--after_success says when an episode is cut, and --nostop_at_success that it is not; leave one out.")
    same = {"environment.horizon": HORIZON.name, "environment.success": SUCCESS.name}
    changes = overrides.taken("collect", overrides.PLAYED, overrides.BETWEEN_TWO, same)
    config = overrides.configured()
    environment, tasks, use = choose_environment(config, ENV.value, changes, horizon=HORIZON.value, success=SUCCESS.value)
    plan = Plan(
        environment=choice.acting_by_own(environment, changes),
        tasks=tasks,
        policy=choice.text,
        identity=choice.identity,
        deterministic=choice.deterministic,
        episodes=EPISODES.value,
        seed=SEED.value,
        source={"random": Source.RANDOM, "scripted": Source.DEMOS, "none": Source.DEMOS}.get(choice.kind, Source.SUBOPTIMAL),
        noise=Schedule.parse("--noise", NOISE.value),
        random_share=Schedule.parse("--random_share", RANDOM_SHARE.value, below=1.0),
        success_only=SUCCESS_ONLY.value,
        stop_at_success=STOP_AT_SUCCESS.value,
        after_success=after,
        unseen=LABEL.value,
        intervention=hand.identity,
        discards=hand.personal,
    )
    return plan, use


def collect(plan: Plan, choice: PolicyChoice, hand: InterventionChoice, parts: Parts, use: ActorConfig) -> None:
    """Runs the attempts that are not over yet, until the set is complete."""
    from ..actor.episodes.collection import Attempts, Players, Tally
    from ..actor.episodes.workers import workers

    tally = Tally(plan, parts.over())
    if tally.over:
        log.info("%d finished attempts are in %s; continuing from there", len(tally.over), parts.folder)
    if tally.complete:
        return
    players = Players(choice, hand, use, ENVS.value)
    with (
        workers(partial(Attempts, plan, players, parts.folder), WORKERS.value, ENVS.value) as job,
        progress("collecting", plan.episodes) as advance,
    ):
        advance(tally.found)
        for attempt, succeeded in job(tally.wanted()):
            advance(tally.add(attempt, succeeded), f"success {sum(tally.succeeded())}/{len(tally.succeeded())}")


def cli() -> None:
    """The console script `warmloop-collect`."""
    run(main, prepare=lambda argv: locate_config(argv, named_environment))


if __name__ == "__main__":
    cli()
