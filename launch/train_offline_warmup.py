"""Warms a policy up on recorded data, offline.

    train_offline_warmup --exp_name=door --config=configs/adroit.py:door \\
        --offline_data_path=demos=demos.pkl --offline_data_path=random=random.npz --checkpoint_path=warmup_ckpt

Writes a checkpoint, and beside it filtered_demos.npz: the demonstrations worth keeping for the fine-tuning. Go on with

    train_rlpd --exp_name=door --config=configs/adroit.py:door --checkpoint_path=warmup_ckpt --demo_path=warmup_ckpt/filtered_demos.npz
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from . import settings
from .common import log, progress, run
from .limits import taken_over
from .sources import warmup_data
from .warmup import save_warmup

if TYPE_CHECKING:
    from ..agents import Agent
    from ..configs.schema import RunConfig
    from ..learner.offline import OfflineData
    from ..learner.state import LearnerParts, LearnerState

flags.adopt_module_key_flags(settings)
DATA = flags.DEFINE_multi_string(
    "offline_data_path", [], "Data to learn from beside the preset's sources, KIND=PATH with KIND demos, suboptimal or random; repeatable."
)
WARMUP_STEPS = flags.DEFINE_integer("warmup_steps", None, "Updates (the preset's learner.warmup_steps).", lower_bound=1)
CHECKPOINT = flags.DEFINE_string("checkpoint_path", None, "Folder for the checkpoint (RUNS/EXP_NAME/warmup).")
RESUME = flags.DEFINE_bool("resume", False, "Go on from the newest checkpoint in --checkpoint_path.")
EVAL_TRAJS = flags.DEFINE_integer(
    "eval_n_trajs", 0, "Episodes in the environment to judge the result by; 0 needs no environment.", lower_bound=0
)


def main() -> None:
    from ..learner.metrics import Recorder

    config = settings.run_config(warmup_steps=WARMUP_STEPS.value)
    directory = settings.run_directory()
    target = Path(CHECKPOINT.value) if CHECKPOINT.value else directory / "warmup"
    resumed = target if RESUME.value else None
    config, data = warmup_data(taken_over(config, resumed), DATA.value, needed=EVAL_TRAJS.value > 0)
    taken_over(config, resumed)  # limits that only now came from the data are not those of the checkpoint
    log.info("\n".join(data.summary(config.tasks)))
    settings.save_config(directory, config)
    with Recorder(directory / "warmup_metrics") as recorder:
        state, parts = train(config, data, recorder, target)
        save_warmup(config, data, state, parts, target)
        if EVAL_TRAJS.value:
            evaluate(config, parts.agent, state, recorder)
    print(f"checkpoint   {target}")


def train(config: RunConfig, data: OfflineData, recorder: Any, target: Path) -> tuple[LearnerState, LearnerParts]:
    """The offline phase, from the beginning or from where it stopped."""
    from ..learner.assemble import resume, warm_start
    from ..learner.warmup import warm_up
    from .assemble import warm_parts

    parts = warm_parts(config, data.spec)
    state = resume(target, parts)[0] if RESUME.value else warm_start(parts, settings.SEED.value, data.rows)
    done = int(state.updates)
    with progress("warming up", max(config.learner.warmup_steps - done, 0)) as advance:

        def show(updates: int, metrics: Mapping[str, float]) -> None:
            nonlocal done
            advance(updates - done, summary(metrics))
            done = updates

        return warm_up(state, parts, config.learner, recorder, show), parts


def evaluate(config: RunConfig, agent: Agent, state: LearnerState, recorder: Any) -> None:
    """Judges the warmed-up policy in the environment."""
    from ..actor.environment import make_environment
    from ..actor.policy import AgentPolicy
    from ..actor.rollout import evaluate as run_episodes
    from .judge import summarise, table

    environment = make_environment(config.environment, config.reward, tasks=config.tasks)
    policy = AgentPolicy(agent, agent.actor_params(state.agent), deterministic=True)
    with progress("evaluating", EVAL_TRAJS.value) as advance:
        shown = run_episodes(environment, policy, settings.SEED.value, EVAL_TRAJS.value, lambda episode: advance())
    environment.close()
    recorder.write(int(state.updates), shown.scalars())
    print(table(summarise(environment.config, shown)))


def summary(metrics: Mapping[str, float]) -> str:
    """What the progress bar says beside the count."""
    shown = {"ratio": "learner/offline_ratio", "q": "critic/q_mean", "updates/s": "learner/updates_per_second"}
    return ", ".join(f"{name} {metrics[key]:.2f}" for name, key in shown.items() if key in metrics)


def cli() -> None:
    """The console script `train_offline_warmup`."""
    run(main, prepare=settings.locate_config)


if __name__ == "__main__":
    cli()
