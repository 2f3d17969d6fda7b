"""Datasets in and out: one reader and one writer per format, one set of checks, episodes on either side.

A format is one entry of `FORMATS`: how it is recognised, a reader from a path to a `Recording`, a writer from episodes to a path.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..episode import Episode
from ..errors import WarmloopError
from ..transition import Source, Spec
from . import hilserl, minari, npz
from .files import did_you_mean
from .recording import Recording, to_episodes

KINDS = {"demos": Source.DEMOS, "suboptimal": Source.SUBOPTIMAL, "random": Source.RANDOM}


@dataclasses.dataclass(frozen=True)
class Format:
    """One way of storing episodes.

    Attributes:
        described: how it is named to a person.
        matches: whether a path (as text) is of this format.
        read: the rows at a path.
        write: stores episodes at a path, with JSON-able metadata, whole or not at all.
    """

    described: str
    matches: Callable[[str], bool]
    read: Callable[[str], Recording]
    write: Callable[[str, list[Episode], dict[str, Any]], None]


FORMATS = {
    "npz": Format(".npz arrays", lambda path: path.endswith(".npz"), npz.read, npz.write),
    "hilserl": Format(".pkl as HIL-SERL records it", lambda path: path.endswith((".pkl", ".pickle")), hilserl.read, hilserl.write),
    "minari": Format("a Minari dataset (minari:ID or its directory)", minari.matches, minari.read, minari.write),
}


def load_episodes(path: str | Path, source: Source | None = None, number_from: int = 0) -> list[Episode]:
    """The episodes at `path`, checked.

    Args:
        path: a file, a Minari directory, or `minari:ID`.
        source: the kind of data; None takes what the file says of itself, and demos where it says nothing.
        number_from: added to the episodes' numbers, so that those of several files stay apart.

    Raises:
        WarmloopError: one sentence for anything missing, damaged, unsupported, inconsistent or out of range.
    """
    origin = _origin(path)
    return to_episodes(_format_of(origin).read(origin), source, number_from)


def write_episodes(path: str | Path, episodes: Sequence[Episode], metadata: dict[str, Any] | None = None) -> None:
    """Writes episodes, as recorded, in the format that `path` names; `metadata` must be JSON-able.

    The .npz format carries every field of a transition; the others what they have keys for.

    Raises:
        WarmloopError: there is nothing to write, the episodes differ in shape, or the disk refuses.
    """
    origin = _origin(path)
    if not episodes:
        raise WarmloopError(f"There are no episodes to write to {origin}.")
    _check_same_spec(episodes)
    try:
        _format_of(origin).write(origin, list(episodes), metadata or {})
    except OSError as error:
        raise WarmloopError(f"{origin} could not be written: {error.strerror or error}.") from error


def parse_source_argument(argument: str) -> tuple[Source | None, str]:
    """`kind=path` as its two parts; a bare path has kind None: what the file says, else demos.

    Raises:
        WarmloopError: the kind is unknown, and no file has the whole argument for its name.
    """
    kind, equals, path = argument.partition("=")
    if equals and kind in KINDS and path:
        return KINDS[kind], path
    if not equals or Path(argument).expanduser().exists():
        return None, argument
    if kind in KINDS:
        raise WarmloopError(f'"{argument}" names no path; write {kind}=PATH.')
    raise WarmloopError(
        f'"{argument}": there is no such file, and "{kind}" is none of the kinds {", ".join(KINDS)}{did_you_mean(kind, KINDS)}'
    )


def load_sources(arguments: Sequence[str]) -> list[Episode]:
    """The episodes of all `kind=path` arguments, in order, each with a number of its own; their shapes must agree."""
    episodes: list[Episode] = []
    for argument in arguments:
        source, path = parse_source_argument(argument)
        number_from = 1 + max((episode.number for episode in episodes), default=-1)
        episodes += load_episodes(path, source, number_from)
        _check_same_spec(episodes)
    return episodes


def _origin(path: str | Path) -> str:
    text = str(path)
    return text if text.startswith(minari.SCHEME) else str(Path(text).expanduser())


def _format_of(origin: str) -> Format:
    for candidate in FORMATS.values():
        if candidate.matches(origin):
            return candidate
    supported = ", ".join(candidate.described for candidate in FORMATS.values())
    raise WarmloopError(f"{origin} is in no supported format; supported are {supported}.")


def _check_same_spec(episodes: Sequence[Episode]) -> None:
    first = episodes[0]
    spec = Spec.of(first.steps)
    for episode in episodes[1:]:
        names = [f"{e.origin}, episode {e.number}," for e in (first, episode)]
        difference = spec.difference(Spec.of(episode.steps), *names)
        if difference:
            raise WarmloopError(f"The data sets differ: {difference}; load together only data of one robot and task.")
