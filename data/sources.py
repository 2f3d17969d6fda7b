"""Several data sets as one: each with its kind, its weight, and how its arrays become the environment's."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .action_limits import ActionLimits
from .ends import run_together
from .episode import Episode
from .errors import WarmloopError
from .formats import KINDS, load_episodes, own_metadata, parse_source_argument
from .formats.files import did_you_mean
from .formats.recording import ACTION_TOLERANCE, Recording
from .mapping import Leaves, arrange, normalise
from .transition import Spec, without

log = logging.getLogger("warmloop")
SCALINGS = ("none", "limits", "data")
UNITS = ("", "scaled", "environment")
ROUNDING = 1e-6  # of a limit that was written down in other digits
READY, LIMITS = MARK = ("as_environment", "action_limits")  # metadata of files that need neither mapping nor scaling


@dataclasses.dataclass(frozen=True)
class SourceConfig:
    """One data set.

    Attributes:
        path: as the readers take it: a file, a Minari directory, `minari:ID`, `FILE::FILTER_KEY`.
        kind: demos, suboptimal or random; "" for what the file says of itself, and demos where it says nothing.
        weight: multiplies the quality weight of its rows.
        observation: by the environment's leaf ("" for a bare array) the file's leaf, or several to join; () where the names agree.
            See `mapping.arrange`. A dict is stored as sorted pairs, so that the config is hashable.
        action: columns of the file's action, in the environment's order; () for all.
        action_units: "scaled" for actions in [-1, 1], "environment" for its own units; "" for what `DataConfig.action_scaling` says.
        task: the task of its episodes, where the file names none.
    """

    path: str = ""
    kind: str = ""
    weight: float = 1.0
    observation: Leaves | Mapping[str, str | Sequence[str]] = ()
    action: tuple[int, ...] = ()
    action_units: str = ""
    task: str = ""

    def __post_init__(self):
        if not self.path:
            raise WarmloopError("A source of data.sources has no path; name its file.")
        if self.kind and self.kind not in KINDS:
            kinds = ", ".join(KINDS)
            raise WarmloopError(
                f'The kind of {self.path} in data.sources is "{self.kind}"; kinds are {kinds}{did_you_mean(self.kind, KINDS)}'
            )
        if not (math.isfinite(self.weight) and self.weight > 0):
            raise WarmloopError(f"The weight of {self.path} in data.sources is {self.weight}; it must be above 0, or leave the source out.")
        _choice(f"The action_units of {self.path} in data.sources", self.action_units, UNITS)
        _normalise(self, f"The mapping of {self.path} in data.sources")


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """What is learnt from.

    Attributes:
        sources: the data sets; `--offline_data_path` adds to them.
        observation, action: the mappings of those that have none of their own.
        action_scaling: how recorded actions become numbers in [-1, 1]. "none": they are, of the environment's own limits.
            "limits": they are in the environment's units, and -1 and 1 are the limits of its action space, or where these are set
            environment.action_low and action_high. "data": likewise, but the limits are the least and the greatest value in the data
            themselves, and become the run's environment.action_low and action_high unless those are set.
    """

    sources: tuple[SourceConfig, ...] = ()
    observation: Leaves | Mapping[str, str | Sequence[str]] = ()
    action: tuple[int, ...] = ()
    action_scaling: str = "none"

    def __post_init__(self):
        _choice("data.action_scaling", self.action_scaling, SCALINGS)
        _normalise(self, "data.observation")

    def adding(self, arguments: Sequence[str]) -> DataConfig:
        """With sources from `[KIND=]PATH` arguments after its own. Raises WarmloopError for an unknown kind."""
        names = {source: kind for kind, source in KINDS.items()} | {None: ""}
        parsed = [parse_source_argument(argument) for argument in arguments]
        return dataclasses.replace(self, sources=(*self.sources, *(SourceConfig(path, names[source]) for source, path in parsed)))


@dataclasses.dataclass(frozen=True)
class Target:
    """The environment that data must fit.

    Attributes:
        name: its id.
        spec: its own shapes, without a task's code.
        limits: its action space's own.
        unseen: parts of its observations that its agents do not get; data may have them, and they are left out.
        time_limit: steps after which it cuts an episode; None where that is not known.
    """

    name: str
    spec: Spec
    limits: ActionLimits
    unseen: tuple[str, ...] = ()
    time_limit: int | None = None


@dataclasses.dataclass(frozen=True)
class Loaded:
    """What the sources hold, as the environment has it.

    Attributes:
        episodes: of all sources in order, each with a number of its own and actions in [-1, 1].
        limits: what -1 and 1 are; None for the environment's own limits.
    """

    episodes: list[Episode]
    limits: ActionLimits | None


@dataclasses.dataclass(frozen=True)
class _Batch:
    """One source's episodes; `limits` are what -1 and 1 of their actions are, None for the environment's own, and `raw` says that the
    actions are in the environment's units."""

    path: str
    episodes: list[Episode]
    limits: ActionLimits | None
    raw: bool

    def actions_in_units(self, own: ActionLimits | None) -> list[np.ndarray]:
        """Each episode's actions `[T, A]` in the environment's units, whose own limits are `own` if they are known."""
        actions = [episode.steps.action for episode in self.episodes]
        if self.raw:
            return actions
        limits = self.limits or own
        if limits is None:
            raise _unknown_limits(self.path)
        return [limits.unscale(each) for each in actions]


