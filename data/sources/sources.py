"""Several data sets as one: each with its kind, its weight, and how its arrays become the environment's."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..action_limits import ActionLimits
from ..episode import Episode
from ..errors import WarmloopError
from ..formats import KINDS, LIMITS, load_episodes, own_metadata, parse_source_argument, recorded_environment
from ..formats.recordings.options import BadEpisode, ReadOptions, check_dones
from ..formats.recordings.recording import Recording
from ..outcome import check_rule
from ..settings.near_names import did_you_mean
from ..transition import Spec, alone, without
from .action_units import Batch, Clipping, check_clipping, limits_of, scaled, sound
from .base_labels import LABELLED_BY, is_labelled
from .ends import UNKNOWN, TimeLimit, cut_by_time, run_together
from .fitting import laid_as
from .mapping import Leaves, arrange, normalise, settle
from .target import Target as Target

log = logging.getLogger("warmloop")
SCALINGS = ("none", "limits", "data")
UNITS = ("", "scaled", "environment")
READY = "as_environment"
MARK = (READY, LIMITS)  # metadata of files that need neither mapping nor scaling


@dataclasses.dataclass(frozen=True)
class SourceConfig:
    """One data set.

    Attributes:
        path: as the readers take it: a file, a Minari directory, `minari:ID`, `FILE::FILTER_KEY`, `MODULE:NAME:PATH`.
        kind: demos, suboptimal or random; "" for what the file says of itself, and demos where it says nothing.
        weight: multiplies the quality weight of its rows.
        observation: by the environment's leaf ("" for a bare array) the file's leaf, or several to join; () where the names agree.
            See `mapping.arrange`. A dict is stored as sorted pairs, so that the config is hashable.
        action: columns of the file's action, in the environment's order; () for all.
        action_units: "scaled" for actions in [-1, 1], "environment" for its own units; "" for what `DataConfig.action_scaling` says.
        clip_actions: how far beyond their limits its actions are clipped, as a share of half the range; 0 for what `DataConfig` says.
        task: the task of its episodes, where the file names none.
        success: which steps succeeded, where the file has no flag: "reward>=X", "end", "terminated" or "never" (`data/outcome.py`);
            "" for what `DataConfig.success` says.
        dones: what its `dones` mean where it marks ends by them alone: "terminal", the task was over, or "time_limit", the episode was cut;
            "" for what `DataConfig.dones` says.
    """

    path: str = ""
    kind: str = ""
    weight: float = 1.0
    observation: Leaves | Mapping[str, str | Sequence[str]] = ()
    action: tuple[int, ...] = ()
    action_units: str = ""
    clip_actions: float = 0.0
    task: str = ""
    success: str = ""
    dones: str = ""

    def __post_init__(self):
        if not self.path:
            raise WarmloopError("A source of data.sources has no path; name its file.")
        if self.kind and self.kind not in KINDS:
            kinds = ", ".join(KINDS)
            raise WarmloopError(
                f'The kind of {self.path} in data.sources is "{self.kind}"; kinds are {kinds}{did_you_mean(self.kind, KINDS, one=True)}'
            )
        if not (math.isfinite(self.weight) and self.weight > 0):
            raise WarmloopError(f"The weight of {self.path} in data.sources is {self.weight}; it must be above 0, or leave the source out.")
        _choice(f"The action_units of {self.path} in data.sources", self.action_units, UNITS)
        check_clipping(f"The clip_actions of {self.path} in data.sources", self.clip_actions)
        check_rule(f"The success of {self.path} in data.sources", self.success)
        check_dones(f"The dones of {self.path} in data.sources", self.dones)
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
        clip_actions: how far beyond [-1, 1], or the environment's limits, actions are clipped, as a share of half the range: 0.05 takes
            what passes them by 5 %, and says how many did; 0 refuses what is beyond by more than rounding (0.001).
        success: which steps succeeded, of sources without a flag and without a `success` of their own: "reward>=X", "end", "terminated"
            or "never" (`data/outcome.py`); "" decides by rewards of 0 and 1 alone, and asks where it cannot.
        dones: what `dones` mean in sources without one of their own; "" refuses a file that marks ends by them alone.
        skip_bad_episodes: an episode that would refuse its source is left out, and named with the reason; a source of which all are bad is
            refused still.
    """

    sources: tuple[SourceConfig, ...] = ()
    observation: Leaves | Mapping[str, str | Sequence[str]] = ()
    action: tuple[int, ...] = ()
    action_scaling: str = "none"
    clip_actions: float = 0.0
    success: str = ""
    dones: str = ""
    skip_bad_episodes: bool = False

    def __post_init__(self):
        _choice("data.action_scaling", self.action_scaling, SCALINGS)
        check_clipping("data.clip_actions", self.clip_actions)
        check_rule("data.success", self.success)
        check_dones("data.dones", self.dones)
        _normalise(self, "data.observation")

    def adding(self, arguments: Sequence[str]) -> DataConfig:
        """With sources from `[KIND=]PATH` arguments after its own. Raises WarmloopError for an unknown kind."""
        names = {source: kind for kind, source in KINDS.items()} | {None: ""}
        parsed = [parse_source_argument(argument) for argument in arguments]
        return dataclasses.replace(self, sources=(*self.sources, *(SourceConfig(path, names[source]) for source, path in parsed)))


