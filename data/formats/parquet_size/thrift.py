"""Structures of Thrift's compact protocol, in which Parquet describes itself: their numbers, and the structures and lists in them.

https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from __future__ import annotations

from typing import Any

TRUE, FALSE, BYTE, SHORT, INTEGER, LONG, DOUBLE, BYTES, LIST, SET, MAP, STRUCTURE = range(1, 13)  # types of a field
DEEPEST, FIELDS = 32, 1 << 15
MANY = 15  # the size of a list that is not in its first byte
WORD = {SHORT: (1 << 16) - 1, INTEGER: (1 << 32) - 1, LONG: (1 << 64) - 1}

Field = tuple[int, int]  # its number and its type: one of another type is another field
Fields = dict[Field, Any]


def structure(data: bytes, wanted: Fields, place: int = 0, depth: int = 0) -> tuple[Fields, int]:
    """Those fields of a structure that are wanted, and where it ends.

    Args:
        wanted: by its field None for a number, and for a structure or a list of them, what is wanted of it.

    Raises:
        IndexError: the data end before the structure does.
        ValueError: they are none.
    """
    found: Fields = {}
    number = 0
    while first := data[place]:
        place += 1
        kind, step = first & 15, first >> 4
        if step:
            number += step
        else:
            number, place = _integer(data, place, SHORT)
        if not 0 < number < FIELDS:
            raise ValueError("a field has no number")
        value, place = _value(data, kind, wanted.get((number, kind)), place, depth + 1, in_list=False)
        if (number, kind) in wanted:
            found[number, kind] = value
    return found, place + 1


def _value(data: bytes, kind: int, wanted: Fields | None, place: int, depth: int, in_list: bool) -> tuple[Any, int]:
    """A field's value, and where it ends; None of what is never wanted."""
    if depth > DEEPEST:
        raise ValueError("its structures have no end")
    if kind in WORD:
        return _integer(data, place, kind)
    if kind == STRUCTURE:
        return structure(data, wanted or {}, place, depth)
    if kind in (LIST, SET):
        return _list(data, wanted, place, depth)
    if kind == BYTES:
        length, place = _varint(data, place)
        place += length
    elif kind in (TRUE, FALSE, BYTE, DOUBLE):
        place += {BYTE: 1, DOUBLE: 8}.get(kind, int(in_list))
    else:
        raise ValueError("a field is of an unknown type")
    if place > len(data):
        raise IndexError
    return None, place


def _list(data: bytes, wanted: Fields | None, place: int, depth: int) -> tuple[list[Any], int]:
    kind, count = data[place] & 15, data[place] >> 4
    place += 1
    if count == MANY:
        count, place = _varint(data, place)
    found = []
    for _ in range(count):
        value, place = _value(data, kind, wanted, place, depth + 1, in_list=True)
        if wanted is not None:
            found.append(value)
    return found, place


def _integer(data: bytes, place: int, kind: int) -> tuple[int, int]:
    """A signed number of so many bits, and where it ends."""
    value, place = _varint(data, place)
    value &= WORD[kind]
    return (value >> 1) ^ -(value & 1), place


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[place]
        value |= (byte & 127) << shift
        place += 1
        if byte < 128:
            return value, place
    raise ValueError("a number has no end")
