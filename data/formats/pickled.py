"""Which layout a pickle has, by a look at its bytes: nothing is unpickled. And what readers take from one."""

from __future__ import annotations

import mmap
import pickletools
from typing import Any

import numpy as np

from ..errors import WarmloopError
from .files import kind
from .safe_pickle import holds_objects

ENDINGS = (".pkl", ".pickle")
HEAD = 4096
PATH_KEYS = (b"init_state_dict", b"env_infos")


def layout(path: str) -> str | None:
    """ "sb3" (a replay buffer), "dapg" (mjrl's paths) or "hilserl" (any other); None for what neither begins nor ends its name as one.

    A replay buffer's pickle begins with its class. Paths have `init_state_dict` or `env_infos`, and never the `next_observations` that
    HIL-SERL's transitions need; both are told by their keys' text, which a pickle holds as it is.
    """
    named = path.endswith(ENDINGS) and kind(path) in (None, "pickle")
    try:
        with open(path, "rb") as file:
            head = file.read(HEAD)
            if not head or not (named or head[:1] == b"\x80"):
                return "hilserl" if named else None
            if _first_global(head).split(".")[0] == "stable_baselines3":
                return "sb3"
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                # HIL-SERL's first transition has it, so the search through the whole file is for others only.
                paths = content.find(b"next_observations") < 0 and any(content.find(key) >= 0 for key in PATH_KEYS)
                return "dapg" if paths else "hilserl"
    except OSError:
        return "hilserl" if named else None


def numbers(place: str, key: str, value: Any) -> np.ndarray:
    """`value` as an array of numbers with at least one axis. Raises WarmloopError for anything else."""
    if holds_objects(value):
        raise WarmloopError(f"{place}: `{key}` is an array of Python objects; save it as an array of numbers.")
    if not isinstance(value, np.ndarray) or value.ndim == 0:
        raise WarmloopError(f"{place}: `{key}` is a {type(value).__name__}; an array with one row per transition is needed.")
    if value.dtype.kind not in "biuf":
        raise WarmloopError(f"{place}: `{key}` holds {value.dtype} values; numbers are needed.")
    return value


def _first_global(head: bytes) -> str:
    """The module that a pickle names first, if its first few instructions name one."""
    words: list[str] = []
    try:
        for (opcode, argument, _), _ in zip(pickletools.genops(head), range(8), strict=False):
            if opcode.name == "GLOBAL":
                return str(argument).split(" ")[0]
            if opcode.name == "STACK_GLOBAL":
                return words[-2]
            if "UNICODE" in opcode.name:
                words.append(str(argument))
    except (ValueError, IndexError):  # noise, or the head's end
        pass
    return ""
