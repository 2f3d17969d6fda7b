"""Which finite numbers are believed: a reward of 1e20 makes an optimizer's moments infinite, and no later row mends them.

Recorded data are judged by themselves (`believed_episodes`), rows from actors by bounds that were found before the first one came
(`find_limits`). Bounds are generous: a row too many in quarantine costs more than one that a network can bear.
"""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from .episode import Episode
from .errors import WarmloopError
from .reward import RewardConfig
from .settings.typed_values import decoded
from .transition import Array, Source, Spec, Transition
from .wire.row_schema import OBSERVATIONS, flatten

log = logging.getLogger("warmloop")

ABSURD = 1e12  # nothing that is measured is so large in any unit; float32 sums of its squares overflow
UNKNOWN = 1e6  # the bound where nothing is known
FACTOR = 100.0  # of what was recorded
LEAST_OBSERVATION, LEAST_REWARD, LEAST_SUCCESS_REWARD = 1e4, 1e5, 100.0  # no bound that is found is smaller
USUAL = 0.95  # the share of recorded values that says how large a number usually is
OUTLIER = 1000.0  # times that is too much
LONGEST_HORIZON = 1e4  # of returns, where the discount gives none


@dataclasses.dataclass(frozen=True)
class PlausibleConfig:
    """Magnitudes beyond which a number is taken for a fault: the row goes to quarantine, and recorded data are refused.

    Attributes:
        observation: of any number of an observation; 0 for a bound that is found: 100 times what the offline data reach and 10,000 at
            least, 1,000,000 without offline data.
        reward: of a reward as the learner sees it, scaled; 0 for a bound that is found: 100 times what the success signal pays, or what
            the offline data reach (100,000 at least), 1,000,000 without offline data.
    """

    observation: float = 0.0
    reward: float = 0.0

    def __post_init__(self):
        for name in ("observation", "reward"):
            if not 0 <= getattr(self, name) < math.inf:
                raise WarmloopError(f"plausible.{name} is {getattr(self, name)}; it must be a number, and not negative.")


@dataclasses.dataclass(frozen=True)
class PlausibleLimits:
    """The greatest magnitudes that are believed of rows from actors.

    Attributes:
        observation: by the name of an observation's leaf, "" for a bare array.
        reward, returns: of a reward as the learner sees it, and of a discounted sum of them.
    """

    observation: Mapping[str, float]
    reward: float = UNKNOWN
    returns: float = UNKNOWN * LONGEST_HORIZON

    @classmethod
    def unknown(cls, spec: Spec) -> PlausibleLimits:
        """What holds where nothing is known."""
        return cls({leaf.name: UNKNOWN for leaf in spec.observation})


def find_limits(
    config: PlausibleConfig, reward: RewardConfig, spec: Spec, rows: Transition | None, saved: Mapping[str, Any] | None = None
) -> PlausibleLimits:
    """The limits of a run that begins with offline rows `[N]` (None for none), whose rewards are as the learner sees them.

    `saved` is what the run found when it began (`dataclasses.asdict` of its limits), where it is resumed.
    """
    observation = PlausibleLimits.unknown(spec).observation
    if rows is not None:
        observation = {name: max(LEAST_OBSERVATION, FACTOR * reach) for name, reach in _reach(rows.observation).items()}
    found = decoded(PlausibleLimits, saved, "checkpoint.plausible") if saved else PlausibleLimits(observation, UNKNOWN)
    paid = found.reward
    if reward.signal == "success":
        paid = max(LEAST_SUCCESS_REWARD, FACTOR * max(abs(reward.bias), abs(reward.scale + reward.bias)))
    elif rows is not None:
        paid = max(LEAST_REWARD, FACTOR * float(np.abs(rows.reward).max(initial=0.0)))
    observation, paid = {name: config.observation or limit for name, limit in found.observation.items()}, config.reward or paid
    return PlausibleLimits(observation, paid, paid * min(LONGEST_HORIZON, 1 / max(1 - reward.discount, 1e-9)))


