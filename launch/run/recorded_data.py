"""The recorded data of a run: read from its sources, held against its environment, and made ready."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...data.errors import WarmloopError
from ...data.files.run_folder import FILTERED
from ..flags import choices as choices  # by which a base policy is found
from ..flags import data_flags
from ..flags.common import log, progress
from ..flags.limits import with_limits
from ..telling.returns import warn_of_returns
from .compared_environment import time_limit

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from ...actor.environment.environment import Environment
    from ...configs.schema import RunConfig
    from ...data.episode import Episode
    from ...data.retention import Retained
    from ...data.sources.ends import TimeLimit
    from ...data.sources.sources import DataConfig, Loaded, Target
    from ...data.transition import Transition
    from ...learner.rows.offline_rows import OfflineData


def warmup_data(config: RunConfig, arguments: Sequence[str], absent: bool | None) -> tuple[RunConfig, OfflineData]:
    """The data to warm up on, from the configuration's sources and `[KIND=]PATH` arguments, and the configuration with these and
    with the action limits that were taken from the data, if any were.

    Args:
        absent: the environment is on another machine: the data are not held against it, and the log says so. None where the command
            needs it here anyway.

    Raises:
        WarmloopError: there are no sources, they do not fit, or the environment cannot be made here and is not said to be absent.
    """
    config, recorded = recorded_data(config, arguments, absent)
    return config, made_ready(config, recorded)


def made_ready(config: RunConfig, episodes: Sequence[Episode], told: bool = False) -> OfflineData:
    """The rows of recorded episodes, rewarded and weighted as the configuration says. Says why their returns are no bounds of values, where
    an agent takes them for some and a run before has not `told` so.

    Raises:
        WarmloopError: they hold values that cannot be.
    """
    from ...learner.rows.offline_rows import prepare

    data = prepare(episodes, config.reward, config.quality, config.tasks, config.plausible, config.data.skip_bad_episodes)
    if not told:
        warn_of_returns(config, data)
    return data


def recorded_data(config: RunConfig, arguments: Sequence[str], absent: bool | None = None) -> tuple[RunConfig, list[Episode]]:
    """As `warmup_data`, the episodes as they were recorded, with the environment's actions and observations."""
    config = config.replace(data=config.data.adding(arguments))
    if not config.data.sources:
        raise WarmloopError("Name the data to learn from, as in --offline_data_path=demos=demos.pkl.")
    loaded = loaded_data(config, config.data, find_target(config, absent))
    if loaded.limits and loaded.limits != config.environment.limits:
        log.info("actions -1 to 1 are %s, from the data; train_rlpd takes them over from the checkpoint", loaded.limits)
        log.info("an actor on another machine is given them by %s", shlex.join(loaded.limits.flags()))
        held = [index for index, (low, high) in enumerate(zip(loaded.limits.low, loaded.limits.high, strict=True)) if low == high]
        if held:
            log.warning("action %s never changes in the data and is held there", ", ".join(map(str, held)))
    return with_limits(config, loaded.limits), loaded.episodes


def loaded_data(config: RunConfig, data: DataConfig, target: Target | None) -> Loaded:
    """The episodes of the sources in `data`, with what the environment's base policy would have done in them.

    Raises:
        WarmloopError: as `data.sources.sources.load`, or the base cannot be had.
    """
    import dataclasses

    from ...data.sources.base_labels import is_labelled, labelled
    from ...data.sources.sources import load

    loaded = load(data, config.environment.limits, target, time_limit_of(config))
    if config.environment.base and target is None:
        raise WarmloopError("environment.base acts in the environment's observations, and the environment is said to be absent.")
    base = target.base if target else None
    bare = [episode for episode in loaded.episodes if not is_labelled(episode)]
    if base is None or not bare:
        return loaded
    log.info("asking %s what it would have done in %d recorded episodes, %d steps", base.name, len(bare), sum(map(len, bare)))
    with progress("asking the base policy, episodes", len(loaded.episodes)) as advance:
        episodes = labelled(loaded.episodes, base, advance)
    base.close()
    return dataclasses.replace(loaded, episodes=episodes)


def gathered(dataset: str | None, arguments: Sequence[str]) -> Sequence[str]:
    """The data to learn from: `[KIND=]PATH` arguments, or, where one is named, the set that takes them in first."""
    if dataset is None:
        return arguments
    from ...data.sources.merge import merge

    with progress("taking in, episodes", None) as advance:
        taken = merge(dataset, arguments, advance, data_flags.options()) if arguments else []
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

    data = dataclasses.replace(config.data, sources=()) if warm else config.data
    data, limits = data.adding(paths), config.environment.limits
    if not data.sources:
        return None
    loaded = loaded_data(config, data, target)
    if loaded.limits and loaded.limits != limits:
        raise WarmloopError(
            "data.action_scaling=data takes the limits in a warm-up; without one, and without another "
            f"environment.action_low and action_high, set {shlex.join(loaded.limits.flags())}."
        )
    return made_ready(config, loaded.episodes, told=warm).rows


def keep_demonstrations(config: RunConfig, data: OfflineData, td_errors: np.ndarray, directory: Path) -> Retained:
    """Writes the demonstrations that are worth keeping for the fine-tuning, by |TD error| `[N]` of the rows learnt from among others; says
    what was kept of what."""
    from ...data.formats import write_episodes
    from ...data.retention import retain
    from ...data.sources.base_labels import LABELLED_BY
    from ...data.sources.sources import mark

    path = directory / FILTERED
    learnt = [len(episode) for episode in data.episodes]
    kept, report = retain(data.recorded, config.retention, data.per_episode(td_errors), data.tasks, learnt)
    if kept:
        about = {"environment": config.environment.id, "retention_ratio": config.retention.ratio}
        about |= {LABELLED_BY: config.environment.base} if config.environment.base else {}
        write_episodes(path, kept, about | mark(config.environment.limits))
        log.info("%s; written to %s", report, path)
        if report.warning:
            log.warning("%s", report.warning)
    else:
        path.unlink(missing_ok=True)
        log.info("Retention keeps no demonstrations (ratio %g), so no %s is written.", config.retention.ratio, FILTERED)
    return report


def time_limit_of(config: RunConfig) -> TimeLimit:
    """What a configuration says of its environment's time limit."""
    from ...data.sources.ends import TimeLimit

    environment = config.environment
    return TimeLimit(environment.horizon or None, environment.time_limit_is_truncation, config.reward.terminate_on_success)


def target_of(environment: Environment) -> Target:
    """What data of this environment must fit."""
    from ...data.sources.sources import Target

    config, base = environment.config, environment.base
    spec = environment.raw_spec if base is None else base.environment.raw_spec
    return Target(config.id, spec, environment.own_limits, config.unseen, time_limit(environment), environment.control_hz, base)


def find_target(config: RunConfig, absent: bool | None = None) -> Target | None:
    """What data must fit by the configuration's environment; None, and a warning, where that is said to be `absent` (see `warmup_data`).

    Raises:
        WarmloopError: it cannot be made here, and is not.
    """
    from ...actor.environment.environment import make_environment

    if absent:
        log.warning("The data are not checked against %s, which is said to be absent.", config.environment.id)
        return None
    try:
        environment = make_environment(config.environment, config.reward, tasks=config.tasks)
    except WarmloopError as error:
        remedy = "" if absent is None else " Where it is on another machine, as a robot's is, --environment_absent leaves this out."
        raise WarmloopError(f"The data cannot be checked against the environment: {error}{remedy}") from error
    environment.close()
    return target_of(environment)
