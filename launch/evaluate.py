"""Judges a policy: its success rate with a 95 % confidence interval, and its return.

    warmloop evaluate --checkpoint=runs/door/checkpoints --episodes=50 --video=door.mp4
    warmloop evaluate --env=Meta-World/door-open-v3 --policy=scripted --episodes=50
    warmloop evaluate --config=configs/adroit.py:door --policy=sb3:ppo.zip
    warmloop evaluate --env=Pendulum-v1 --policy=export:door_policy        # or --policy=my_lab:Controller

With --offline it compares all checkpoints of a folder instead, by recorded data, and marks the one to fine-tune or to export:

    warmloop evaluate --offline --checkpoint=runs/door/warmup --offline_data_path=demos=demos.pkl
    warmloop evaluate --offline --checkpoint=runs/door/warmup --bandit_episodes=300

With --model it judges the learnt model of the dynamics in a checkpoint of combo, mopo, mobile or pets, by recorded data:

    warmloop evaluate --model --checkpoint=runs/hopper/warmup
"""

from __future__ import annotations

if not __package__:
    from starting import by_path as by_path  # started by its path

import json
from typing import Any

from absl import flags
from ml_collections import config_flags

from ..data.errors import WarmloopError
from .flags import data_flags, overrides
from .flags.arguments import locate_config, named_checkpoint, named_environment, value_of
from .flags.choices import POLICIES
from .flags.common import run
from .flags.envs_flag import define_envs
from .flags.step_flag import define_step
from .judging.judge import Subject, judge, table
from .starting.platforms import prefer_cpu

flags.adopt_module_key_flags(data_flags)
CHECKPOINT = flags.DEFINE_string("checkpoint", None, "Folder with checkpoints, or a checkpoint's own, as a training command wrote it.")
flags.DEFINE_alias("checkpoint_path", CHECKPOINT.name)
STEP = define_step(
    "step",
    'Checkpoint to judge, by its number of updates, "best" for the best policy of the run or "last" for the trained one. Default: the one '
    "in selection.json; without that file, the best policy if the run chose it at its end, else the newest checkpoint.",
)
ENV = flags.DEFINE_string(
    "env", None, "Environment to judge in: a Gymnasium id, module:Id or Meta-World/NAME-v3. Default: the checkpoint's own."
)
CONFIG = config_flags.DEFINE_config_file(
    "config",
    None,
    "Configuration whose environment a policy that is no checkpoint is judged in, such as configs/adroit.py:door. "
    "--config.environment.horizon=100 changes one setting: of --config, else of the checkpoint's own configuration, else of --env. A "
    "change of a setting that the evaluation does not use is refused.",
)
POLICY = flags.DEFINE_string(
    "policy", "checkpoint", f"Policy to judge: {POLICIES}, as in `warmloop collect`. The word checkpoint alone is the one in --checkpoint."
)
SUCCESS = flags.DEFINE_string(
    "success",
    None,
    "Rule for success: auto, info:KEY[>=X], terminated, reward>=X, return>=X or classifier:DIR. Default: the configuration's.",
)
EPISODES = flags.DEFINE_integer("episodes", 50, "Number of episodes to judge by.", lower_bound=1)
flags.DEFINE_alias("eval_n_trajs", EPISODES.name)
SEED = flags.DEFINE_integer("seed", 0, "Seed of the episodes' starts.", lower_bound=0)
ENVS = define_envs("the command")
STOCHASTIC = flags.DEFINE_bool("stochastic", False, "Sample actions, as training does, instead of taking the policy's mean.")
JSON = flags.DEFINE_bool("json", False, "Print one JSON object instead of a table.")
VIDEO = flags.DEFINE_string("video", None, "File for a film of three more episodes; it ends in .mp4, .mkv, .mov or .avi.")
OFFLINE = flags.DEFINE_bool(
    "offline", False, "Compare all checkpoints in --checkpoint by recorded data, and mark the best in selection.json."
)
MODEL = flags.DEFINE_bool(
    "model",
    False,
    "Judge a checkpoint's learnt model of the dynamics by recorded data: its errors 1 to 15 steps ahead, and how far its members disagree. "
    "Writes model.png and model.json beside the checkpoint.",
)
DATA = flags.DEFINE_multi_string(
    "offline_data_path",
    [],
    "With --offline or --model: recorded data to judge by, [KIND=]PATH; repeatable. Default: the data that the warm-up learnt from.",
)
BANDIT = flags.DEFINE_integer(
    "bandit_episodes",
    0,
    "With --offline: total of the episodes to play in the environment to choose among the checkpoints; 0 chooses by the data alone.",
    lower_bound=0,
)

ABSENT = flags.DEFINE_bool(
    "environment_absent", False, "With --offline or --model: the environment is on another machine; do not check the data against it."
)


