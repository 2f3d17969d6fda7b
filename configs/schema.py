"""The typed configuration of a run, and its way to and from command-line flags.

Presets are `RunConfig`s; a `--config` file returns one as an ml_collections ConfigDict, so that every field is a flag
(`--config.agent.utd=4`); `from_config_dict` turns it back and checks it. γ, the return's bounds and the shapes are not set here
a second time: `build_agent` takes them from the reward and the environment.
"""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from ..actor.config import ActorConfig
from ..actor.environment.environment import EnvironmentConfig
from ..agents import AGENTS, Agent, AgentConfig, SACConfig
from ..agents.base import Problem
from ..agents.registry import agent_classes, make_agent
from ..agents.shared.agent_settings import CriticSettings
from ..agents.shared.critics import bins_of
from ..data.errors import WarmloopError
from ..data.mixing import MixingConfig
from ..data.plausible import PlausibleConfig
from ..data.quality import QualityConfig
from ..data.replay.frames import FramesConfig
from ..data.replay.replay import ReplayConfig
from ..data.retention import RetentionConfig
from ..data.reward import RewardConfig, return_bounds
from ..data.running.precision import check_precision
from ..data.settings.typed_values import decoded
from ..data.sources.sources import DataConfig
from ..data.tasks import TaskConfig
from ..data.transition import Spec
from ..learner.config import LearnerConfig
from ..learner.judging.fqe import FQEConfig
from .recipes.machine import fitting_sac, going_on_from


@dataclasses.dataclass(frozen=True)
class AgentChoice:
    """An algorithm by name (a key of `agents.AGENTS`, or MODULE:Name of a user's own) and its settings."""

    name: str = "sac"
    settings: AgentConfig = dataclasses.field(default_factory=SACConfig)

    @classmethod
    def from_plain(cls, values: Any, where: str) -> AgentChoice:
        """The choice that plain values name, with `name` beside the algorithm's own settings. Raises as `decoded` does."""
        if not isinstance(values, Mapping):
            raise WarmloopError(f"{where} is {values!r}; it must hold an agent's name and settings.")
        fields = dict(values)
        name = fields.pop("name", "sac")
        _, settings = agent_classes(name, f"{where}.name")
        return cls(name, decoded(settings, fields, where))

    def replace(self, **settings: Any) -> AgentChoice:
        """The same algorithm with other settings."""
        return AgentChoice(self.name, dataclasses.replace(self.settings, **settings))

    def named(self, name: str, where: str) -> AgentChoice:
        """Another algorithm with its own settings but for the widths and the encoder of this one; itself where that is its name. `where` is
        the setting that names it. Raises WarmloopError where there is none of that name."""
        if name == self.name:
            return self
        _, settings = agent_classes(name, where)
        return AgentChoice(name, settings(hidden=self.settings.hidden)).seeing_as(self)

    def seeing_as(self, other: AgentChoice) -> AgentChoice:
        """The same algorithm with the other's encoder of camera images, where both have one."""
        vision = getattr(other.settings, "vision", None)
        return self.replace(vision=vision) if vision is not None and hasattr(self.settings, "vision") else self


def fitting(sparse: bool) -> tuple[AgentChoice, AgentChoice]:
    """What fine-tunes and what warms up where a configuration names neither."""
    settings = fitting_sac(sparse)
    warm = AgentChoice("sac", settings)
    return AgentChoice("ibrl", going_on_from(settings)) if sparse else warm, warm


