"""An environment's actions as one flat Box, and the way from a flat action to the environment's own, and back.

The numbers stand in the order of the space's parts (of a Dict by name, as Gymnasium orders them):

    Box of any shape        its numbers, row by row, between its own bounds; of whole numbers the nearest is taken
    Discrete, MultiDiscrete one number for each choice. A policy's range from -1 to 1 is cut into bins of equal width, one for each of the n
                            choices, lowest first; in the environment's units a choice is its own number
    MultiBinary             likewise, with two choices

A gripper of three commands within a Dict so opens below -1/3, holds between -1/3 and 1/3, and closes above.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np

from ...data.errors import WarmloopError
from ...data.running.said import say_once
from .observations import Path, leaves, named

CHOICES = (gym.spaces.Discrete, gym.spaces.MultiDiscrete, gym.spaces.MultiBinary)


class Numbers(NamedTuple):
    """A part's place in the flat action: the keys that lead to it, its space, its shape and its flat bounds."""

    path: Path
    space: gym.Space
    shape: tuple[int, ...]
    low: np.ndarray
    high: np.ndarray


class Actions:
    """Flat actions of an environment's action space.

    Attributes:
        space: the flat Box, in the environment's units; the environment's own where that is a one-dimensional Box of floats.

    Raises:
        WarmloopError: a space that cannot be flattened, or a choice among discrete actions alone.
    """

    def __init__(self, space: Any, environment: str):
        if not isinstance(space, gym.Space):
            raise WarmloopError(
                f'Environment "{environment}" has as its action_space {space!r:.60}; set it in the constructor, to a Box with bounds.'
            )
        if isinstance(space, gym.spaces.Discrete):
            raise WarmloopError(
                f'Environment "{environment}" has discrete actions, {space}, and all agents here act by continuous ones: none for discrete '
                "actions is available. Give it a Box of actions, or a wrapper of your own that turns numbers into its commands "
                "(environment.wrappers=MODULE:NAME)."
            )
        self._own, self._environment = space, environment
        self._parts = [_part(path, part, environment) for path, part in leaves(space)]
        plain = isinstance(space, gym.spaces.Box) and len(space.shape) == 1 and space.dtype is not None and space.dtype.kind == "f"
        self._plain = plain
        if not self._parts or not sum(part.low.size for part in self._parts):
            raise WarmloopError(f'Environment "{environment}" takes no actions: its action space is {space}.')
        low, high = (np.concatenate([getattr(part, side) for part in self._parts]) for side in ("low", "high"))
        if held := np.flatnonzero(low == high).tolist():
            say_once(
                f'Environment "{environment}": the bounds of its action{"s" * (len(held) > 1)} {", ".join(map(str, held))} are equal, so '
                "that what a policy chooses there is never seen. A wrapper of your own can leave it out "
                "(environment.wrappers=MODULE:NAME)."
            )
        self.space: gym.spaces.Box = space if plain else gym.spaces.Box(low, high, dtype=np.float64)  # pyright: ignore[reportAttributeAccessIssue]

    def __call__(self, flat: np.ndarray) -> Any:
        """The environment's own action of a flat one, a new one."""
        if self._plain:
            return flat
        values, start = {}, 0
        for part in self._parts:
            values[part.path] = _valued(part, np.asarray(flat[start : start + part.low.size]))
            start += part.low.size
        return _nested(self._own, values)

    def flatten(self, action: Any) -> np.ndarray:
        """The flat action `[A]` of one of the environment's own. Raises ValueError where it is none."""
        if self._plain:
            return action
        flat = []
        for part in self._parts:
            value = action
            try:
                for key in part.path:
                    value = value[key]
                flat.append(np.asarray(value, np.float64).reshape(part.low.shape))
            except (KeyError, IndexError, TypeError, ValueError) as error:
                raise ValueError(f"{action!r:.80} is no action of {self._own}") from error
        return np.concatenate(flat)


def _part(path: Path, space: gym.Space, environment: str) -> Numbers:
    if isinstance(space, gym.spaces.Box):
        if space.dtype is not None and space.dtype.kind != "f":
            what = f'its actions "{named(path)}"' if path else "its actions"
            say_once(f'Environment "{environment}" takes whole numbers as {what}, {space}; a policy\'s choice is rounded to the nearest.')
        return Numbers(path, space, space.shape, np.ravel(space.low).astype(np.float64), np.ravel(space.high).astype(np.float64))
    if not isinstance(space, CHOICES):
        raise WarmloopError(
            f'Environment "{environment}" has {f"an action {named(path)!r}" if path else "actions"} of the space {space}, which cannot be '
            "numbers between bounds; give it a Box, or wrap it (environment.wrappers=MODULE:NAME)."
        )
    counts = space.n if isinstance(space, gym.spaces.Discrete) else 2 if isinstance(space, gym.spaces.MultiBinary) else space.nvec
    start = 0 if isinstance(space, gym.spaces.MultiBinary) else space.start
    shape = tuple(space.shape or ())
    low, counts = (np.ravel(np.broadcast_to(values, shape)).astype(np.float64) for values in (start, counts))
    return Numbers(path, space, shape, low - 0.5, low + counts - 0.5)


def _valued(part: Numbers, numbers: np.ndarray) -> Any:
    """The part's own value of its flat numbers."""
    dtype = part.space.dtype or np.dtype(np.float32)
    if isinstance(part.space, CHOICES):
        numbers = np.clip(np.rint(numbers), part.low + 0.5, part.high - 0.5)
    elif dtype.kind != "f":
        numbers = np.clip(np.rint(numbers), part.low, part.high)
    value = numbers.astype(dtype).reshape(part.shape)
    return value[()] if isinstance(part.space, gym.spaces.Discrete) else value


def _nested(space: gym.Space, values: Mapping[Path, Any], path: Path = ()) -> Any:
    """The values in the Dicts and Tuples of their space."""
    if isinstance(space, gym.spaces.Dict):
        return {key: _nested(part, values, (*path, key)) for key, part in space.spaces.items()}
    if isinstance(space, gym.spaces.Tuple):
        return tuple(_nested(part, values, (*path, index)) for index, part in enumerate(space.spaces))
    return values[path]
