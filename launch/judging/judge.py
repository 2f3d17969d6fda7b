"""Judging a policy in its environment: what `evaluate`, and train_rlpd's evaluation of a checkpoint, share."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...data.errors import WarmloopError
from ..flags.choices import SAMPLES, PolicyChoice, choose_environment, choose_policy
from ..flags.common import check_writable, log, progress
from ..flags.overrides import Changes, changed_checkpoint

if TYPE_CHECKING:
    from ...actor.environment.environment import Environment, EnvironmentConfig
    from ...actor.episodes.rollout import Evaluation
    from ...actor.policies.policy import Policy
    from ...agents import Agent
    from ...configs.schema import RunConfig

VIDEO_EPISODES = 3
MEAN = "the policy's mean"


@dataclasses.dataclass(frozen=True)
class Subject:
    """What is judged.

    Attributes:
        policy: as `choose_policy` takes it; "checkpoint" is `checkpoint:` with the next one's folder.
        checkpoint: folder of the checkpoints, where that is the policy.
        step: which of them, by its number of updates; "best" is the best policy so far, "last" the trained one; None as by
            `learner.checkpoints.checkpoint.load_policy`.
        environment: its id; None is the checkpoint's own, or that of `config`.
        stochastic: sample the actions, as training does, of policies that can.
        success: the success rule; None is the environment's own.
        config: the configuration that has the environment; None for the checkpoint's.
        changes: settings of the configuration that are others here, by SECTION.SETTING.
    """

    policy: str = "checkpoint"
    checkpoint: str | Path | None = None
    step: int | str | None = None
    environment: str | None = None
    stochastic: bool = False
    success: str | None = None
    config: RunConfig | str | None = None
    changes: Changes = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        kind, _, folder = self.policy.partition(":")
        if kind == "checkpoint" and folder:
            if self.checkpoint:
                raise WarmloopError(f"--policy={self.policy} and --checkpoint={self.checkpoint} both name a policy; leave one out.")
            object.__setattr__(self, "policy", kind)
            object.__setattr__(self, "checkpoint", folder)
        if self.policy == "none":
            raise WarmloopError("With --policy=none nobody acts, and there is nothing to judge; name a policy.")
        if self.policy == "checkpoint" and not self.checkpoint:
            raise WarmloopError("Name a checkpoint, as in --checkpoint=runs/door/checkpoints, or set --policy=scripted with --env.")
        if self.policy == "checkpoint" and self.config:
            raise WarmloopError("A checkpoint has its own configuration: leave --config out, or name another environment by --env.")
        if self.policy != "checkpoint" and self.checkpoint:
            raise WarmloopError(f"--policy={self.policy} and --checkpoint={self.checkpoint} both name a policy; leave one out.")
        if self.policy != "checkpoint" and self.step is not None:
            raise WarmloopError(f"--step={self.step} is one of a checkpoint's folder, and the policy is {self.policy}; leave it out.")
        if self.policy != "checkpoint" and not (self.environment or self.config):
            raise WarmloopError(f"--policy={self.policy} needs --env or --config, as in --env=Meta-World/door-open-v3.")

    @property
    def actions(self) -> str:
        """Which actions are judged."""
        if self.policy != "checkpoint" and self._choice.kind not in SAMPLES:
            return self.policy
        return "sampled, as in training" if self.stochastic else MEAN

    @functools.cached_property
    def _choice(self) -> PolicyChoice:
        """What is no checkpoint."""
        chosen = choose_policy(self.policy)
        return dataclasses.replace(chosen, deterministic=chosen.kind in SAMPLES and not self.stochastic)

    def load(self) -> tuple[Environment, Policy]:
        """The environment and the policy. Raises WarmloopError where they do not fit or cannot be had."""
        make, make_policy = self.makers()
        environment = make()
        return environment, make_policy(environment)

    def makers(self) -> tuple[Callable[[], Environment], Callable[[Environment], Policy]]:
        """What makes the environment, and what makes the policy that acts in it; they raise as `load`."""
        from ...actor.environment.environment import make_environment

        if self.policy != "checkpoint":
            choice = self._choice
            chosen, tasks, use = choose_environment(self.config, self.environment, self.changes, success=self.success)
            return lambda: make_environment(choice.acting_by_own(chosen, self.changes), tasks=tasks, use=use), choice
        return self._checkpointed_makers()

    def _checkpointed_makers(self) -> tuple[Callable[[], Environment], Callable[[Environment], Policy]]:
        from ...actor.environment.environment import EnvironmentConfig, make_environment
        from ...configs.saved import config_of

        agent, policy, meta = self.checkpointed()
        config = config_of(meta)
        if self.environment:  # another one, in which the policy's actions still mean what they meant
            kept = {name: getattr(config.environment, name) for name in ("action_low", "action_high", "base", "base_proposals")}
            config = config.replace(environment=EnvironmentConfig(self.environment, **kept))
        config = changed_checkpoint(config, self.changes, self.checkpoint)
        own = config.environment
        if self.success:
            own = dataclasses.replace(own, success=self.success)

        def make_policy(environment: Environment) -> Policy:
            if difference := environment.spec.difference(agent.spec, environment.config.id, "the checkpoint"):
                raise WarmloopError(f"The checkpoint does not fit the environment: {difference}.")
            return policy

        return lambda: make_environment(own, config.reward, tasks=config.tasks, use=config.actor), make_policy

    def checkpointed(self) -> tuple[Agent, Policy, dict[str, Any]]:
        """The checkpoint's agent, its policy and its description, without an environment."""
        from ...actor.policies.policy import AgentPolicy
        from ...learner.checkpoints.checkpoint import load_policy

        agent, params, meta = load_policy(str(self.checkpoint), self.step)
        return agent, AgentPolicy(agent, params, deterministic=not self.stochastic), meta