# What is used of a checkpoint's configuration beside the environment's own settings.
EPISODES_OF_A_CHECKPOINT = (*overrides.PLAYED, "reward.signal", "reward.terminate_on_success")
RECORDED = ("data", "reward", "quality", "tasks", "plausible")
TIMES = ("environment.horizon", "environment.time_limit_is_truncation", *overrides.LIMITS)  # where the environment is absent


def main() -> None:
    if ENVS.value > 1 and (MODEL.value or OFFLINE.value):
        raise WarmloopError("--envs is for the episodes of one policy; leave it out for --model and --offline.")
    if overrides.configuration() and (CHECKPOINT.value or POLICY.value.startswith("checkpoint:")):
        raise WarmloopError(
            "A checkpoint has its own configuration: leave --config out, name another environment by --env, or change a setting, as by "
            "--config.environment.horizon=100."
        )
    if MODEL.value:
        check_model()
        return
    if OFFLINE.value:
        if SUCCESS.value:
            raise WarmloopError("--success is for episodes of one policy; leave it out for --offline.")
        compare()
        return
    if overrides.configuration() and POLICY.value == "checkpoint":
        raise WarmloopError("--config names an environment, and no policy is named; add --policy=random, sb3:PATH.zip or another.")
    if DATA.value or BANDIT.value or ABSENT.value or data_flags.changes():
        raise WarmloopError(
            "--offline_data_path, --environment_absent, --dones and --skip_bad_episodes go with --offline or --model, and "
            "--bandit_episodes goes with --offline: there they compare checkpoints or judge a model."
        )
    prefer_cpu()
    used = EPISODES_OF_A_CHECKPOINT if POLICY.value.startswith("checkpoint") else overrides.PLAYED
    changes = overrides.taken("evaluate", used, overrides.BETWEEN_TWO, {"environment.success": SUCCESS.name})
    chosen = (ENV.value, STOCHASTIC.value, SUCCESS.value, overrides.configured())
    subject = Subject(POLICY.value, CHECKPOINT.value, STEP.value, *chosen, changes)
    judge(subject, EPISODES.value, SEED.value, VIDEO.value, show, ENVS.value)


def show(shown: dict[str, Any]) -> None:
    """What was found, before a video is begun."""
    print(json.dumps(shown) if JSON.value else table(shown), flush=True)


def check_model() -> None:
    """Judges a checkpoint's model of the dynamics."""
    from .judging.model_check import check_model as check

    if not CHECKPOINT.value or POLICY.value != "checkpoint" or OFFLINE.value or BANDIT.value:
        raise WarmloopError("--model judges the model of one checkpoint: name it, as in --model --checkpoint=runs/hopper/warmup.")
    if isinstance(STEP.value, str):
        raise WarmloopError(f"--step={STEP.value} is a policy without its model; with --model name a checkpoint by its number of updates.")
    changes = changes_of_recorded("evaluate --model")
    prefer_cpu()
    shown, text = check(CHECKPOINT.value, STEP.value, DATA.value, ABSENT.value, SEED.value, changes)
    print(json.dumps(shown) if JSON.value else text)


def compare() -> None:
    """Ranks a folder's checkpoints."""
    from .judging.play_off import compare_checkpoints

    if not CHECKPOINT.value or POLICY.value != "checkpoint":
        raise WarmloopError("Name a folder of checkpoints to compare, as in --offline --checkpoint=runs/door/warmup.")
    if BANDIT.value and ABSENT.value:
        raise WarmloopError(f"--bandit_episodes={BANDIT.value} needs the environment here; leave it or --environment_absent out.")
    changes = changes_of_recorded("evaluate --offline", "fqe", *(overrides.PLAYED if BANDIT.value else ()))
    subject = Subject(checkpoint=CHECKPOINT.value, environment=ENV.value, stochastic=STOCHASTIC.value, changes=changes)
    shown, text = compare_checkpoints(subject, DATA.value, BANDIT.value, SEED.value, ABSENT.value)
    print(json.dumps(shown) if JSON.value else text)


def changes_of_recorded(command: str, *more: str) -> dict[str, Any]:
    """What flags change of the checkpoint's configuration, where a command judges by recorded data. Raises WarmloopError as `taken`."""
    environment = TIMES if ABSENT.value else ("environment",)
    unused = () if BANDIT.value else ("environment.success",)
    same = {"data.sources": DATA.name} | data_flags.SAME
    return overrides.taken(command, (*RECORDED, *environment, *more), (*overrides.BETWEEN_TWO, *unused), same) | data_flags.changes()


def base(argv: list[str], change: str) -> str:
    """Whose setting `change` is, where --config names no configuration: that of the checkpoint, else that of --env."""
    of_checkpoint = value_of(argv, "checkpoint") or value_of(argv, "checkpoint_path")
    of_checkpoint = of_checkpoint or (value_of(argv, "policy") or "").startswith("checkpoint:")
    return (named_checkpoint if of_checkpoint else named_environment)(argv, change)


def cli() -> None:
    """The console script `warmloop-evaluate`."""
    run(main, prepare=lambda argv: locate_config(argv, base))


if __name__ == "__main__":
    cli()
