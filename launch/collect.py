"""Records episodes of a policy in an environment, as a data set to warm up on.

    python -m warmloop.launch.collect --env=Meta-World/door-open-v3 --policy=scripted --episodes=50 --noise=0.3 --out=demos.npz

Episodes are recorded as the environment gave them: its own rewards and endings, and the success signal of every step. The
ending of --out chooses the format: .npz, .pkl, or none for a Minari data set's folder.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from ..data.errors import WarmloopError
from .common import output_path, progress, run
from .limits import recorded_limits

if TYPE_CHECKING:
    from ..actor.environment import Environment, EnvironmentConfig
    from ..actor.policy import Policy
    from ..data.episode import Episode

ATTEMPTS_PER_SUCCESS = 10
CHECKPOINT = "checkpoint:"

CONFIG = flags.DEFINE_string("config", None, "Take the environment from this configuration, such as configs/metaworld.py:door-open.")
ENV = flags.DEFINE_string("env", None, "Or name it: a Gymnasium id, module:Id, or Meta-World/NAME-v3.")
POLICY = flags.DEFINE_string("policy", "scripted", "random, scripted (Meta-World's experts), or checkpoint:DIR.")
EPISODES = flags.DEFINE_integer("episodes", 50, "Episodes to record.", lower_bound=1)
OUT = flags.DEFINE_string("out", None, "File or folder to write.")
OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace --out if it exists.")
SEED = flags.DEFINE_integer("seed", 0, "Decides every episode.", lower_bound=0)
NOISE = flags.DEFINE_float("noise", 0.0, "Standard deviation of the Gaussian noise added to actions.", lower_bound=0.0)
RANDOM_SHARE = flags.DEFINE_float("random_share", 0.0, "Share of the steps spent in bursts of one random action.", lower_bound=0.0)
HORIZON = flags.DEFINE_integer("horizon", None, "Steps until an episode is cut.", lower_bound=1)
SUCCESS = flags.DEFINE_string("success", None, "Success signal: auto, info:KEY, terminated, reward>=X or return>=X.")
SUCCESS_ONLY = flags.DEFINE_bool("success_only", False, "Keep successful episodes only, until there are --episodes of them.")
STOP_AT_SUCCESS = flags.DEFINE_bool("stop_at_success", True, "Cut an episode after its first successful step.")


def main() -> None:
    out = output_path(OUT.value, OVERWRITE.value)
    from ..actor.environment import make_environment
    from ..data.formats import write_episodes
    from ..data.sources import mark

    environment = make_environment(environment_config())
    policy = make_policy(environment)
    kept: list[Episode] = []
    attempted: list[bool] = []
    try:
        collect(environment, policy, kept, attempted)
    finally:  # on Ctrl-C, and where too few succeed, what there is is worth keeping
        environment.close()
        if kept:
            about = {"environment": environment.config.id, "policy": POLICY.value, "seed": SEED.value}
            write_episodes(out, kept, about | mark(environment.config.limits))
            show(out, kept, attempted)
    if len(kept) < EPISODES.value:
        raise WarmloopError(
            f"Only {len(kept)} of {len(attempted)} episodes succeeded, too few for --success_only with --episodes={EPISODES.value}; "
            f"{'they are written. U' if kept else 'nothing is written. U'}se another policy or less noise."
        )


def collect(environment: Environment, policy: Policy, kept: list[Episode], attempted: list[bool]) -> None:
    """Appends to `kept` the episodes to write, and to `attempted` whether each one succeeded."""
    from ..actor.rollout import run_episode
    from ..actor.seeds import COLLECTION_STREAM, episode_seed
    from ..data.transition import Source

    source = {"random": Source.RANDOM, "scripted": Source.DEMOS}.get(POLICY.value, Source.SUBOPTIMAL)
    limit = EPISODES.value * (ATTEMPTS_PER_SUCCESS if SUCCESS_ONLY.value else 1)
    with progress("collecting", EPISODES.value) as advance:
        while len(kept) < EPISODES.value and len(attempted) < limit:
            seed = episode_seed(SEED.value, COLLECTION_STREAM, len(attempted))
            episode = run_episode(environment, policy, seed, source=source, episode=len(kept), stop_at_success=STOP_AT_SUCCESS.value)
            attempted.append(episode.succeeded)
            keep = episode.succeeded or not SUCCESS_ONLY.value
            kept += [episode] if keep else []
            advance(int(keep), f"success {sum(attempted)}/{len(attempted)}")


def environment_config() -> EnvironmentConfig:
    """The environment that the flags name."""
    import dataclasses

    from ..actor.environment import EnvironmentConfig

    if (CONFIG.value is None) == (ENV.value is None):
        raise WarmloopError("Name the environment by either --config or --env, as in --env=Meta-World/door-open-v3.")
    if ENV.value is not None:
        config = EnvironmentConfig(ENV.value)
    else:
        from ..configs import load

        config = load(CONFIG.value or "").environment
    changes: dict[str, Any] = {"horizon": HORIZON.value, "success": SUCCESS.value}
    config = dataclasses.replace(config, **{name: value for name, value in changes.items() if value is not None})
    limits = recorded_limits(POLICY.value.removeprefix(CHECKPOINT)) if POLICY.value.startswith(CHECKPOINT) else None
    return dataclasses.replace(config, action_low=limits.low, action_high=limits.high) if limits else config


def make_policy(environment: Environment) -> Policy:
    """The policy that the flags name, made noisy where they say so."""
    from ..actor.experts import scripted_policy
    from ..actor.policy import AgentPolicy, NoisyPolicy, RandomPolicy

    if POLICY.value == "random":
        policy: Policy = RandomPolicy(environment.spec.action_dim)
    elif POLICY.value == "scripted":
        policy = scripted_policy(environment)
    elif POLICY.value.startswith(CHECKPOINT):
        from ..learner.checkpoint import load_policy

        agent, actor_params, _ = load_policy(POLICY.value.removeprefix(CHECKPOINT))
        if difference := environment.spec.difference(agent.spec, "the environment", "the checkpoint"):
            raise WarmloopError(f"The checkpoint does not fit {environment.config.id}: {difference}.")
        policy = AgentPolicy(agent, actor_params)
    else:
        raise WarmloopError(f'--policy is "{POLICY.value}"; it must be random, scripted or checkpoint:DIR.')
    return NoisyPolicy(policy, NOISE.value, RANDOM_SHARE.value) if NOISE.value or RANDOM_SHARE.value else policy


def show(out: Path, kept: list[Episode], attempted: list[bool]) -> None:
    """A closing table on stdout."""
    import numpy as np

    rows = {
        "written": str(out),
        "episodes": f"{len(kept)}",
        "steps": f"{sum(map(len, kept))}",
        "success": f"{sum(attempted)} of {len(attempted)} attempted ({np.mean(attempted):.0%})",
        "mean return": f"{np.mean([episode.undiscounted_return for episode in kept]):.1f}",
        "mean length": f"{np.mean([len(episode) for episode in kept]):.0f}",
    }
    print("\n".join(f"{name:<12} {value}" for name, value in rows.items()))


def cli() -> None:
    """The console script `warmloop-collect`."""
    run(main)


if __name__ == "__main__":
    cli()