def judge(
    subject: Subject,
    episodes: int,
    seed: int,
    video: str | Path | None = None,
    show: Callable[[dict[str, Any]], None] = lambda shown: None,
    envs: int = 1,
) -> dict[str, Any]:
    """Runs the episodes in `envs` simulators at once, and returns what `evaluate --json` prints. A video, where one is wanted, is recorded
    once `show` was given that.

    Raises:
        WarmloopError: the subject cannot be had, or the video cannot be recorded; what is wrong with its path is said first.
    """
    from ...actor.episodes.abreast import Abreast, check_several
    from ...actor.episodes.rollout import evaluate_abreast
    from ...actor.films.video import check_film, record_video

    if video:
        check_film(video)
        check_writable(Path(video))
    make, make_policy = subject.makers()
    with contextlib.ExitStack() as opened:
        environments = [environment := opened.enter_context(contextlib.closing(make()))]
        check_several(environment, envs)
        environments += [opened.enter_context(contextlib.closing(make())) for _ in range(envs - 1)]
        abreast = Abreast.of(environments, make_policy)
        advance = opened.enter_context(progress("evaluating", episodes))
        shown = summarise(environment.config, evaluate_abreast(abreast, seed, episodes, lambda episode: advance()), subject.actions)
        filmed = make_policy(environment) if video and envs > 1 else abreast.policies[0]  # one of several acts with the others alone
    show(shown)
    if video:
        episodes = max(VIDEO_EPISODES, len(environment.tasks))
        record_video(environment.config, filmed, seed, video, episodes, environment.tasks, environment.use)
        log.info("the video is %s", video)
    return shown


def summarise(config: EnvironmentConfig, result: Evaluation, actions: str = MEAN) -> dict[str, Any]:
    """An evaluation as plain values; for several tasks with the same of each one under "tasks". `actions` says which were judged."""
    shown = {"environment": config.id, "actions": actions} | _numbers(result)
    if parts := result.by_task:
        shown["tasks"] = {name: _numbers(part) for name, part in parts.items()}
    return shown


def _numbers(result: Evaluation) -> dict[str, Any]:
    low, high = result.interval
    return {
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
        "actions": shown["actions"] + " (training samples; `evaluate --stochastic` judges that)" * (shown["actions"] == MEAN),
        "episodes": shown["episodes"],
        "success": f"{shown['success_rate']:.2f} (95 % interval {shown['success_low']:.2f} to {shown['success_high']:.2f})",
        "return": f"{shown['mean_return']:.1f}",
        "length": f"{shown['mean_length']:.0f} steps",
    }
    lines = [f"{name:<12} {value}" for name, value in rows.items()]
    if parts := shown.get("tasks"):
        width = max(map(len, parts))
        lines += ["", f"{'task':<{width}}  success  95 % interval  return  steps  episodes"]
        lines += [
            f"{name:<{width}}  {part['success_rate']:7.2f}   {part['success_low']:.2f} to {part['success_high']:.2f}"
            f"  {part['mean_return']:6.1f}  {part['mean_length']:5.0f}  {part['episodes']:8d}"
            for name, part in parts.items()
        ]
    return "\n".join(lines)
