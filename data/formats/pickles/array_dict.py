"""A pickled dict of flat arrays: D4RL's `get_dataset()`, a replay buffer's own fields, or what else was put there.

Read: the arrays under the names that `marks.py` lists, by the rules of `flat_arrays.py`; a dict of arrays is an observation, one leaf for
each. Nothing in the file is run, and other values than arrays are told as not read.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import WarmloopError
from ..recordings.budget import require, size_of
from ..recordings.flat_arrays import read_arrays
from ..recordings.options import PLAIN, ReadOptions
from ..recordings.recording import Recording, distinct
from .pickled import bytes_as_array, layout, leaves
from .safe_pickle import holds_objects, load


def matches(path: str) -> bool:
    """Whether `path` is a pickle of a dict."""
    return layout(path) == "dict"


def read(origin: str, options: ReadOptions = PLAIN) -> Iterator[Recording]:
    """The rows of file `origin`, in pieces; nothing in it is run.

    Raises:
        WarmloopError: the file is refused by `safe_pickle`, lacks or contradicts itself in a key, or does not say where episodes were cut.
    """
    held = load(Path(origin), inert={})
    if not isinstance(held, Mapping):
        raise WarmloopError(f"{origin} holds a {type(held).__name__}, and not a dict of arrays.")
    values, size = distinct(origin, leaves(origin, held)), size_of(origin)

    def array(name: str) -> Any:
        value = values[name]
        if isinstance(value, list):
            require(origin, f"`{name}`", bytes_as_array(value), size)
            with contextlib.suppress(ValueError):  # of rows that differ in length
                value = np.array(value)
        if not isinstance(value, np.ndarray) or holds_objects(value) or value.dtype == object:
            raise WarmloopError(f"{origin}: `{name}` is no array of numbers; save it as one.")
        return value

    yield from read_arrays(origin, list(values), array, options)
