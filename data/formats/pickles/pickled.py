"""Which layout a pickle has, by a look at its bytes: nothing is unpickled. And what readers take from one."""

from __future__ import annotations

import contextlib
import gzip
import pickletools
import zlib
from collections.abc import Iterator, Mapping
from typing import IO, Any

import numpy as np

from ...errors import WarmloopError
from ...files.whole_files import GZIP, kind
from .pickle_cost import STEP
from .safe_pickle import holds_objects

ENDINGS = (".pkl", ".pickle")
PACKED = tuple(f"{ending}.gz" for ending in ENDINGS)
HEAD = 4096
OVERLAP = 32  # bytes, for a key that lies over the edge of two reads
DEPTH = 16
PATH_KEYS = (b"init_state_dict", b"env_infos")


def layout(path: str) -> str | None:
    """ "sb3" (a replay buffer), "dict" (of arrays), "dapg" (mjrl's paths) or "hilserl" (any other); None for what neither begins nor ends
    its name as one. It may be packed by gzip.

    A replay buffer's pickle begins with its class, a dict with an empty one. Paths have `init_state_dict` or `env_infos`, and never the
    `next_observations` that HIL-SERL's transitions need; both are told by their keys' text, which a pickle holds as it is.
    """
    named = path.endswith((*ENDINGS, *PACKED)) and kind(path) in (None, "pickle")
    try:
        with opened(path) as file:
            head = file.read(HEAD)
            if not head or not (named or head[:1] == b"\x80"):
                return "hilserl" if named else None
            first = _first(head)
            if first.split(".")[0] == "stable_baselines3":
                return "sb3"
            if first == "dict":
                return "dict"
            return "dapg" if _of_paths(head, file) else "hilserl"
    except (OSError, EOFError, zlib.error):
        return "hilserl" if named else None


@contextlib.contextmanager
def opened(path: str) -> Iterator[IO[bytes]]:
    """A file to read, unpacked on the way where gzip packed it."""
    with open(path, "rb") as file:
        if file.peek(2)[:2] != GZIP:
            yield file
            return
        with gzip.GzipFile(fileobj=file) as unpacked:
            yield unpacked  # pyright: ignore[reportReturnType]


def _of_paths(head: bytes, file: IO[bytes]) -> bool:
    """Whether a key of mjrl's paths comes, and none of HIL-SERL's: its first transition has it, so that the whole is searched for others
    only."""
    found, part = False, head
    while part:
        if b"next_observations" in part:
            return False
        found |= any(key in part for key in PATH_KEYS)
        more = file.read(STEP)
        part = part[-OVERLAP:] + more if more else b""
    return found


def leaves(origin: str, held: Mapping[Any, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """What a dict holds, and the dicts in it, by path: `observations/robot.joints`. Raises WarmloopError where they lie too deep."""
    if len(path) > DEPTH:
        raise WarmloopError(f"{origin}: `{path[0]}` is a dict in a dict, more than {DEPTH} deep; save it flatter.")
    for key, value in held.items():
        below = (*path, str(key))
        if isinstance(value, Mapping):
            yield from leaves(origin, value, below)
        else:
            yield "/".join((below[0], ".".join(below[1:]))) if len(below) > 1 else below[0], value


def bytes_as_array(value: Any, depth: int = DEPTH) -> int:
    """Bytes that a value, or a list of lists, would take as an array: one that stands in a list again and again is an element each time."""
    if isinstance(value, list | tuple) and value and depth:
        return len(value) * bytes_as_array(value[0], depth - 1)
    return int(getattr(value, "nbytes", 8))


def numbers(place: str, key: str, value: Any) -> np.ndarray:
    """`value` as an array of numbers with at least one axis. Raises WarmloopError for anything else."""
    if holds_objects(value):
        raise WarmloopError(f"{place}: `{key}` is an array of Python objects; save it as an array of numbers.")
    if not isinstance(value, np.ndarray) or value.ndim == 0:
        raise WarmloopError(f"{place}: `{key}` is a {type(value).__name__}; an array with one row per transition is needed.")
    if value.dtype.kind not in "biuf":
        raise WarmloopError(f"{place}: `{key}` holds {value.dtype} values; numbers are needed.")
    return value


def _first(head: bytes) -> str:
    """The module that a pickle names first, if its first few instructions name one; "dict" where they make one."""
    words: list[str] = []
    try:
        for (opcode, argument, _), _ in zip(pickletools.genops(head), range(8), strict=False):
            if opcode.name == "EMPTY_DICT" or (opcode.name == "DICT" and not words):
                return "dict"
            if opcode.name in ("EMPTY_LIST", "LIST"):
                return ""
            if opcode.name == "GLOBAL":
                return str(argument).split(" ")[0]
            if opcode.name == "STACK_GLOBAL":
                return words[-2]
            if "UNICODE" in opcode.name:
                words.append(str(argument))
    except (ValueError, IndexError):  # noise, or the head's end
        pass
    return ""
