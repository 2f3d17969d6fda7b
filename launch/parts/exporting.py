"""Exporting a checkpoint's policy and comparing what was written with the agent: what `export` and the notebooks' trainer share."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...data.errors import WarmloopError
from ..flags import choices as choices  # by which a base policy is found
from ..flags.overrides import Changes, changed_checkpoint

if TYPE_CHECKING:
    import numpy as np

    from ...actor.environment.environment import Environment
    from ...agents.export import Exported, Report
    from ...data.transition import PyTree

TOLERANCE = 1e-5
STEPS, RANDOM = 200, 100  # observations of the environment and random ones at which the forms are compared


def export_checkpoint(
    checkpoint: str | Path,
    out: Path,
    step: int | str | None = None,
    environment: Environment | None = None,
    changes: Changes | None = None,
) -> list[Report]:
    """Writes the policy of a checkpoint to the folder `out` in one step, and says how its forms compare with the agent.

    Args:
        step: which checkpoint, as `learner.checkpoints.checkpoint.load_policy` takes it.
        environment: that it acts in, where its id cannot say it.
        changes: settings of the checkpoint's environment that are others here, by SECTION.SETTING.

    Raises:
        WarmloopError: there is no such checkpoint, its environment cannot be made or does not fit it, `out` is no export's folder, the
            policy remembers what it saw before, or a form of it differs from the agent.
    """
    from ...actor.environment.environment import make_environment
    from ...agents.export import Exported, check, check_exportable, write
    from ...configs.saved import config_of
    from ...learner.checkpoints.checkpoint import load_policy

    if out.exists() and not (out / "policy.json").is_file():
        raise WarmloopError(f"{out} is no folder of an exported policy; it is not replaced. Choose another one.")
    agent, actor, meta = load_policy(checkpoint, step)
    check_exportable(agent)
    config = changed_checkpoint(config_of(meta), changes or {}, checkpoint)
    acting = environment or make_environment(config.environment, config.reward, tasks=config.tasks)
    if difference := acting.spec.difference(agent.spec, acting.config.id, "the checkpoint"):
        raise WarmloopError(f"The checkpoint does not fit the environment: {difference}.")
    exported = Exported(agent, actor, description(acting, meta))
    partial = out.with_name(f".{out.name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        write(partial, exported)
        reports = check(partial, exported, *observations(acting, exported))
        for report in reports:
            if not report.difference <= TOLERANCE:
                raise WarmloopError(f"{report.name} differs from the agent by {report.difference:.1e}; nothing is written to {out}.")
        shutil.rmtree(out, ignore_errors=True)
        partial.rename(out)
    except OSError as error:
        raise WarmloopError(f"{out} could not be written: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        if environment is None:
            acting.close()
    return reports


def description(environment: Environment, meta: dict[str, Any]) -> dict[str, Any]:
    """What policy.json says of the environment and of the agent."""
    space: Any = environment.space
    spaces = [(leaf, space[leaf.name] if leaf.name else space) for leaf in environment.raw_spec.observation]
    tasks, limits = environment.tasks, environment.limits
    return {
        "environment": environment.config.id,
        "agent": meta["agent"]["name"],
        "updates": meta["updates"],
        "observation": {
            leaf.name: {"shape": leaf.shape, "dtype": leaf.dtype, "low": bound(space.low), "high": bound(space.high)}
            for leaf, space in spaces
        },
        "action": {"shape": [len(limits.low)], "low": limits.low, "high": limits.high},
        "tasks": {"names": tasks.names, "codes": tasks.codes},
        "network": meta["agent"]["config"],
    }


def bound(values: np.ndarray) -> Any:
    """A space's bound as one number where all are the same, as an image's are."""
    return values.flat[0] if (values == values.flat[0]).all() else values


def observations(environment: Environment, exported: Exported) -> tuple[list[PyTree], list[PyTree], list[str | None]]:
    """Where the forms are compared: raw observations, the same with their tasks' codes, and the tasks' names."""
    import jax
    import numpy as np

    from ...actor.policies.policy import AgentPolicy
    from ...actor.seeds import EVALUATION_STREAM, episode_seed

    policy, tasks, rng = AgentPolicy(exported.agent, exported.actor), environment.tasks, np.random.default_rng(0)
    conditioned, names, episode, over, observation, step = [], [], 0, True, None, 0
    while len(conditioned) < STEPS:
        if over:
            seed, step = episode_seed(0, EVALUATION_STREAM, episode, len(tasks)), 0
            policy.begin(seed)
            observation, episode = environment.reset(seed), episode + 1
        conditioned.append(observation)
        names.append(environment.task or None)
        result = environment.step(policy(observation, step))
        observation, over, step = result.next_observation, result.terminated or result.truncated, step + 1
    raw = [tasks.strip(each) for each in conditioned]
    for number in range(RANDOM):
        task = number % max(len(tasks), 1)
        noise = jax.tree.map(lambda leaf: (3 * rng.standard_normal(leaf.shape)).astype(leaf.dtype), raw[0])
        raw.append(noise)
        conditioned.append(tasks.condition(noise, task))
        names.append(tasks.names[task] if tasks.names else None)
    return raw, conditioned, names
