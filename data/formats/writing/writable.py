"""What cannot be written so that it is read again as it was: in any format, and in those that keep T + 1 observations of an episode."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ...episode import Episode
from ...errors import WarmloopError
from ...transition import Spec
from ..recordings.recording import Columns, breaks, named


def check_writable(origin: str, episodes: Sequence[Episode]) -> None:
    """Raises WarmloopError where there are no episodes, they differ in shape, or a mask is neither 0 nor 1: files hold a flag."""
    if not episodes:
        raise WarmloopError(f"There are no episodes to write to {origin}.")
    check_same_spec(episodes)
    for episode in episodes:
        mask = np.asarray(episode.steps.mask)
        if len(odd := np.flatnonzero((mask != 0) & (mask != 1))):
            raise WarmloopError(
                f"{origin}: step {odd[0]} of episode {episode.number} of {episode.origin} has a mask of {mask[odd[0]]:g}, and files hold "
                "whether an episode was over: 0 or 1."
            )


def check_same_spec(episodes: Sequence[Episode]) -> None:
    """Raises WarmloopError where an episode's shapes are not those of the first."""
    first = episodes[0]
    spec = Spec.of(first.steps)
    for episode in episodes[1:]:
        names = [f"{e.origin}, episode {e.number}," for e in (first, episode)]
        difference = spec.difference(Spec.of(episode.steps), *names)
        if difference:
            raise WarmloopError(f"The data sets differ: {difference}; load together only data of one robot and task.")


def observations_of(origin: str, episode: Episode, written: str) -> tuple[Columns, Columns]:
    """An episode's observations and next observations, by name, for a format that keeps one observation more than steps.

    Args:
        origin: where they are written, as errors name it.
        written: the format, as errors name it.

    Raises:
        WarmloopError: a next observation is not the next row's observation, and such a format would lose it.
    """
    steps = episode.steps
    observation, following = named("observations", steps.observation), named("next_observations", steps.next_observation)
    if breaks({"actions": steps.action} | observation | following).any():
        raise WarmloopError(
            f"{origin}: episode {episode.number} of {episode.origin} has next observations that are not the next row's observations, "
            f"which {written} cannot hold; write .npz."
        )
    return observation, following


def check_names(origin: str, episode: Episode, written: str) -> None:
    """Raises WarmloopError where an observation's or an extra's name has a slash, for a format in which that would be a folder."""
    if slashed := next((name for name in _names(episode) if "/" in name), None):
        raise WarmloopError(f"{origin}: {written} takes the slash in `{slashed}` for a folder's and would not read it again; write .npz.")


def _names(episode: Episode) -> Iterator[str]:
    if isinstance(episode.steps.observation, dict):
        yield from episode.steps.observation
    yield from episode.extras
