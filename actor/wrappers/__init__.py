"""Wrappers by name: `environment.wrappers` applies them to the environment in its order, the first one innermost.

    environment.wrappers = ("relative_frame", "quaternion_to_euler", "gripper_penalty:-0.05", "resize:128", "frame_stack:3")

After the name and a colon come arguments, separated by commas, by position or as NAME=VALUE: `resize:96,128,camera=wrist`. A wrapper of
one's own is `module:name`, which is called with the environment and returns one; the working directory is searched too.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Sequence
from functools import partial

import gymnasium as gym

from ...data.doors.door import Door
from ...data.doors.imports import is_importable_name
from ...data.errors import WarmloopError
from ...data.settings.near_names import did_you_mean
from ...data.settings.typed_values import of_text
from ..bridge.interface import Interface
from .array_kinds import AsNumbers, AsPicture
from .endings import PastSuccess, TimeLimitIsTruncation
from .gripper import GripperPenalty
from .history import DropHistory
from .pictures import Crop, FrameStack, Resize
from .poses import QuaternionTo6D, QuaternionToEuler, RelativeFrame
from .prepared import Prepared
from .serl_observation import SerlObservation

Wrap = Callable[[gym.Env], gym.Env]

WRAPPERS: dict[str, type[gym.Wrapper]] = {
    "relative_frame": RelativeFrame,
    "quaternion_to_euler": QuaternionToEuler,
    "quaternion_to_6d": QuaternionTo6D,
    "gripper_penalty": GripperPenalty,
    "past_success": PastSuccess,
    "time_limit_is_truncation": TimeLimitIsTruncation,
    "as_picture": AsPicture,
    "as_numbers": AsNumbers,
    "drop_history": DropHistory,
    "frame_stack": FrameStack,
    "resize": Resize,
    "crop": Crop,
    "serl_observation": SerlObservation,
}
DOOR = Door("a wrapper", "a callable that takes the environment and returns a Gymnasium environment", tuple(WRAPPERS))
WHERE = "environment.wrappers"
OF_ANY_SPACE = ("past_success", "time_limit_is_truncation", "as_picture", "as_numbers")  # which take an environment as it is


def wrap(env: gym.Env, wrappers: Sequence[str], name: str = "") -> gym.Env:
    """The environment `name` in all its wrappers. Those of one's own get what is beneath them as it is; before each one of this folder
    that knows pictures and actions in one form alone, what is certain is put into that form.

    Raises:
        WarmloopError: an unknown wrapper, an argument that it does not take, or one that does not fit the environment.
    """
    for text in wrappers:
        if text.partition(":")[0] in WRAPPERS.keys() - OF_ANY_SPACE:
            prepared = Prepared(env, name)
            env = prepared if prepared.changes else env
        env = wrapper(text)(env)
        if text.partition(":")[0] not in WRAPPERS:
            env = Interface(env, name, outer=True)
    return env


def wrapper(text: str) -> Wrap:
    """The wrapper that `text` names, with its arguments; only `module:name` is looked up when it is called.

    Raises:
        WarmloopError: it names none, or takes no such arguments.
    """
    name, _, given = text.partition(":")
    if name in WRAPPERS:
        arguments = _arguments(text, WRAPPERS[name], [part.strip() for part in given.split(",")] if given else [])
        return partial(WRAPPERS[name], **arguments)
    if is_importable_name(text):
        return partial(_own, text)
    raise DOOR.unknown(text, WHERE)


def _own(text: str, env: gym.Env) -> gym.Env:
    made = DOOR.open(text, WHERE)
    if not callable(made):
        raise DOOR.refused(text, WHERE, made)
    wrapped = DOOR.call(text, WHERE, "called with the environment", lambda: made(env))
    if not isinstance(wrapped, gym.Env):
        raise DOOR.refused(text, WHERE, wrapped, "returned")
    return wrapped


def _arguments(text: str, cls: type[gym.Wrapper], parts: Sequence[str]) -> dict[str, object]:
    """The keyword arguments of a wrapper, in its parameters' types."""
    kinds = typing.get_type_hints(cls.__init__)
    parameters = list(inspect.signature(cls).parameters.values())[1:]  # after the environment
    names, needed = [parameter.name for parameter in parameters], [p.name for p in parameters if p.default is p.empty]
    arguments: dict[str, object] = {}
    for index, part in enumerate(parts):
        name, equals, value = part.partition("=")
        if not equals:
            name, value = names[index] if index < len(names) else "", part
        if name not in names or name in arguments:
            raise WarmloopError(f'The wrapper "{text}" is given "{part}"; it takes {", ".join(names)}{did_you_mean(name, names)}')
        arguments[name] = _value(text, name, value.strip(), kinds[name])
    if missing := [name for name in needed if name not in arguments]:
        raise WarmloopError(f'The wrapper "{text}" needs {" and ".join(missing)}; it takes {", ".join(names)}.')
    return arguments


def _value(text: str, name: str, value: str, kind: type) -> object:
    try:
        return of_text(kind, value)
    except ValueError:
        kinds = {bool: "true or false", int: "a whole number", float: "a number"}
        raise WarmloopError(f'The wrapper "{text}" has {name}={value}; it must be {kinds[kind]}.') from None
