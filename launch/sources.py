"""The recorded data of a run: read from its sources, held against its environment, and made ready."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..data.errors import WarmloopError
from .common import log, progress
from .limits import with_limits
from .reference import time_limit

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from ..actor.environment import Environment
    from ..configs.schema import RunConfig
    from ..data.episode import Episode
    from ..data.sources import Target
    from ..data.transition import Transition
    from ..learner.offline import OfflineData

FILTERED = "filtered_demos.npz"


def warmup_data(config: RunConfig, arguments: Sequence[str], needed: bool) -> tuple[RunConfig, OfflineData]:
    """The data to warm up on, from the configuration's sources and `[KIND=]PATH` arguments, and the configuration with these and
    with the action limits that were taken from the data, if any were.

    An environment that cannot be made here (a robot's) is passed over, and said so, unless it is `needed`.

    Raises:
        WarmloopError: there are no sources, or they do not fit.
    """
    from ..learner.offline import prepare

    config, recorded = recorded_data(config, arguments, needed)
    return config, prepare(recorded, config.reward, config.quality, config.tasks)


def recorded_data(config: RunConfig, arguments: Sequence[str], needed: bool) -> tuple[RunConfig, list[Episode]]:
    """As `warmup_data`, the episodes as they were recorded, with the environment's actions and observations."""
    from ..data.sources import load

    config = config.replace(data=config.data.adding(arguments))
    if not config.data.sources:
        raise WarmloopError("Name the data to learn from, as in --offline_data_path=demos=demos.pkl.")
    loaded = load(config.data, config.environment.limits, find_target(config, needed))
    if loaded.limits and loaded.limits != config.environment.limits:
        log.info("actions -1 to 1 are %s, from the data; train_rlpd takes them over from the checkpoint", loaded.limits)
        log.info("an actor on another machine is given them by %s", shlex.join(loaded.limits.flags()))
        held = [index for index, (low, high) in enumerate(zip(loaded.limits.low, loaded.limits.high, strict=True)) if low == high]
        if held:
            log.warning("action %s never changes in the data and is held there", ", ".join(map(str, held)))
    return with_limits(config, loaded.limits), loaded.episodes


def gathered(dataset: str | None, arguments: Sequence[str]) -> Sequence[str]:
    """The data to learn from: `[KIND=]PATH` arguments, or, where one is named, the set that takes them in first."""
    if dataset is None:
        return arguments
    from ..data.merge import merge

    with progress("taking in, episodes", None) as advance:
        taken = merge(dataset, arguments, advance) if arguments else []
    for file in taken:
        log.info("%s: %s", file.path, "known already" if file.known else f"{file.new} new episodes of {file.episodes}")
    return [dataset]


def demonstration_rows(config: RunConfig, target: Target, paths: Sequence[str], warm: bool) -> Transition | None:
    """The rows `[N]` of demonstrations to mix into fine-tuning, made ready; None where there are none.

    They are `paths`; without a warm-up (`warm`), which would have chosen among them, the configuration's sources too.

    Raises:
        WarmloopError: they do not fit the environment, or its action limits would have to be taken from them.
    """
    import dataclasses

    from ..data.sources import load
    from ..learner.offline import prepare

    data = dataclasses.replace(config.data, sources=()) if warm else config.data
    data, limits = data.adding(paths), config.environment.limits
    if not data.sources:
        return None
    loaded = load(data, limits, target)
    if loaded.limits and loaded.limits != limits:
        raise WarmloopError(
            "data.action_scaling=data takes the limits in a warm-up; without one, and without another "
            f"environment.action_low and action_high, set {shlex.join(loaded.limits.flags())}."
        )
    return prepare(loaded.episodes, config.reward, config.quality, config.tasks).rows


def keep_demonstrations(config: RunConfig, data: OfflineData, td_errors: np.ndarray, directory: Path) -> None:
    """Writes the demonstrations that are worth keeping for the fine-tuning, by |TD error| `[N]` of the rows learnt from among others."""
    from ..data.formats import write_episodes
    from ..data.retention import retain
    from ..data.sources import mark

    path = directory / FILTERED
    kept, report = retain(data.recorded, config.retention, data.per_episode(td_errors), data.tasks)
    if kept:
        about = {"environment": config.environment.id, "retention_ratio": config.retention.ratio}
        write_episodes(path, kept, about | mark(config.environment.limits))
        log.info("%s; written to %s", report, path)
    else:
        path.unlink(missing_ok=True)
        log.info("Retention keeps no demonstrations (ratio %g), so no %s is written.", config.retention.ratio, FILTERED)


def target_of(environment: Environment) -> Target:
    """What data of this environment must fit."""
    from ..data.sources import Target

    config = environment.config
    return Target(config.id, environment.raw_spec, environment.own_limits, config.unseen, time_limit(environment))


def find_target(config: RunConfig, needed: bool) -> Target | None:
    """What data must fit by the configuration's environment. None, and a warning, where that cannot be made here and is not `needed`."""
    from ..actor.environment import Environment, build_tasks

    chosen = config.environment
    try:
        built = build_tasks(chosen, config.tasks)
    except WarmloopError as error:
        if needed:
            raise
        log.warning("The data are not checked against the environment: %s", error)
        return None
    environment = Environment(built, chosen, config.reward, config.tasks)
    environment.close()
    return target_of(environment)
