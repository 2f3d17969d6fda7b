"""An environment's observations as agents take them: their parts side by side, each by its rule, and the space of that.

Parts of a Dict in a Dict are named `outer.inner`, those of a Tuple by their numbers. A bare observation is named "".
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

import gymnasium as gym

from ...data.errors import WarmloopError
from ...data.running.said import say_once
from ...data.settings.near_names import did_you_mean
from ...data.transition import PyTree
from .leaf_rules import LeafRule, UnfitError, rule_for

Path = tuple[Any, ...]


class Part(NamedTuple):
    """One part: its name, the keys that lead to it, and its rule."""

    name: str
    path: Path
    rule: LeafRule


class Observations:
    """Turns observations of a space into arrays.

    Args:
        space: what the environment declares.
        environment: its name, for errors.
        unseen: parts that no agent gets. They are turned too, for a success rule to see, but for those that cannot be.

    Attributes:
        space: of the arrays, a Dict of Boxes or a single Box.
        left_out: parts of `unseen` that no rule turns into an array.

    Raises:
        WarmloopError: a part that no agent takes, and that is not in `unseen`; or `unseen` names what is not there, or everything.
    """

    def __init__(self, space: Any, environment: str, unseen: Collection[str] = ()):
        if not isinstance(space, gym.Space):
            raise WarmloopError(
                f'Environment "{environment}" has as its observation_space {space!r:.60}; set it in the constructor, to a Box or a Dict of '
                "Boxes."
            )
        spaces = _by_name(space, environment)
        _check_unseen(unseen, spaces, environment)
        self._environment, self._bare = environment, set(spaces) == {""}
        self._parts, self.left_out, self._heard = list[Part](), list[str](), False
        for name, (path, part) in spaces.items():
            try:
                self._parts.append(Part(name, path, rule_for(part, name, self._say, name not in unseen)))
            except UnfitError as error:
                if name not in unseen:
                    raise WarmloopError(f'Environment "{environment}": {called(name)} {error}{leaving_out(name)}.') from None
                self.left_out.append(name)
        if not self._parts:
            raise WarmloopError(f'Environment "{environment}" observes nothing: its observation space is {space}.')
        boxes: dict[str, gym.Space] = {part.name: part.rule.box for part in self._parts}
        self.space = boxes[""] if self._bare else gym.spaces.Dict(boxes)
        self._paths = {path for path, _ in spaces.values()}

    def __call__(self, observation: Any) -> PyTree:
        """The arrays of an observation, which share nothing with it.

        Raises:
            UnfitError: a part is missing, or is not of its space.
        """
        arrays = {}
        for name, path, rule in self._parts:
            value = observation
            for depth, key in enumerate(path):
                try:
                    value = value[key]
                except (KeyError, IndexError, TypeError):
                    raise self._missing(name, value, depth) from None
            try:
                arrays[name] = rule(value)
            except UnfitError as error:
                raise UnfitError(f"{called(name)} that {error}") from None
        if not self._heard:
            self._heard = True
            self._tell_of_more(observation)
        return arrays[""] if self._bare else arrays

    def _missing(self, name: str, inner: Any, depth: int) -> UnfitError:
        if not isinstance(inner, Mapping | tuple | list):
            what = f"as the observation {inner!r:.60}" if depth == 0 else f"{called(name)} within {inner!r:.60}"
            return UnfitError(f"{what}, where its space says a Dict")
        has = ", ".join(map(str, inner)) if isinstance(inner, Mapping) else f"{len(inner)} parts"
        return UnfitError(f'an observation without "{name}" (it has: {has or "nothing"})')

    def _tell_of_more(self, observation: Any) -> None:
        """Says which parts came that the space does not have."""
        if isinstance(observation, Mapping) and (
            more := sorted(set(map(str, _names(observation))) - {named(path) for path in self._paths})
        ):
            self._say(f"{', '.join(more)} came in an observation and its space does not have it; it is not used")

    def _say(self, sentence: str) -> None:
        say_once(f'Environment "{self._environment}": {sentence}.')


def leaves(space: gym.Space, path: Path = ()) -> Iterator[tuple[Path, gym.Space]]:
    """The parts of a space that are neither Dict nor Tuple, each with the keys that lead to it."""
    if isinstance(space, gym.spaces.Dict | gym.spaces.Tuple):
        inner = space.spaces.items() if isinstance(space, gym.spaces.Dict) else enumerate(space.spaces)
        for key, part in inner:
            yield from leaves(part, (*path, key))
    else:
        yield path, space


def named(path: Path) -> str:
    """The name of a part."""
    return ".".join(map(str, path))


def called(name: str) -> str:
    """How a sentence speaks of a part."""
    return f'an observation "{name}"' if name else "an observation"


def leaving_out(name: str) -> str:
    """How a sentence about a part goes on that an agent can do without."""
    return f"; or leave it out by --config.environment.unseen=\"('{name}',)\"" if name else ""


def _by_name(space: gym.Space, environment: str) -> dict[str, tuple[Path, gym.Space]]:
    """The parts with the keys that lead to them. Raises WarmloopError where two have one name."""
    parts = dict[str, tuple[Path, gym.Space]]()
    for path, part in leaves(space):
        if (name := named(path)) in parts:
            both = f"{list(parts[name][0])} and {list(path)}"
            raise WarmloopError(f'Environment "{environment}" has two parts of observations that are called "{name}", {both}; rename one.')
        parts[name] = path, part
    return parts


def _names(observation: Mapping[Any, Any], path: Path = ()) -> Iterator[str]:
    for key, part in observation.items():
        if isinstance(part, Mapping):
            yield from _names(part, (*path, key))
        else:
            yield named((*path, key))


def _check_unseen(unseen: Collection[str], names: Collection[str], environment: str) -> None:
    parts = [name for name in names if name]
    for name in unseen:
        if name not in parts:
            raise WarmloopError(
                f'environment.unseen has "{name}", and the observations of "{environment}" have '
                f"{', '.join(parts) or 'no named parts'}{did_you_mean(name, parts)}"
            )
    if unseen and len(set(unseen)) == len(parts):
        raise WarmloopError(f'environment.unseen names all that "{environment}" observes; leave a part for the agent.')