@dataclasses.dataclass(frozen=True)
class Loaded:
    """What the sources hold, as the environment has it.

    Attributes:
        episodes: of all sources in order, each with a number of its own and actions in [-1, 1].
        limits: what -1 and 1 are; None for the environment's own limits.
        bad: episodes that were left out.
    """

    episodes: list[Episode]
    limits: ActionLimits | None
    bad: tuple[BadEpisode, ...] = ()


def load(config: DataConfig, limits: ActionLimits | None, target: Target | None, time_limit: TimeLimit = UNKNOWN) -> Loaded:
    """The episodes of all sources; of files whose episodes seem to run together a warning is logged.

    Args:
        limits: what -1 and 1 shall be, if not the environment's own limits or the data's.
        target: the environment; None where it cannot be had, and sources must only agree with one another.
        time_limit: what the run's configuration says of it; where it says no steps, the target may.

    Raises:
        WarmloopError: one sentence for whatever a reader refuses, a mapping to what a file does not have, a source that does not fit,
            or actions beyond the limits.
    """
    batches: list[Batch] = []
    bad: list[BadEpisode] = []
    for source in config.sources:
        number_from = 1 + max((episode.number for batch in batches for episode in batch.episodes), default=-1)
        batches.append(_fitted(_read(config, source, number_from, target, bad), target, time_limit))
        _check_fits(batches[-1], target, batches[0], limits)
    own, options = target.limits if target else None, ReadOptions(on_bad=bad.append if config.skip_bad_episodes else None)
    batches = [sound(batch, limits, own, options) for batch in batches]
    if limits is None and config.action_scaling == "data" and batches:
        limits = limits_of(batches, own)
    for said in run_together((episode for batch in batches for episode in batch.episodes), target.time_limit if target else None):
        log.warning("%s", said)
    for episode in bad:
        log.warning("%s", episode)
    return Loaded([episode for batch in batches for episode in scaled(batch, limits, own)], limits, tuple(bad))


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


def recorded_metadata(paths: Sequence[str]) -> dict[str, Any]:
    """What a copy of several data sets in one is to say of itself: their mark, the environment that all were recorded in, and the base
    policy that labelled all.

    Raises:
        WarmloopError: as `recorded_mark`.
    """
    environments = {recorded_environment(path) for path in paths}
    environment = environments.pop() if len(environments) == 1 else None
    bases = {own_metadata(path).get(LABELLED_BY) for path in paths}
    said = {"environment": environment, LABELLED_BY: bases.pop() if len(bases) == 1 else None}
    return recorded_mark(paths) | {name: value for name, value in said.items() if value}


def _read(config: DataConfig, source: SourceConfig, number_from: int, target: Target | None, bad: list[BadEpisode]) -> Batch:
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

    raw, clipping = units == "environment", Clipping(source.clip_actions or config.clip_actions)

    def shape(recording: Recording) -> Recording:
        arranged = arrange(recording, observation, action)  # pyright: ignore[reportArgumentType]
        if not raw and clipping.allowed:
            clipped = [clipping(actions) for actions in np.split(arranged.columns["actions"], arranged.starts[1:])]
            arranged = dataclasses.replace(arranged, columns=arranged.columns | {"actions": np.concatenate(clipped)})
        return dataclasses.replace(settle(arranged, target.spec if target else None), raw=raw)

    options = ReadOptions(source.dones or config.dones, bad.append if config.skip_bad_episodes else None)
    episodes = load_episodes(source.path, KINDS.get(source.kind), number_from, shape, source.success or config.success, options)
    if not raw:
        clipping.tell(source.path)
    return Batch(
        source.path,
        [_own(episode, source, target, str(said.get(LABELLED_BY, ""))) for episode in episodes],
        _said_limits(source.path, said),
        raw,
        clipping,
    )


