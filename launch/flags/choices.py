"""What a command's flags name: an environment, and a policy to act in it."""

from __future__ import annotations

import dataclasses
import hashlib
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...actor.doors import POLICY, POLICY_FLAG
from ...actor.policies.named import found_by
from ...data.doors.imports import is_importable_name, source_hash
from ...data.errors import WarmloopError
from .limits import recorded_limits

if TYPE_CHECKING:
    from ...actor.config import ActorConfig
    from ...actor.environment.environment import Environment, EnvironmentConfig
    from ...actor.policies.policy import Policy
    from ...agents import Agent
    from ...configs.schema import RunConfig
    from ...data.tasks import TaskConfig

PIN = ",sha256="  # between the name of a base policy and what tells it from others
POLICIES = f"{', '.join(POLICY.known[:-1])} or MODULE:NAME"  # but for the one that stands still
SAMPLES = ("checkpoint", "export", "sb3")  # kinds that sample their actions unless they are to act by their mode


@dataclasses.dataclass(frozen=True)
class PolicyChoice:
    """A policy by its name; called with the environment it is to act in, in any process, it makes the policy.

    Attributes:
        text: as the user names it.
        kind: random, scripted, none, checkpoint, export, sb3, socket or outside.
        path: the checkpoints' or the export's folder, or the zip; HOST:PORT of a socket; for outside, MODULE:NAME.
        deterministic: act by the mode instead of sampling, for the kinds in SAMPLES.
        identity: what the name stands for at this moment; "" where the name says it all.
        updates: which of the folder's checkpoints, as `learner.checkpoints.checkpoint.load_policy` takes it.
    """

    text: str
    kind: str
    path: str = ""
    deterministic: bool = False
    identity: str = ""
    updates: int | str | None = None

    def __call__(self, environment: Environment) -> Policy:
        from ...actor.policies.policy import Unaided

        if environment.base is None or self._sees_the_base():
            return self._made(environment)
        known = environment.base.environment
        return Unaided(self._made(known), known.spec)

    def _sees_the_base(self) -> bool:
        """Whether the policy was made for observations with a base policy's proposals."""
        from ...actor.policies.exported import exported_leaves
        from ...data.transition import BASE

        if self.kind == "checkpoint":
            return any(leaf.name == BASE for leaf in self._loaded()[0].spec.observation)
        return self.kind == "export" and BASE in exported_leaves(self.path)

    def _made(self, environment: Environment) -> Policy:
        from ...actor.policies.experts import scripted_policy
        from ...actor.policies.exported import exported_policy
        from ...actor.policies.outside import outside_policy
        from ...actor.policies.policy import RandomPolicy, StillPolicy
        from ...actor.policies.sb3_policy import sb3_policy
        from ...actor.policies.served import served_policy

        match self.kind:
            case "random":
                return RandomPolicy(environment.spec.action_dim)
            case "none":
                return StillPolicy(environment.spec.action_dim)
            case "scripted":
                return scripted_policy(environment)
            case "checkpoint":
                return self._agent(environment)
            case "export":
                return exported_policy(self.path, environment, self.deterministic)
            case "sb3":
                return sb3_policy(self.path, environment, self.deterministic)
            case "socket":
                return served_policy(self.path, environment)
        return outside_policy(self.path, environment)

    def acting_in(self, environment: EnvironmentConfig) -> EnvironmentConfig:
        """The environment with the action limits that a checkpoint or an exported policy acts by."""
        limits = None
        if self.kind == "checkpoint":
            limits = recorded_limits(self.path)
        elif self.kind == "export":
            from ...actor.policies.exported import exported_limits

            limits = exported_limits(self.path)
        return dataclasses.replace(environment, action_low=limits.low, action_high=limits.high) if limits else environment

    def acting_by_own(self, environment: EnvironmentConfig, changes: Mapping[str, Any]) -> EnvironmentConfig:
        """As `acting_in`. Raises WarmloopError where `changes` to the environment, by SECTION.SETTING, set other action limits."""
        from .limits import other_limits
        from .overrides import LIMITS

        own = self.acting_in(environment)
        if own.limits != environment.limits and any(path in changes for path in LIMITS):
            raise other_limits(self.path, own.limits, environment.limits)
        return own

    def _agent(self, environment: Environment) -> Policy:
        from ...actor.policies.policy import AgentPolicy

        agent, actor_params = self._loaded()
        if difference := environment.spec.difference(agent.spec, "the environment", "the checkpoint"):
            raise WarmloopError(f"The checkpoint does not fit {environment.config.id}: {difference}.")
        return AgentPolicy(agent, actor_params, self.deterministic)

    def _loaded(self) -> tuple[Agent, Any]:
        from ...learner.checkpoints.checkpoint import load_policy

        return load_policy(self.path, self.updates)[:2]


def choose_environment(
    config: RunConfig | str | None, id: str | None, changes: Mapping[str, Any] | None = None, **flags: Any
) -> tuple[EnvironmentConfig, TaskConfig, ActorConfig]:
    """The environment of a configuration or of an id, with its tasks and the timeouts of its use.

    Args:
        config: the configuration, or `FILE[:ARGUMENT][,PRESET…]`; None where `id` says which environment.
        changes: other settings, by SECTION.SETTING.
        flags: other settings of the environment, by name; None leaves one as it is.

    Raises:
        WarmloopError: both or neither of `config` and `id` are given, or a change is none.
    """
    if (config is None) == (id is None):
        raise WarmloopError("Name the environment by either --config or --env, as in --env=Meta-World/door-open-v3.")
    chosen, tasks, use = _environment_of(config, id, changes or {})
    chosen = dataclasses.replace(chosen, **{name: value for name, value in flags.items() if value is not None})
    return pinned_environment(chosen), tasks, use