def implausible(rows: Transition, limits: PlausibleLimits) -> Iterator[tuple[Array, str]]:
    """For each fault that rows `[n]` of an actor have: a mask `[n]` of the rows, and what is wrong with them."""
    for name, leaf in flatten(rows).items():
        field, _, key = name.partition("/")
        if leaf.dtype.kind != "f" or field not in (*OBSERVATIONS, "reward", "mc_return"):
            continue
        what = "observation" if field in OBSERVATIONS else "reward"
        limit = limits.observation.get(key, UNKNOWN) if what == "observation" else limits.returns if field == "mc_return" else limits.reward
        size = np.abs(leaf)
        beyond = np.isfinite(leaf) & (size > limit)
        if beyond.any():
            value = leaf[beyond][np.argmax(size[beyond])]
            yield beyond.reshape(len(leaf), -1).any(axis=1), f"{name} is {value:.3g}, beyond {limit:.3g} (--config.plausible.{what})"
    for bad, what in (
        ((rows.mask != 0) & (rows.mask != 1), "mask is neither 0 nor 1"),
        (~((rows.quality > 0) & (rows.quality <= 1)), "quality is not in (0, 1]"),
        (~np.isin(rows.source, list(Source)), "source is no kind of data"),
        ((rows.step < 0) | (rows.episode < 0) | (rows.policy_version < -1), "step, episode or policy_version is negative"),
    ):
        if bad.any():
            yield bad, what


def believed_episodes(
    episodes: Sequence[Episode], config: PlausibleConfig, reward: RewardConfig, skip_bad_episodes: bool = False
) -> Sequence[Episode]:
    """The episodes, of which none holds a reward or an observation that cannot be: beyond `config`'s bound or, where that is not set, a
    million at least and a thousand times what 95 % of the values of that number stay within. With `skip_bad_episodes` those that do
    are left out, and named in the log.

    Raises:
        WarmloopError: one does and is not to be left out, or all do.
    """
    faults: dict[int, str] = {}
    for index, fault in _implausible(episodes, config, reward):
        if not skip_bad_episodes:
            raise WarmloopError(fault)
        faults.setdefault(index, fault)
    if len(faults) == len(episodes):
        raise WarmloopError(f"No episode is left, since all hold a value that cannot be; the first: {faults[0]}")
    for fault in faults.values():
        log.warning("left out: %s", fault)
    return [episode for index, episode in enumerate(episodes) if index not in faults] if faults else episodes


def _implausible(episodes: Sequence[Episode], config: PlausibleConfig, reward: RewardConfig) -> Iterator[tuple[int, str]]:
    """The index of an episode, and a sentence, for the first value of each of its arrays that cannot be."""
    scale = abs(reward.scale) if reward.signal == "environment" else 0.0
    rewards = [np.asarray(episode.outcome.reward) for episode in episodes]
    yield from _beyond(rewards, episodes, "reward", config.reward / scale if scale else 0.0)
    for field in OBSERVATIONS:
        for name in _leaves(getattr(episodes[0].steps, field)):
            parts = [_leaves(getattr(episode.steps, field))[name] for episode in episodes]
            shown = " ".join([field.replace("_", " "), *([f'"{name}"'] if name else [])])
            yield from _beyond([part.reshape(len(part), -1) for part in parts], episodes, shown, config.observation)


def _beyond(parts: Sequence[Array], episodes: Sequence[Episode], name: str, given: float) -> Iterator[tuple[int, str]]:
    """The index and a sentence for the first value of each of `parts`, `[T]` or `[T, D]` of an episode, that cannot be."""
    largest = max(float(np.abs(part).max(initial=0.0)) for part in parts)
    if largest <= (given or UNKNOWN):
        return
    values = np.concatenate(parts)
    usual = np.quantile(np.abs(values.astype(np.float64)), USUAL, axis=0, method="lower")
    limit = np.full(values.shape[1:], given) if given else np.clip(OUTLIER * usual, UNKNOWN, ABSURD)
    for index, (episode, part) in enumerate(zip(episodes, parts, strict=True)):
        beyond = np.abs(part) > limit
        if beyond.any():
            step = int(np.argmax(beyond.reshape(len(part), -1).any(axis=1)))
            value = part[step][beyond[step]].flat[0] if part.ndim > 1 else part[step]
            setting = "reward" if name == "reward" else "observation"
            yield (
                index,
                (
                    f"{episode.origin}, episode {episode.number}, step {step}: the {name} is {value:.3g}, beyond "
                    f"{float(np.max(limit)):.3g}, which one value like it would drown all others by; repair it, leave the episode out by "
                    f"--skip_bad_episodes, or where it is right set --config.plausible.{setting}={_above(largest)}."
                ),
            )


def _above(value: float) -> str:
    """A round number above a value, as a flag is written."""
    return f"1e{math.floor(math.log10(value)) + 1}"


def _reach(observation: Any) -> dict[str, float]:
    """The greatest magnitude of each float leaf, by its name."""
    return {name: float(np.abs(leaf).max(initial=0.0)) for name, leaf in _leaves(observation).items()}


def _leaves(observation: Any) -> dict[str, Array]:
    parts = observation if isinstance(observation, Mapping) else {"": observation}
    return {name: np.asarray(leaf) for name, leaf in parts.items() if np.asarray(leaf).dtype.kind == "f"}
