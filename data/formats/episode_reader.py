"""Episodes out of files of any format, checked."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from ..episode import Episode
from ..errors import WarmloopError
from ..files.whole_files import check_path, listed
from ..outcome import check_rule, told
from ..settings.near_names import did_you_mean
from ..transition import Source
from . import lerobot
from .known_formats import format_of
from .locations import holder_of, origin_of
from .recordings.budget import RATIO, VIDEO_RATIO, Meter, size_of
from .recordings.checked_values import to_episodes
from .recordings.options import PLAIN, BadEpisode, ReadOptions
from .recordings.picture_columns import PictureColumns
from .recordings.recording import Recording, each_episode, number_of, without_optional
from .writing.writable import check_same_spec

log = logging.getLogger("warmloop")
Shape = Callable[[Recording], Recording]
KINDS = {"demos": Source.DEMOS, "suboptimal": Source.SUBOPTIMAL, "random": Source.RANDOM}


def load_episodes(
    path: str | Path,
    source: Source | None = None,
    number_from: int = 0,
    shape: Shape = lambda piece: piece,
    success: str = "",
    options: ReadOptions = PLAIN,
) -> list[Episode]:
    """The episodes at `path`, checked: all of them, or an error. Arguments and errors as `iterate_episodes` has them; an error as well
    where they take more memory than their files may (`budget.py`)."""
    return list(_bounded(path, iterate_episodes(path, source, number_from, shape, success, options)))


def _bounded(path: str | Path, episodes: Iterator[Episode]) -> Iterator[Episode]:
    """Episodes that are all to be held. Raises WarmloopError once they take more memory than the files at `path` may."""
    meter = Meter(str(path), "holding its episodes", size_of(holder_of(origin_of(path))), _ratio(path))
    for episode in episodes:
        meter.take(episode.nbytes)
        yield episode


def iterate_episodes(
    path: str | Path,
    source: Source | None = None,
    number_from: int = 0,
    shape: Shape = lambda piece: piece,
    success: str = "",
    options: ReadOptions = PLAIN,
) -> Iterator[Episode]:
    """The episodes at `path`, checked, one after the other; of most formats no more than some 32 MiB is held at a time, and of
    pickles the whole file.

    Args:
        path: a file, a directory of Minari's or LeRobot's, `minari:ID`, or the `PATH::FILTER_KEY` of a robomimic file.
        source: the kind of data; None takes what the file says of itself, and demos where it says nothing.
        number_from: added to the episodes' numbers, so that those of several files stay apart.
        shape: applied to each piece as it was read, before it is checked.
        success: which steps succeeded, for episodes without a flag (`data/outcome.py`); "" decides by the rewards.
        options: what the file does not say itself, and whether bad episodes are left out.

    Raises:
        WarmloopError: one sentence for anything missing, damaged, unsupported, inconsistent or out of range; with bad episodes left out,
            only where that concerns the whole file, or every episode.
    """
    bad: list[BadEpisode] = []
    options = options.collecting(bad)
    some = told_unread = False
    for piece in read_pieces(path, source, success, options):
        piece = without_optional(shape(piece))
        if piece.unread and not told_unread:
            log.info("%s: not read: %s", origin_of(path), listed(piece.unread))
        told_unread = True
        for episode in _checked(piece, source, number_from, options):
            some = True
            yield episode
    if bad and not some:
        raise WarmloopError(f"{origin_of(path)}: all of its episodes are bad; of the first: {bad[0].reason}")


def _checked(piece: Recording, source: Source | None, number_from: int, options: ReadOptions) -> Iterator[Episode]:
    """A piece's episodes, checked; bad ones are left out where they may be."""
    try:
        yield from to_episodes(piece, source, number_from)
        return
    except WarmloopError:
        if options.on_bad is None:
            raise
    for one in each_episode(piece):
        try:
            yield from to_episodes(one, source, number_from)
        except WarmloopError as error:
            options.leave_out(piece.origin, f"episode {number_of(one, 0)}", error)


def read_pieces(path: str | Path, source: Source | None = None, success: str = "", options: ReadOptions = PLAIN) -> Iterator[Recording]:
    """The rows at `path`, tidy but not checked, in pieces of whole episodes, each with its number. Arguments as `iterate_episodes`."""
    origin, count = origin_of(path), 0
    check_rule("The success of data", success)
    found = format_of(origin)
    pictures = PictureColumns(origin)
    for piece in map(pictures, told(lambda: found.read(origin, options), success, source)):
        numbers = count + np.arange(len(piece)) if piece.numbers is None else piece.numbers
        count += len(piece)
        if len(piece):
            yield dataclasses.replace(piece, numbers=numbers)
    if not count:
        raise WarmloopError(f"{origin} holds no transition whose next observation is known; record `next_observations`.")


def parse_source_argument(argument: str) -> tuple[Source | None, str]:
    """`kind=path` as its two parts; a bare path has kind None: what the file says, else demos.

    Raises:
        WarmloopError: the kind is unknown, and no file has the whole argument for its name.
    """
    kind, equals, path = argument.partition("=")
    if equals and kind in KINDS and path:
        return KINDS[kind], path
    if not equals or check_path(argument).exists():
        return None, argument
    if kind in KINDS:
        raise WarmloopError(f'"{argument}" names no path; write {kind}=PATH.')
    raise WarmloopError(
        f'"{argument}": there is no such file, and "{kind}" is none of the kinds {", ".join(KINDS)}{did_you_mean(kind, KINDS, one=True)}'
    )


def load_sources(arguments: Sequence[str], on_episode: Callable[[], object] = lambda: None, options: ReadOptions = PLAIN) -> list[Episode]:
    """The episodes of all `kind=path` arguments, in order, each with a number of its own; their shapes must agree. `on_episode` is called
    after each one read."""
    episodes: list[Episode] = []
    for argument in arguments:
        source, path = parse_source_argument(argument)
        number_from = 1 + max((episode.number for episode in episodes), default=-1)
        for episode in _bounded(path, iterate_episodes(path, source, number_from, options=options)):
            episodes.append(episode)
            on_episode()
        check_same_spec(episodes)
    return episodes


def _ratio(path: str | Path) -> int:
    """How many times its files what `path` names may take."""
    return VIDEO_RATIO if lerobot.has_video(origin_of(path)) else RATIO