def _environment_of(
    config: RunConfig | str | None, id: str | None, changes: Mapping[str, Any]
) -> tuple[EnvironmentConfig, TaskConfig, ActorConfig]:
    from ...actor.config import ActorConfig
    from ...actor.environment.environment import EnvironmentConfig
    from ...data.tasks import SINGLE

    if id is not None and not changes:
        return EnvironmentConfig(id), SINGLE, ActorConfig()
    from ...configs import load
    from ...configs.schema import RunConfig
    from .overrides import changed

    whole = RunConfig(EnvironmentConfig(id)) if id is not None else config if isinstance(config, RunConfig) else load(config or "")
    whole = changed(whole, changes)
    return whole.environment, whole.tasks, whole.actor


def pinned_environment(environment: EnvironmentConfig) -> EnvironmentConfig:
    """The environment with the hashes of what it uses, classifiers of success and the base policy, so that what is saved with a run says
    which they were. Raises WarmloopError where one cannot be read."""
    from ...actor.endings.classified import pinned

    base, had = _unpinned(environment.base)
    if base and not had:
        identity = choose_policy(base).identity
        base = f"{base}{PIN}{_short(identity)}" if identity else base
    return dataclasses.replace(environment, success=pinned(environment.success), base=base if base and not had else environment.base)


def base_policy(name: str, deterministic: bool) -> Callable[[Environment], Policy]:
    """What makes the base policy `name`, which may end in a hash; by its mode, where it samples and is to be `deterministic`.

    Raises:
        WarmloopError: there is none of that name, or it is not the one of that hash.
    """
    text, pin = _unpinned(name)
    choice = choose_policy(text)
    if pin and _short(choice.identity) != pin:
        raise WarmloopError(
            f"environment.base is {name}, and {text} is another policy now ({_short(choice.identity)}): put that one back, or begin "
            f"another run with --config.environment.base={text}."
        )
    choice = dataclasses.replace(choice, deterministic=deterministic and choice.kind in SAMPLES)

    def made(environment: Environment) -> Policy:
        if choice.kind in ("checkpoint", "export"):
            known = choice.acting_in(dataclasses.replace(environment.config, action_low=(), action_high=())).limits
            limits = known or environment.own_limits
            if not np.allclose([*limits.low, *limits.high], [*environment.limits.low, *environment.limits.high]):
                raise WarmloopError(
                    f"The base policy {text} acts within {limits}, and the environment within {environment.limits}: set "
                    f"{shlex.join(limits.flags())}."
                )
        return choice(environment)

    return made


def _unpinned(name: str) -> tuple[str, str]:
    """The name of a base policy and its hash; "" where it has none."""
    text, _, pin = name.partition(PIN)
    return text, pin


def _short(identity: str) -> str:
    return hashlib.sha256(identity.encode()).hexdigest()[:16]


found_by(base_policy)


def choose_policy(text: str, deterministic: bool = False) -> PolicyChoice:
    """The policy that `text` names, as it is now: every worker plays the same, whatever a training or an editor writes meanwhile.

    Raises:
        WarmloopError: it names none, it is not there, or it has nothing to be deterministic about.
    """
    kind, _, path = text.partition(":")
    if text in ("random", "scripted", "none"):
        choice = PolicyChoice(text, text)
    elif kind == "checkpoint" and path:
        choice = _checkpoint(text, path, deterministic)
    elif kind == "export" and path:
        choice = _export(text, path, deterministic)
    elif (kind == "sb3" and path) or text.endswith(".zip"):
        choice = _sb3(text, path if kind == "sb3" else text, deterministic)
    elif kind == "socket" and path:
        choice = PolicyChoice(text, kind, path)
    elif is_importable_name(text):
        choice = PolicyChoice(text, "outside", text, identity=source_hash(text, f"--policy={text}"))
    else:
        raise POLICY.unknown(text, POLICY_FLAG)
    if deterministic and choice.kind not in SAMPLES:
        able = "checkpoint:DIR, export:DIR and sb3:PATH.zip"
        raise WarmloopError(f"--deterministic is for policies that sample their actions, {able}, not for {text}.")
    return choice


def _checkpoint(text: str, path: str, deterministic: bool) -> PolicyChoice:
    from ...learner.checkpoints.complete_checkpoints import MANIFEST, chosen

    saved = chosen(path)
    identity = f"{saved.updates} updates, sha256 {_sha256(saved.path / MANIFEST)}"
    return PolicyChoice(text, "checkpoint", path, deterministic, identity, saved.updates)


def _export(text: str, path: str, deterministic: bool) -> PolicyChoice:
    folder = Path(path).expanduser()
    if not (folder / "policy.json").is_file():
        raise WarmloopError(f"--policy={text}: {folder} holds no exported policy; give the folder that warmloop-export wrote.")
    hashes = [_sha256(file) for file in sorted(folder.iterdir()) if file.suffix in (".json", ".stablehlo", ".safetensors")]
    identity = f"sha256 {hashlib.sha256(' '.join(hashes).encode()).hexdigest()}"
    return PolicyChoice(text, "export", str(folder), deterministic, identity)


def _sb3(text: str, path: str, deterministic: bool) -> PolicyChoice:
    file = Path(path).expanduser()
    if not file.is_file():
        raise WarmloopError(f"--policy={text}: {file} does not exist; give the zip that `model.save` wrote.")
    return PolicyChoice(text, "sb3", str(file), deterministic, f"sha256 {_sha256(file)}")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