def load(config: DataConfig, limits: ActionLimits | None, target: Target | None) -> Loaded:
    """The episodes of all sources; of files whose episodes seem to run together a warning is logged.

    Args:
        limits: what -1 and 1 shall be, if not the environment's own limits or the data's.
        target: the environment; None where it cannot be had, and sources must only agree with one another.

    Raises:
        WarmloopError: one sentence for whatever a reader refuses, a mapping to what a file does not have, a source that does not fit,
            or actions beyond the limits.
    """
    batches: list[_Batch] = []
    for source in config.sources:
        number_from = 1 + max((episode.number for batch in batches for episode in batch.episodes), default=-1)
        batches.append(_read(config, source, number_from, target.unseen if target else ()))
        _check_fits(batches[-1], target, batches[0], limits)
    own = target.limits if target else None
    if limits is None and config.action_scaling == "data" and batches:
        limits = _limits_of(batches, own)
    for said in run_together((episode for batch in batches for episode in batch.episodes), target.time_limit if target else None):
        log.warning("%s", said)
    return Loaded([episode for batch in batches for episode in _scaled(batch, limits, own)], limits)


def mark(limits: ActionLimits | None) -> dict[str, Any]:
    """Metadata of an .npz file whose episodes are as `Loaded` has them: they are neither mapped nor scaled a second time."""
    return {READY: True} | ({LIMITS: [list(limits.low), list(limits.high)]} if limits else {})


def recorded_mark(paths: Sequence[str]) -> dict[str, Any]:
    """The mark of several data sets as one: what all of them say; {} where they do not agree.

    Raises:
        WarmloopError: their actions have different limits, so that -1 and 1 are not the same in them.
    """
    marks = [{name: said[name] for name in MARK if name in said} for said in map(own_metadata, paths)]
    for path, said in zip(paths, marks, strict=True):
        if said.get(LIMITS) != marks[0].get(LIMITS):
            raise WarmloopError(
                f"Actions of -1 and 1 are not the same in {path} ({said.get(LIMITS) or 'the limits of its environment'}) and in "
                f"{paths[0]} ({marks[0].get(LIMITS) or 'the limits of its environment'}); keep them apart, and list both in data.sources."
            )
    return marks[0] if all(said == marks[0] for said in marks) else {}


def _read(config: DataConfig, source: SourceConfig, number_from: int, unseen: tuple[str, ...]) -> _Batch:
    said = own_metadata(source.path)
    ready = said.get(READY) is True
    default = DataConfig() if ready else config
    observation, action = source.observation or default.observation, source.action or default.action
    units = source.action_units or ("scaled" if ready or config.action_scaling == "none" else "environment")
    if said and units != "scaled" and not source.action_units:
        raise WarmloopError(
            f"{source.path} is a file of warmloop's own, which mostly have actions in [-1, 1], and does not say; "
            'list it in data.sources with action_units="scaled", or "environment" where they are in its units.'
        )

    def shape(recording: Recording) -> Recording:
        return dataclasses.replace(arrange(recording, observation, action), raw=units == "environment")  # pyright: ignore[reportArgumentType]

    episodes = load_episodes(source.path, KINDS.get(source.kind), number_from, shape)
    return _Batch(
        source.path, [_own(episode, source, unseen) for episode in episodes], _said_limits(source.path, said), units == "environment"
    )


def _own(episode: Episode, source: SourceConfig, unseen: tuple[str, ...]) -> Episode:
    """The episode with what the source's config says of it, and without what is `unseen`."""
    steps = episode.steps.replace(quality=episode.steps.quality * np.float32(source.weight))
    if unseen and isinstance(steps.observation, dict):
        steps = steps.replace(observation=without(steps.observation, unseen), next_observation=without(steps.next_observation, unseen))
    return dataclasses.replace(episode, steps=steps, task=episode.task or source.task)


