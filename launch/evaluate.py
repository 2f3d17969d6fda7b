"""Judges a policy: its success rate with a 95 % confidence interval, and its return.

python -m warmloop.launch.evaluate --checkpoint=runs/door/checkpoints --episodes=50 --video=door.mp4
python -m warmloop.launch.evaluate --env=Meta-World/door-open-v3 --policy=scripted --episodes=50
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from ..data.errors import WarmloopError
from .common import fail, progress, run

if TYPE_CHECKING:
    from ..actor.rollout import Evaluation

CHECKPOINT = flags.DEFINE_string("checkpoint", None, "Folder with checkpoints, as a training command wrote it.")
STEP = flags.DEFINE_integer("step", None, "Which of them, by its number of updates (the newest).", lower_bound=0)
ENV = flags.DEFINE_string(
    "env", None, "Environment, where it is not the checkpoint's own: a Gymnasium id, module:Id or Meta-World/NAME-v3."
)
POLICY = flags.DEFINE_string("policy", "checkpoint", "checkpoint, random, or scripted (Meta-World's experts).")
EPISODES = flags.DEFINE_integer("episodes", 50, "Episodes.", lower_bound=1)
SEED = flags.DEFINE_integer("seed", 0, "Decides the episodes' starts.", lower_bound=0)
STOCHASTIC = flags.DEFINE_bool("stochastic", False, "Sample actions, as training does, instead of taking the policy's mean.")
JSON = flags.DEFINE_bool("json", False, "Print one JSON object instead of a table.")
VIDEO = flags.DEFINE_string("video", None, "Also record three episodes as this .mp4.")


def main() -> None:
    if POLICY.value == "checkpoint":
        if not CHECKPOINT.value:
            raise WarmloopError("Name a checkpoint, as in --checkpoint=runs/door/checkpoints, or set --policy=scripted with --env.")
    elif not ENV.value:
        raise WarmloopError(f"--policy={POLICY.value} needs --env, as in --env=Meta-World/door-open-v3.")
    shown = evaluate(CHECKPOINT.value, EPISODES.value, SEED.value, step=STEP.value, video=VIDEO.value)
    print(json.dumps(shown) if JSON.value else table(shown))


def evaluate(checkpoint: str | Path | None, episodes: int, seed: int, step: int | None = None, video: str | Path | None = None) -> dict:
    """Runs the episodes and returns what `--json` prints."""
    from ..actor.environment import make_environment
    from ..actor.rollout import evaluate as run_episodes

    environment_config, reward, agent, params = _subject(checkpoint, step)
    environment = make_environment(environment_config, reward)
    policy = _policy(environment, agent, params)
    with progress("evaluating", episodes) as advance:
        result = run_episodes(environment, policy, seed, episodes, lambda episode: advance())
    environment.close()
    shown = summarise(environment_config.id, result)
    if video:
        from ..actor.video import record_video

        shown["video"] = str(record_video(environment_config, policy, seed, Path(video)))
    return shown


def summarise(environment: str, result: Evaluation) -> dict[str, Any]:
    """An evaluation as plain values."""
    low, high = result.interval
    return {
        "environment": environment,
        "episodes": len(result.success),
        "success_rate": result.success_rate,
        "success_low": low,
        "success_high": high,
        "success_at_last_step": result.final_success_rate,
        "mean_return": result.mean_return,
        "mean_length": result.mean_length,
    }


def table(shown: dict[str, Any]) -> str:
    """What a person reads."""
    rows = {
        "environment": shown["environment"],
        "episodes": shown["episodes"],
        "success": f"{shown['success_rate']:.2f} (95 % interval {shown['success_low']:.2f} to {shown['success_high']:.2f})",
        "return": f"{shown['mean_return']:.1f}",
        "length": f"{shown['mean_length']:.0f} steps",
    }
    if "video" in shown:
        rows["video"] = shown["video"]
    return "\n".join(f"{name:<12} {value}" for name, value in rows.items())


def _subject(checkpoint: str | Path | None, step: int | None) -> tuple[Any, Any, Any, Any]:
    """Environment and reward to judge in, and the agent with its parameters (None for a policy that is none)."""
    from ..actor.environment import EnvironmentConfig
    from ..configs.schema import from_dict
    from ..data.reward import RewardConfig
    from ..learner.checkpoint import load_policy

    runs_on = RewardConfig(signal="environment", terminate_on_success=False)
    if checkpoint is None or POLICY.value != "checkpoint":
        return EnvironmentConfig(ENV.value or ""), runs_on, None, None
    agent, params, meta = load_policy(checkpoint, step)
    config = from_dict(meta["config"])
    return (EnvironmentConfig(ENV.value) if ENV.value else config.environment), config.reward, agent, params


def _policy(environment: Any, agent: Any, params: Any) -> Any:
    from ..actor.experts import scripted_policy
    from ..actor.policy import AgentPolicy, RandomPolicy

    if agent is not None:
        if difference := environment.spec.difference(agent.spec, environment.config.id, "the checkpoint"):
            raise WarmloopError(f"The checkpoint does not fit the environment: {difference}.")
        return AgentPolicy(agent, params, deterministic=not STOCHASTIC.value)
    if POLICY.value == "random":
        return RandomPolicy(environment.spec.action_dim)
    if POLICY.value == "scripted":
        return scripted_policy(environment)
    fail(f'--policy is "{POLICY.value}"; it must be checkpoint, random or scripted.')


def cli() -> None:
    """The console script `warmloop-evaluate`."""
    run(main)


if __name__ == "__main__":
    cli()
