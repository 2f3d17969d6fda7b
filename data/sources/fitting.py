"""A source's episodes as its run has them: parts of observations laid as the environment's are, and what no agent takes refused by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from ..episode import Episode
from ..errors import WarmloopError
from ..pictures.picture_rule import Layout, channels_last, last_shape, layout_of
from ..transition import Leaf, PyTree, Spec

OUT = "leave it out by --config.environment.unseen, or by a data.observation that names the others"


def laid_as(episodes: Sequence[Episode], spec: Spec | None, path: str) -> list[Episode]:
    """The episodes with what the environment alone can say of their observations: where the channels of a picture are that its shape
    leaves open, that a single number is a list of one, and that an axis of a single past step is none.

    Args:
        episodes: of one source, all of the same shapes.
        spec: the environment's; None where that is not known.
        path: the source, as errors name it.

    Raises:
        WarmloopError: a part of the observations is no picture and does not lie along one axis, or where its channels are is not known.
    """
    wanted = {leaf.name: leaf.shape for leaf in spec.observation} if spec else {}
    changes = dict[str, Callable[[np.ndarray], np.ndarray]]()
    for leaf in Spec.of(episodes[0].steps).observation:
        shape = wanted.get(leaf.name)
        if leaf.dtype == "uint8" and len(leaf.shape) > 2 and last_shape(leaf.shape, Layout.FIRST) == shape != leaf.shape:
            changes[leaf.name] = lambda column: np.ascontiguousarray(channels_last(column))
        elif leaf.dtype != "uint8" and (leaf.shape, shape) == ((), (1,)):
            changes[leaf.name] = lambda column: column[:, None]
        elif shape is not None and leaf.shape == (1, *shape):
            changes[leaf.name] = lambda column: column[:, 0]
        elif spec is None or shape is not None:
            _check(leaf, shape, episodes, path)
    return [_changed(episode, changes) for episode in episodes] if changes else list(episodes)


def _check(leaf: Leaf, wanted: tuple[int, ...] | None, episodes: Sequence[Episode], path: str) -> None:
    """Refuses a part that no agent takes."""
    named, layout = f'observations "{leaf.name}"' if leaf.name else "observations", layout_of(leaf.shape, leaf.dtype)
    if leaf.dtype == "uint8":
        if layout is Layout.UNCLEAR and wanted is None:
            raise WarmloopError(f"{path} has {named} of shape {leaf.shape}, and which axis holds the channels is not certain; {OUT}.")
        return
    if layout is not Layout.NONE:
        low, high = _range(leaf, episodes)
        raise WarmloopError(
            f"{path} has {named} in the shape of pictures, {leaf.shape}, that run from {low:.6g} to {high:.6g}; save them as uint8 from 0 "
            f"to 255, or as floats from 0 to 1, or {OUT}."
        )
    if len(leaf.shape) != 1:
        raise WarmloopError(
            f"{path} has {named} of shape {leaf.shape}, and numbers must lie along one axis; record them so (a history of states side by "
            f"side, a single number as one of a list), or {OUT}."
        )


def _changed(episode: Episode, changes: dict[str, Callable[[np.ndarray], np.ndarray]]) -> Episode:
    def changed(observation: PyTree) -> PyTree:
        if not isinstance(observation, dict):
            return changes[""](observation)
        return {name: changes[name](leaf) if name in changes else leaf for name, leaf in observation.items()}

    steps = episode.steps
    laid = steps.replace(observation=changed(steps.observation), next_observation=changed(steps.next_observation))
    return dataclasses.replace(episode, steps=laid)


def _range(leaf: Leaf, episodes: Sequence[Episode]) -> tuple[float, float]:
    parts = [part for episode in episodes for part in (episode.steps.observation, episode.steps.next_observation)]
    columns = [part[leaf.name] if leaf.name else part for part in parts]
    return min(float(column.min()) for column in columns), max(float(column.max()) for column in columns)