UNSET = AgentChoice("", SACConfig())  # replaced when the reward is known


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """Everything that decides a run beside its seed and the data that its flags name.

    Attributes:
        agent: fine-tunes online. By default the preset `sparse`'s where success alone is rewarded, else SAC, at a size that fits the
            machine (`machine.py`), which is saved with the run.
        warmup_agent: warms up offline, and hands its state over to `agent`. By default that one, or SAC where that is `sparse`'s.
    """

    environment: EnvironmentConfig
    reward: RewardConfig = RewardConfig()
    agent: AgentChoice = UNSET
    warmup_agent: AgentChoice = UNSET
    replay: ReplayConfig = ReplayConfig()
    mixing: MixingConfig = MixingConfig()
    quality: QualityConfig = QualityConfig()
    retention: RetentionConfig = RetentionConfig()
    data: DataConfig = DataConfig()
    learner: LearnerConfig = LearnerConfig()
    fqe: FQEConfig = FQEConfig()
    actor: ActorConfig = ActorConfig()
    frames: FramesConfig = FramesConfig()
    plausible: PlausibleConfig = PlausibleConfig()
    tasks: TaskConfig = TaskConfig()

    def __post_init__(self):
        agent, warm = fitting(self.reward.signal == "success")
        if self.warmup_agent is UNSET:
            object.__setattr__(self, "warmup_agent", warm if self.agent is UNSET else self.agent)
        if self.agent is UNSET:
            object.__setattr__(self, "agent", agent)
        if self.learner.keep_best == "act":
            self._check_turns()
        if self.warmup_agent.name == "dsrl":
            raise WarmloopError('The agent "dsrl" steers a flow that was cloned before: warm up with --config.warmup_agent.name=flow_bc.')

    @property
    def keep_best(self) -> str:
        """`learner.keep_best` where that is said; else "act" for an agent that keeps its warm policy, where policies can take turns."""
        if self.learner.keep_best != "auto":
            return self.learner.keep_best
        keeps_warm = getattr(agent_classes(self.agent.name, "agent.name")[0], "keeps_warm", False)
        return "act" if keeps_warm and not self._against_turns() else "keep"

    def _against_turns(self) -> str:
        """Why policies cannot take turns; "" where they can."""
        if self.actor.swap != "episode":
            return 'gives each policy whole episodes: it needs actor.swap="episode"'
        limits = (name for name in ("max_policy_lag", "max_weights_age") if getattr(self.actor, name))
        return next((f"has an older policy act on purpose, which actor.{name} forbids; set it to 0" for name in limits), "")

    def _check_turns(self) -> None:
        if reason := self._against_turns():
            raise WarmloopError(f"learner.keep_best=act {reason}.")

    def replace(self, **sections: Any) -> RunConfig:
        """A copy in which a section given as a dict has those fields changed; anything else replaces the section. Agents that are the
        default for the old reward are that for the new one."""
        changed, default = {}, fitting(self.reward.signal == "success")
        if "reward" in sections and not {"agent", "warmup_agent"} & sections.keys() and (self.agent, self.warmup_agent) == default:
            changed |= {"agent": UNSET, "warmup_agent": UNSET}
        for name, value in sections.items():
            old = getattr(self, name)
            if not isinstance(value, dict):
                changed[name] = value
            elif isinstance(old, AgentChoice):
                changed[name] = old.replace(**value)
            else:
                changed[name] = dataclasses.replace(old, **value)
        return dataclasses.replace(self, **changed)


def build_agent(choice: AgentChoice, reward: RewardConfig, spec: Spec, warmup_steps: int = 0) -> Agent:
    """The agent of a choice, with γ and the return's bounds taken from the reward where the algorithm knows them.

    `warmup_steps` is the length of the offline phase that it is for; 0 for the online one, whose step sizes stay constant.
    """
    check_precision("This machine's JAX_ENABLE_X64, or a module that was imported,")
    low, high = return_bounds(reward)
    if getattr(choice.settings, "clip_target", False) and not (math.isfinite(low) and math.isfinite(high)):
        raise WarmloopError(
            "agent.clip_target needs a bounded reward: set reward.signal=success with reward.discount below 1, turn it off, or take "
            "another preset, as in --config=FILE,sac."
        )
    problem = Problem(reward.discount, low, high, warmup_steps * choice.settings.utd)
    if isinstance(choice.settings, CriticSettings):
        bins_of(choice.settings, problem)
    if spec.cameras and not sees_cameras(*agent_classes(choice.name, "agent.name")):
        able = ", ".join(name for name, classes in AGENTS.items() if sees_cameras(*classes))
        raise WarmloopError(
            f'"{choice.name}" learns from states alone, and these observations have images '
            f"({', '.join(leaf.name or 'the whole' for leaf in spec.cameras)}): use {able}, or an environment without cameras."
        )
    return make_agent(choice.name, "agent.name", choice.settings, spec, problem)


def sees_cameras(agent: type, settings: type) -> bool:
    """Whether an algorithm, by its class and that of its settings, learns from camera images."""
    by_setting = "vision" in typing.get_type_hints(settings) and not getattr(settings, "states_alone", False)
    return by_setting or getattr(agent, "sees_cameras", False)


def to_dict(config: RunConfig) -> dict[str, Any]:
    """Nested plain values, as they are saved with a run and shown as flags."""
    sections = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if isinstance(value, AgentChoice):
            sections[field.name] = {"name": value.name} | dataclasses.asdict(value.settings)
        else:
            sections[field.name] = dataclasses.asdict(value)
    sections["environment"]["kwargs"] = dict(config.environment.kwargs)
    return sections


def to_config_dict(config: RunConfig) -> ConfigDict:
    """What a `--config` file's `get_config` returns."""
    return ConfigDict(to_dict(config))


def from_dict(values: Mapping[str, Any]) -> RunConfig:
    """The typed configuration of nested plain values.

    Raises:
        WarmloopError: an unknown section or key (with the near match), a value of another type, or one out of range.
    """
    return decoded(RunConfig, values, "config")


def from_config_dict(config: ConfigDict) -> RunConfig:
    """The typed configuration of a ConfigDict after its flags' overrides. Raises as `from_dict`."""
    return from_dict(config.to_dict())
