"""Plain values, such as JSON and flags give, as instances of dataclasses; or one sentence on what is wrong with them, and where."""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from ..errors import WarmloopError
from .near_names import did_you_mean

T = TypeVar("T")
PLAIN = (bool, int, float, str)
WORDS = {"true": True, "false": False}


def decoded(kind: type[T], values: Any, where: str) -> T:
    """An instance of the dataclass `kind`, from plain values by the names of its fields.

    Lists become tuples, whole numbers floats and dicts dataclasses, where the fields' types say so. What is of none of these types is
    taken as it is. A dataclass that has a class method `from_plain(values, where)` is made by it. Names that a dataclass lists as `GONE`
    are left out: settings of earlier versions, which changed nothing.

    Args:
        values: a mapping; fields that it leaves out keep their defaults.
        where: what the values are, for errors, as in "config.reward".

    Raises:
        WarmloopError: an unknown field (with the near match), a missing one, a value of another type, or what `kind` itself refuses.
    """
    if (own := getattr(kind, "from_plain", None)) is not None:
        return own(values, where)
    if not isinstance(values, Mapping):
        raise _refused(where, values, kind.__name__)
    known, gone = _fields(kind), getattr(kind, "GONE", ())
    values = {name: value for name, value in values.items() if name not in gone}
    for name in values:
        if name not in known:
            raise WarmloopError(f"There is no setting {where}.{name}{did_you_mean(str(name), known, listing=True)}")
    for name, (_, needed) in known.items():
        if needed and name not in values:
            raise WarmloopError(f"{where} has no {name}, which it needs.")
    return kind(**{name: _value(known[name][0], value, f"{where}.{name}") for name, value in values.items()})


def of_text(kind: type, text: str) -> Any:
    """What a person writes for a bool ("true" or "false"), an int, a float or a str. Raises ValueError where it is none."""
    if kind is not bool:
        return kind(text)
    if text.lower() not in WORDS:
        raise ValueError(f"{text} is neither true nor false")
    return WORDS[text.lower()]


@functools.cache
def _fields(kind: type) -> dict[str, tuple[Any, bool]]:
    """The type of every field of a dataclass that can be given, and whether it must be."""
    hints, missing = typing.get_type_hints(kind), dataclasses.MISSING
    fields = (field for field in dataclasses.fields(kind) if field.init)
    return {field.name: (hints[field.name], field.default is missing and field.default_factory is missing) for field in fields}


def _value(kind: Any, value: Any, where: str) -> Any:
    """A plain value as the type that is declared for it."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return _of_union(parts, value, where)
    if origin is tuple:
        return _of_tuple(parts, value, where)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return decoded(kind, value, where)
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if kind in PLAIN and type(value) is not kind:
        raise _refused(where, value, kind.__name__)
    return tuple(value) if isinstance(value, list) and list not in (kind, origin) else value


def _of_union(parts: tuple[Any, ...], value: Any, where: str) -> Any:
    """A value of `X | None` as X, unless it is None; of other unions as it is, with a tuple for a list."""
    rest = [part for part in parts if part is not types.NoneType]
    return None if value is None else _value(rest[0] if len(rest) == 1 else Any, value, where)


def _of_tuple(parts: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    """A list or tuple of items of one type, `tuple[X, ...]`, or of as many types as it has items."""
    if not isinstance(value, list | tuple):
        raise WarmloopError(f"{where} is {value!r}; it must be a list.")
    if len(parts) == 2 and parts[1] is Ellipsis:
        parts = parts[:1] * len(value)
    if len(parts) != len(value):
        raise WarmloopError(f"{where} is {value!r}; it must be a list of {len(parts)}.")
    return tuple(_value(part, item, f"{where}[{index}]") for index, (part, item) in enumerate(zip(parts, value, strict=True)))


def _refused(where: str, value: Any, wanted: str) -> WarmloopError:
    return WarmloopError(f"{where} is {value!r}; it must be of type {wanted}.")
