"""Messages between a process and who looks at it: a JSON object each, and the bytes of a picture behind those that have one.

    [length of the object | length of the bytes | object | bytes]      lengths: 4 bytes each, the most significant first
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import WarmloopError
from ..wire import MIB

HEADER = struct.Struct(">II")
LONGEST = MIB  # bytes of an object
LARGEST = 64 * MIB  # bytes of a picture
LONGEST_WORD = 4096  # bytes of an object that a process takes


def packed(values: Mapping[str, Any], data: bytes = b"") -> bytes:
    """One message."""
    text = json.dumps(values).encode()
    return HEADER.pack(len(text), len(data)) + text + data


class Unpacker:
    """Makes messages of the pieces in which they come; `longest` and `largest` bound an object and its bytes."""

    def __init__(self, longest: int = LONGEST, largest: int = LARGEST):
        self._longest, self._largest, self._rest = longest, largest, bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[dict[str, Any], bytes]]:
        """The messages that are whole now. Raises WarmloopError where what comes is none."""
        self._rest += data
        while len(self._rest) >= HEADER.size:
            length, size = HEADER.unpack_from(self._rest)
            if length > self._longest or size > self._largest:
                raise WarmloopError(f"A message of {length} and {size} bytes is too large.")
            end = HEADER.size + length + size
            if len(self._rest) < end:
                return
            text, data = bytes(self._rest[HEADER.size : HEADER.size + length]), bytes(self._rest[HEADER.size + length : end])
            del self._rest[:end]
            yield _object(text), data


def _object(text: bytes) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except ValueError as error:
        raise WarmloopError("A message is no JSON.") from error
    if not isinstance(values, dict):
        raise WarmloopError("A message is no JSON object.")
    return values