def _said_limits(path: str, said: Mapping[str, Any]) -> ActionLimits | None:
    if LIMITS not in said:
        return None
    try:
        return ActionLimits(*said[LIMITS])
    except (TypeError, ValueError, WarmloopError) as error:
        raise WarmloopError(f"{path}: `{LIMITS}` in its metadata is {said[LIMITS]!r}; write it again.") from error


def _check_fits(batch: _Batch, target: Target | None, first: _Batch, limits: ActionLimits | None) -> None:
    spec = Spec.of(batch.episodes[0].steps)
    wanted, name = (target.spec, target.name) if target else (Spec.of(first.episodes[0].steps), first.path)
    if difference := wanted.difference(spec, name, batch.path):
        verb = "does not fit the environment" if target else f"does not go with {name}"
        raise WarmloopError(f"{batch.path} {verb}: {difference}; map its arrays by observation and action in data.sources.")
    for said, where in ((batch.limits, "`action_limits` in its metadata"), (limits, "environment.action_low")):
        if said and len(said.low) != spec.action_dim:
            raise WarmloopError(f"{batch.path} has {spec.action_dim} action dimensions, and {where} {len(said.low)}.")


def _limits_of(batches: Sequence[_Batch], own: ActionLimits | None) -> ActionLimits:
    """The least and the greatest action of all, per dimension; beyond the environment's own limits they are refused."""
    lows, highs = [], []
    for batch in batches:
        for episode, actions in zip(batch.episodes, batch.actions_in_units(own), strict=True):
            if own:
                _within(episode, actions, own, "which are the environment's own; check the units and the order of the columns")
            lows.append(actions.min(axis=0))
            highs.append(actions.max(axis=0))
    low, high = np.min(lows, axis=0), np.max(highs, axis=0)
    if own:
        low, high = np.clip(low, own.low, own.high), np.clip(high, own.low, own.high)
    return ActionLimits(low, high)


def _scaled(batch: _Batch, limits: ActionLimits | None, own: ActionLimits | None) -> list[Episode]:
    """The episodes with actions in [-1, 1] of `limits`, which are the environment's own where None."""
    wanted = limits or own
    if not batch.raw and (batch.limits or own) == wanted:
        return batch.episodes
    if wanted is None:
        raise _unknown_limits(batch.path)
    advice = (
        "as environment.action_low and action_high say; widen these, or leave them out and set --config.data.action_scaling=data"
        if limits
        else "which are the environment's own; check the units and the order of the columns"
    )
    scaled = []
    for episode, actions in zip(batch.episodes, batch.actions_in_units(own), strict=True):
        _within(episode, actions, wanted, advice)
        action = np.clip(wanted.scale(actions), -1, 1).astype(np.float32)
        scaled.append(dataclasses.replace(episode, steps=episode.steps.replace(action=action)))
    return scaled


def _within(episode: Episode, actions: np.ndarray, limits: ActionLimits, advice: str) -> None:
    """Refuses actions `[T, A]` beyond the limits by more than a reader's tolerance."""
    low, high = np.asarray(limits.low), np.asarray(limits.high)
    margin = ACTION_TOLERANCE * 0.5 * (high - low) + ROUNDING * np.maximum(abs(low), abs(high))
    beyond = (actions < low - margin).any(axis=0) | (actions > high + margin).any(axis=0)
    if beyond.any():
        index = int(np.argmax(beyond))
        least, greatest = float(actions[:, index].min()), float(actions[:, index].max())
        raise WarmloopError(
            f"{episode.origin}, episode {episode.number}: action {index} runs from {least:.4g} to {greatest:.4g}, and its limits are "
            f"{low[index]:.4g} and {high[index]:.4g}, {advice}."
        )


def _unknown_limits(path: str) -> WarmloopError:
    return WarmloopError(
        f"{path}: what -1 and 1 of its actions are in the environment's units is not known here, because the environment cannot be made; "
        "run this where it can, or set environment.action_low and action_high and give all data in the environment's units."
    )


def _choice(what: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        named = [choice for choice in choices if choice]
        raise WarmloopError(f'{what} is "{value}"; it must be one of {", ".join(named)}{did_you_mean(value, named)}')


def _normalise(config: SourceConfig | DataConfig, where: str) -> None:
    object.__setattr__(config, "observation", normalise(config.observation, where))
    object.__setattr__(config, "action", tuple(config.action))
    if any(type(index) is not int or index < 0 for index in config.action):
        raise WarmloopError(f"{where}: action is {config.action}; it lists columns of the file's actions, from 0.")
