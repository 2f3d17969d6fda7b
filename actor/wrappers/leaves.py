"""Parts of nested observations: found by name, and replaced in spaces and in observations alike."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym
import numpy as np

from ...data.errors import WarmloopError
from ...data.settings.near_names import did_you_mean
from ..bridge.leaf_rules import UnfitError

Change = Callable[[Any], Any]


class Part:
    """A leaf of an environment's observations, or a slice of it: `tcp_pose`, `state.tcp_pose`, `agent_pos[15:18]`.

    A leaf is named in full, with dots between the levels, or by its last level where only one is called so. "" is the whole of an
    observation that has no parts.

    Raises:
        WarmloopError: there is no such leaf, or it has more than one axis or is shorter than the slice.
    """

    def __init__(self, text: str, space: gym.Space):
        matched = re.fullmatch(r"([^\[\]]*)(?:\[(\d+):(\d+)\])?", text)
        if matched is None:
            raise WarmloopError(f'"{text}" is no part of an observation; write NAME or NAME[FROM:TO].')
        self.text, boxes = text, leaves(space)
        named = [name for name in boxes if matched[1] in (name, name.rpartition(".")[2])]
        self.name = matched[1] if matched[1] in boxes else named[0] if len(named) == 1 else None
        if self.name is None:
            raise WarmloopError(f'There is no observation "{matched[1]}" (there are {", ".join(boxes)}){did_you_mean(matched[1], boxes)}')
        shape = boxes[self.name].shape or ()
        self.slice = slice(int(matched[2]), int(matched[3])) if matched[2] else slice(0, shape[0] if shape else 0)
        if len(shape) != 1 or self.slice.stop > shape[0] or self.slice.start >= self.slice.stop:
            raise WarmloopError(f'"{text}" is no part of observation "{self.name}", whose shape is {shape}.')

    @property
    def width(self) -> int:
        return self.slice.stop - self.slice.start

    def overlaps(self, other: Part) -> bool:
        """Whether they have a number in common."""
        return self.name == other.name and max(self.slice.start, other.slice.start) < min(self.slice.stop, other.slice.stop)

    def of(self, observation: Any) -> np.ndarray:
        """The numbers, float64 `[width]`."""
        for level in filter(None, self.name.split(".")) if self.name else ():
            observation = _inner(observation, level, self.name or "")
        return np.asarray(observation, np.float64)[self.slice]

    def replaced(self, observation: Any, part: np.ndarray) -> Any:
        """The observation with `part` in the place of the numbers; it may be of another length."""
        return at(observation, self.name or "", lambda leaf: self._put(leaf, part))

    def in_space(self, space: gym.Space, low: np.ndarray, high: np.ndarray) -> gym.Space:
        """The space of observations whose part has these bounds."""

        def change(box: Any) -> gym.Space:
            return gym.spaces.Box(self._put(box.low, low), self._put(box.high, high), dtype=box.dtype)

        return at(space, self.name or "", change)

    def _put(self, leaf: np.ndarray, part: np.ndarray) -> np.ndarray:
        return np.concatenate([leaf[: self.slice.start], part, leaf[self.slice.stop :]]).astype(leaf.dtype)


def leaves(space: gym.Space, prefix: str = "") -> dict[str, gym.Space]:
    """The leaves of a space by name, with dots between the levels; a bare one is named ""."""
    if not isinstance(space, gym.spaces.Dict):
        return {prefix: space}
    return {name: leaf for key, part in space.items() for name, leaf in leaves(part, f"{prefix}.{key}" if prefix else key).items()}


def leaf_named(space: gym.Space, text: str, wrapper: str) -> str:
    """The full name of the leaf that `text` names, in full or by its last level. Raises WarmloopError where there is none, or several."""
    known = leaves(space)
    found = [name for name in known if text in (name, name.rpartition(".")[2])]
    if text in known or len(found) == 1:
        return text if text in known else found[0]
    named = ", ".join(name for name in known if name) or "none, but for the whole"
    raise WarmloopError(f'The wrapper {wrapper} finds no part "{text}" of the observations (there are {named}){did_you_mean(text, known)}')


def at(tree: Any, name: str, change: Change) -> Any:
    """A nested observation, or space, with the leaf `name` changed. Raises UnfitError where an observation lacks it."""
    return _at(tree, name, change, name)


def _at(tree: Any, rest: str, change: Change, name: str) -> Any:
    if not rest:
        return change(tree)
    key, _, rest = rest.partition(".")
    parts = {**_known(tree, name), key: _at(_inner(tree, key, name), rest, change, name)}
    return gym.spaces.Dict(parts) if isinstance(tree, gym.spaces.Dict) else parts


def _known(tree: Any, name: str) -> Any:
    if isinstance(tree, Mapping | gym.spaces.Dict):
        return tree
    raise UnfitError(f'{tree!r:.60} as an observation, which has no "{name}"')


def _inner(tree: Any, key: str, name: str) -> Any:
    try:
        return tree[key]
    except (KeyError, IndexError, TypeError):
        has = ", ".join(map(str, tree)) if isinstance(tree, Mapping) else ""
        raise UnfitError(f'an observation without "{name}" (it has: {has or "nothing"})') from None


def images(space: gym.Space, camera: str, wrapper: str) -> list[str]:
    """The names of the images `[H, W, C]` uint8 in a space, or of the one that `camera` names, in full or by its last level.

    Raises:
        WarmloopError: there is none, or none of that name.
    """
    found = [name for name, box in leaves(space).items() if box.dtype == np.uint8 and len(box.shape or ()) == 3]
    chosen = [name for name in found if camera in ("", name, name.rpartition(".")[2])]
    if not chosen:
        shapes = ", ".join(f"{name or 'array'} {box.shape} {box.dtype}" for name, box in leaves(space).items())
        which = f'camera "{camera}"' if camera else "image"
        raise WarmloopError(f"The wrapper {wrapper} finds no {which} of shape (H, W, C) and dtype uint8 among {shapes}.")
    return chosen
