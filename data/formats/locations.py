"""Where recorded data lie: the file or folder behind what a person names, and what changes when it does."""

from __future__ import annotations

from pathlib import Path

from ..files.digest import of_path, stamp
from ..files.whole_files import check_path, require_file
from . import minari, own_format
from .hdf5 import hdf5


def origin_of(path: str | Path) -> str:
    """What a person names, as text: a path with its `~` made whole, or `minari:ID`. Raises WarmloopError for no usable path."""
    text = str(path)
    return text if text.startswith(minari.SCHEME) else str(check_path(text))


def place_of(path: str | Path) -> Path:
    """The file or folder that holds what `path` names, whether or not it is there."""
    origin = origin_of(path)
    if origin.startswith(minari.SCHEME):
        return minari.data_directory(origin)
    own = own_format.divided(origin) if own_format.matches(origin) else None
    return Path(own[1] if own else hdf5.split(origin)[0])


def holder_of(path: str | Path) -> Path:
    """The file or folder that holds what `path` names. Raises WarmloopError where there is none."""
    place = place_of(path)
    if not place.is_dir():
        require_file(place)
    return place


def content_of(path: str | Path) -> str:
    """The SHA-256 of the file or folder that holds what `path` names; with a filter key, followed by `::` and the key.

    Raises:
        WarmloopError: there is none.
    """
    origin = origin_of(path)
    if own_format.matches(origin):
        return f"{of_path(holder_of(origin))}{hdf5.SPLIT}{own_format.reader_of(origin)}"
    key = None if origin.startswith(minari.SCHEME) else hdf5.split(origin)[1]
    return of_path(holder_of(origin)) + (f"{hdf5.SPLIT}{key}" if key else "")


def stamp_of(path: str | Path) -> object:
    """What changes once somebody writes to the file or folder that `path` names. Raises WarmloopError where there is none."""
    return stamp(holder_of(origin_of(path)))