def _fitted(batch: Batch, target: Target | None, time_limit: TimeLimit) -> Batch:
    """The batch with its observations and its ends as the run has them."""
    time_limit = dataclasses.replace(time_limit, steps=time_limit.steps or (target.time_limit if target else None))
    laid = laid_as(batch.episodes, target.spec if target else None, batch.path)
    return dataclasses.replace(batch, episodes=cut_by_time(laid, time_limit, batch.path))


def _own(episode: Episode, source: SourceConfig, target: Target | None, labelled_by: str) -> Episode:
    """The episode with what the source's config says of it, and without what is `unseen`, or a base policy proposed that is another."""
    steps = episode.steps.replace(quality=episode.steps.quality * np.float32(source.weight))
    unseen = target.unseen if target else ()
    if unseen and isinstance(steps.observation, dict):
        steps = steps.replace(observation=without(steps.observation, unseen), next_observation=without(steps.next_observation, unseen))
    if target is None or target.base is None or labelled_by != target.base.name:
        spec = target.spec if target else None
        steps = steps.replace(observation=alone(steps.observation, spec), next_observation=alone(steps.next_observation, spec))
    return dataclasses.replace(episode, steps=steps, task=episode.task or source.task)


def _said_limits(path: str, said: Mapping[str, Any]) -> ActionLimits | None:
    if LIMITS not in said:
        return None
    try:
        return ActionLimits(*said[LIMITS])
    except (TypeError, ValueError, WarmloopError) as error:
        raise WarmloopError(f"{path}: `{LIMITS}` in its metadata is {said[LIMITS]!r}; write it again.") from error


def _check_fits(batch: Batch, target: Target | None, first: Batch, limits: ActionLimits | None) -> None:
    spec = Spec.of(batch.episodes[0].steps)
    own = target and (target.whole_spec if is_labelled(batch.episodes[0]) else target.spec)
    wanted, name = (own, target.name) if target and own else (Spec.of(first.episodes[0].steps), first.path)
    if difference := wanted.difference(spec, name, batch.path):
        verb = "does not fit the environment" if target else f"does not go with {name}"
        raise WarmloopError(f"{batch.path} {verb}: {difference}; {_advice(wanted, spec)}.")
    for said, where in ((batch.limits, "`action_limits` in its metadata"), (limits, "environment.action_low")):
        if said and len(said.low) != spec.action_dim:
            raise WarmloopError(f"{batch.path} has {spec.action_dim} action dimensions, and {where} {len(said.low)}.")


def _advice(wanted: Spec, spec: Spec) -> str:
    """What to do about shapes that differ; where one mapping alone is possible, that one."""
    if wanted.action_dim == spec.action_dim:
        fitting = {leaf.name: [mine.name for mine in spec.observation if mine.shape == leaf.shape] for leaf in wanted.observation}
        chosen = {name: names[0] for name, names in fitting.items() if len(names) == 1 and names[0]}
        if len(set(chosen.values())) == len(fitting):
            return f"--config.data.observation='{json.dumps(chosen)}' maps them"
    return "map its arrays by data.observation and data.action, or by a source's own in data.sources (docs/data.md)"


def _choice(what: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        named = [choice for choice in choices if choice]
        raise WarmloopError(f'{what} is "{value}"; it must be one of {", ".join(named)}{did_you_mean(value, named, one=True)}')


def _normalise(config: SourceConfig | DataConfig, where: str) -> None:
    object.__setattr__(config, "observation", normalise(config.observation, where))
    object.__setattr__(config, "action", tuple(config.action))
    if any(type(index) is not int or index < 0 for index in config.action):
        raise WarmloopError(f"{where}: action is {config.action}; it lists columns of the file's actions, from 0.")
