"""Demonstrations that lie in one group each, `data/demo_0`, `data/demo_1`, ..., as robomimic and Isaac Lab have them; and robomimic's
filter keys, `mask/NAME`, which list some of them."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from ...errors import WarmloopError
from ...settings.near_names import did_you_mean
from ..recordings.flat import Attempt, Part
from .hdf5 import group, names, texts

if TYPE_CHECKING:
    import h5py

Read = Callable[[str, "h5py.Group", str, int], Part]


def demonstrations(path: str, file: h5py.File, mask: str | None, read: Read) -> Iterator[Attempt]:
    """The demonstrations of a file, or of its filter key `mask`, by number, each by `read` from the path, its group, its name and its
    number.

    Raises:
        WarmloopError: there are none, or no such filter key.
    """
    chosen = _selected(path, file, mask)
    data = group(path, file, "data")

    def attempt(name: str, number: int) -> Part:
        return read(path, group(path, data, name), name, number)

    for name, number in zip(chosen, _numbers(chosen), strict=True):
        yield name, functools.partial(attempt, name, number)


def _selected(path: str, file: h5py.File, mask: str | None) -> list[str]:
    """The names of the demonstrations to read, by number."""
    chosen = present = names(group(path, file, "data"))
    if mask is not None:
        masks = names(group(path, file, "mask")) if "mask" in names(file) else []
        if mask not in masks:
            listed = ", ".join(masks) or "none"
            raise WarmloopError(
                f"{path} has no filter key `mask/{mask}`; its filter keys are {listed}{did_you_mean(mask, masks, one=True)}"
            )
        chosen = texts(path, group(path, file, "mask"), mask)
        absent = [name for name in chosen if name not in present]
        if absent:
            raise WarmloopError(f"{path}: `mask/{mask}` lists {absent[0]}, and `data` has no such demonstration.")
    if not chosen:
        raise WarmloopError(f"{path} holds no demonstrations in {'`data`' if mask is None else f'`mask/{mask}`'}.")
    return sorted(set(chosen), key=_by_number)


def _by_number(name: str) -> tuple[int, str]:
    found = re.search(r"(\d+)$", name)
    return (int(found[1]) if found else -1, name)


def _numbers(chosen: list[str]) -> list[int]:
    """Their own where every name is `demo_NUMBER`, else their positions."""
    found = [re.fullmatch(r"demo_(\d{1,9})", name) for name in chosen]
    return [int(number[1]) for number in found if number] if all(found) else list(range(len(chosen)))
