"""The environment that a data set is compared with: its spaces, its time limit, and rewards of random play in it."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...data.errors import WarmloopError
from ..flags.arguments import as_named
from ..flags.common import log
from ..flags.overrides import Changes, changed

if TYPE_CHECKING:
    from ...actor.environment.environment import Environment, EnvironmentConfig
    from ...data.inspection import Reference

CONFIGURATION = r"[^:,]+\.(py|json)($|[:,])"
EPISODES = 10
SECONDS = 5.0  # for random play; a slow simulator plays one episode at least


def configured_in(environment: str) -> bool:
    """Whether the text is a configuration's `FILE[:ARGUMENT]`."""
    return re.match(CONFIGURATION, environment) is not None


def find_reference(environment: str, files: Sequence[str], changes: Changes | None = None) -> tuple[Reference | None, str]:
    """The reference that --config or --env names, and what to say of it.

    Args:
        environment: an id; a configuration's `FILE[:ARGUMENT]`; "auto" for the one that the files name, if they agree and it can be made
            here; "none".
        files: `PATH` or `kind=PATH` each.
        changes: settings of the configuration, or of the id's environment, that are others here.

    Raises:
        WarmloopError: an environment that the user named cannot be made.
    """
    if environment == "none":
        return None, "no environment (--env=none)"
    if configured_in(environment):
        return configured_reference(environment, changes or {})
    if environment != "auto":
        return changed_reference(environment, changes or {})
    name = _named_by(files)
    if name is None:
        return None, "no environment: the files name none, or several; --env=ID compares with one"
    if ":" in name:  # module:Id would import a module because a file says so
        return None, f"no environment: the files name {name}; --env={name} compares with it"
    try:
        return make_reference(name), f"{name}, which the files name"
    except WarmloopError as error:
        return None, f"no environment: the files name {name}, and it cannot be made here ({str(error).rstrip('.')})"


def configured_reference(specification: str, changes: Changes) -> tuple[Reference, str]:
    """The reference of a configuration's environment, `FILE[:ARGUMENT]`, and what to say of it. Raises WarmloopError for several tasks."""
    from ...configs import load, locate

    config = changed(load(locate(specification)), changes)
    if config.tasks.names:
        several = ", ".join(config.environment.id.replace("{task}", task) for task in config.tasks.names)
        raise WarmloopError(f"--env={specification} has several tasks; name the environment of one: {several}.")
    said = f"{config.environment.id}, as {as_named(specification)} has it{_changed(changes)}"
    return make_reference(config.environment.id, config.environment), said


def changed_reference(environment_id: str, changes: Changes) -> tuple[Reference, str]:
    """The reference of an environment with other settings than the defaults, and what to say of it."""
    if not changes:
        return make_reference(environment_id), environment_id
    from ...actor.environment.environment import EnvironmentConfig
    from ...configs.schema import RunConfig

    config = changed(RunConfig(EnvironmentConfig(environment_id)), changes).environment
    return make_reference(config.id, config), f"{config.id}{_changed(changes)}"


def _changed(changes: Mapping[str, Any]) -> str:
    return "".join(f", with {path}={value}" for path, value in changes.items())


def make_reference(environment_id: str, config: EnvironmentConfig | None = None) -> Reference:
    """An environment's spaces and limit, and, where it is no robot and has no images, its rewards fitted on some random play. `config` has
    its arguments and wrappers."""
    import gymnasium as gym

    from ...actor.environment.environment import EnvironmentConfig, make_environment
    from ...actor.episodes.rollout import run_episode
    from ...actor.policies.policy import RandomPolicy
    from ...data.inspection import Reference

    environment = make_environment(config or EnvironmentConfig(environment_id))
    try:
        play = []
        images = any(leaf.dtype == "uint8" for leaf in environment.spec.observation)
        if environment.can_rest:
            log.info("%s has a safe_stop, as robots have: it is not moved, so rewards are not compared with its own", environment_id)
        elif not images:
            log.info("playing at random in %s, to compare rewards with", environment_id)
        started = time.monotonic()
        while not (images or environment.can_rest) and len(play) < EPISODES and (not play or time.monotonic() - started < SECONDS):
            play.append(run_episode(environment, RandomPolicy(environment.spec.action_dim), len(play)))
        action = environment.env.action_space
        assert isinstance(action, gym.spaces.Box)  # or it could not have been made
        return Reference.of(environment_id, environment.env.observation_space, action, time_limit(environment), play)
    finally:
        environment.close()


def time_limit(environment: Environment) -> int | None:
    """Steps after which an environment cuts its episodes; None where it does not say."""
    return environment.time_limit


def _named_by(files: Sequence[str]) -> str | None:
    from ...data.formats import parse_source_argument, recorded_environment

    names = {recorded_environment(parse_source_argument(file)[1]) for file in files}
    return names.pop() if len(names) == 1 else None
