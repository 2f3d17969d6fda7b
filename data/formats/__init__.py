"""Datasets in and out: one reader and one writer per format, one set of checks, episodes on either side.

A format is one entry of `FORMATS`: how it is recognised, a reader from a path to a `Recording`, and where there is one a writer from
episodes to a path. Files that share an ending (.hdf5, .pkl) are told apart by what they hold.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..episode import Episode
from ..errors import WarmloopError
from ..files.digest import of_path, stamp
from ..files.whole_files import check_path, listed, require_file
from ..outcome import check_rule, told
from ..settings.near_names import did_you_mean
from ..transition import Source
from . import aloha, array_dict, collected, d3rlpy_dump, d4rl, dapg, isaac, lerobot, minari, npz, own_format, rlds, robomimic, sb3
from .hdf5 import hdf5
from .hilserl import hilserl
from .recordings.budget import RATIO, VIDEO_RATIO, Meter, size_of
from .recordings.checked_values import to_episodes
from .recordings.options import PLAIN, BadEpisode, ReadOptions
from .recordings.picture_columns import PictureColumns
from .recordings.recording import Recording, each_episode, level_extras, number_of, without_optional
from .writing.writable import check_same_spec, check_writable

log = logging.getLogger("warmloop")
LIMITS = "action_limits"  # in metadata: what -1 and 1 of the actions are, where not the environment's own limits
Shape = Callable[[Recording], Recording]
KINDS = {"demos": Source.DEMOS, "suboptimal": Source.SUBOPTIMAL, "random": Source.RANDOM}


@dataclasses.dataclass(frozen=True)
class Format:
    """One way of storing episodes.

    Attributes:
        described: how it is named to a person.
        matches: whether what is at a path (as text) is of this format; no two formats claim the same, but for a user's own, which is
            the first of them.
        read: the rows at a path, in pieces of whole episodes.
        write: stores episodes at a path, with JSON-able metadata, whole or not at all; None where the format is only read.
        names: whether a path to write to names this format.
        environment: the environment that a file says it was recorded in; None where it says nothing.
    """

    described: str
    matches: Callable[[str], bool]
    read: Callable[[str, ReadOptions], Iterator[Recording]]
    write: Callable[[str, list[Episode], dict[str, Any]], None] | None = None
    names: Callable[[str], bool] = lambda path: False
    environment: Callable[[str], str | None] = lambda path: None


FORMATS = {
    "own": Format("a format of your own (MODULE:NAME:PATH)", own_format.matches, own_format.read),
    "set": Format("a set that merge_data keeps (its folder)", collected.matches, collected.read, environment=collected.environment),
    "npz": Format(".npz arrays", npz.matches, npz.read, npz.write, npz.names_one, npz.environment),
    "hilserl": Format(".pkl as HIL-SERL records it", hilserl.matches, hilserl.read, hilserl.write, hilserl.names),
    "minari": Format("a Minari dataset (minari:ID or its directory)", minari.matches, minari.read, minari.write, minari.names),
    "lerobot": Format("a LeRobot directory (written: NAME.lerobot)", lerobot.matches, lerobot.read, lerobot.write, lerobot.names),
    "rlds": Format("an RLDS data set of TFDS (DIRECTORY or DIRECTORY::SPLIT)", rlds.matches, rlds.read),
    "d4rl": Format("D4RL's HDF5", d4rl.matches, d4rl.read),
    "robomimic": Format("robomimic's HDF5 (PATH or PATH::FILTER_KEY)", robomimic.matches, robomimic.read),
    "isaac": Format("Isaac Lab's HDF5 (PATH or PATH::FILTER_KEY)", isaac.matches, isaac.read, environment=isaac.environment),
    "aloha": Format("ALOHA's HDF5 (an episode, or a folder of them)", aloha.matches, aloha.read),
    "d3rlpy": Format("d3rlpy's HDF5 dump", d3rlpy_dump.matches, d3rlpy_dump.read),
    "dapg": Format("DAPG's pickled paths", dapg.matches, dapg.read),
    "dict": Format("a pickled dict of arrays", array_dict.matches, array_dict.read),
    "sb3": Format("a Stable-Baselines3 replay buffer", sb3.matches, sb3.read),
}


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
    meter = Meter(str(path), "holding its episodes", size_of(_holder(_origin(path))), _ratio(path))
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
            log.info("%s: not read: %s", _origin(path), listed(piece.unread))
        told_unread = True
        for episode in _checked(piece, source, number_from, options):
            some = True
            yield episode
    if bad and not some:
        raise WarmloopError(f"{_origin(path)}: all of its episodes are bad; of the first: {bad[0].reason}")


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
    origin, count = _origin(path), 0
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


def write_episodes(path: str | Path, episodes: Sequence[Episode], metadata: dict[str, Any] | None = None) -> None:
    """Writes episodes, as recorded, in the format that `path` names; `metadata` must be JSON-able.

    Every format gives back every field of an episode, bit for bit, and its extras; what it cannot give back, it refuses. `metadata` is
    kept by each, and read again (`own_metadata`) of .npz alone.

    Raises:
        WarmloopError: there is nothing to write, the episodes differ in shape, the format cannot hold one of them, or the disk refuses; as
            well as `written_format`.
    """
    origin, written = _origin(path), written_format(path, metadata)
    check_writable(origin, episodes)
    try:
        assert written.write is not None
        written.write(origin, level_extras(episodes), metadata or {})
    except OSError as error:
        raise WarmloopError(f"{origin} could not be written: {error.strerror or error}.") from error


def written_format(path: str | Path, metadata: dict[str, Any] | None = None) -> Format:
    """The format in which episodes would be written to `path`. Raises WarmloopError where it names none, or would lose LIMITS."""
    origin = _origin(path)
    found = next((candidate for candidate in FORMATS.values() if candidate.write and candidate.names(origin)), None)
    if found is None:
        raise WarmloopError(f"{origin} names no format that is written; written are {_described(writing=True)}.")
    if metadata and LIMITS in metadata and found is not FORMATS["npz"]:
        raise WarmloopError(f"{origin}: -1 and 1 of its actions are {metadata[LIMITS]}, which only .npz keeps; write that.")
    return found


def write_minari(dataset: str, episodes: Sequence[Episode], metadata: dict[str, Any] | None = None) -> None:
    """Writes a new Minari dataset, which `minari.load_dataset(dataset)` finds.

    Args:
        dataset: its ID, `(NAMESPACE/)NAME-vNUMBER`, below MINARI_DATASETS_PATH or Minari's own folder.
        episodes, metadata: as `write_episodes` takes them, which also writes a dataset to any other folder.

    Raises:
        WarmloopError: the ID is none or taken, or an episode's observations do not lead from row to row.
    """
    write_episodes(f"{minari.SCHEME}{dataset}", episodes, metadata)


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


def own_metadata(path: str | Path) -> dict[str, Any]:
    """What this project wrote about the data at `path` beside them; {} for other files."""
    origin = _origin(path)
    return collected.own_metadata(origin) if collected.matches(origin) else npz.own_metadata(origin)


def recorded_environment(path: str | Path) -> str | None:
    """The environment that the data at `path` say they were recorded in; None where they say nothing, or cannot be read."""
    origin = _origin(path)
    found = next((candidate for candidate in FORMATS.values() if candidate.matches(origin)), None)
    with contextlib.suppress(WarmloopError):
        return None if found is None else found.environment(origin)


def content_of(path: str | Path) -> str:
    """The SHA-256 of the file or folder that holds what `path` names; with a filter key, followed by `::` and the key.

    Raises:
        WarmloopError: there is none.
    """
    origin = _origin(path)
    if own_format.matches(origin):
        return f"{of_path(_holder(origin))}{hdf5.SPLIT}{own_format.reader_of(origin)}"
    key = None if origin.startswith(minari.SCHEME) else hdf5.split(origin)[1]
    return of_path(_holder(origin)) + (f"{hdf5.SPLIT}{key}" if key else "")


def stamp_of(path: str | Path) -> object:
    """What changes once somebody writes to the file or folder that `path` names. Raises WarmloopError where there is none."""
    return stamp(_holder(_origin(path)))


def format_of(path: str | Path) -> Format:
    """The format of what is at `path`. Raises WarmloopError where there is nothing, or nothing that any format claims."""
    origin = _origin(path)
    for candidate in FORMATS.values():
        if candidate.matches(origin):
            return candidate
    if Path(origin).is_dir():
        raise WarmloopError(
            f"{origin} is a directory without a data set: no Minari's data/metadata.json, no LeRobot's meta/info.json, "
            "no RLDS's features.json, no HIL-SERL's transitions_*.pkl and no ALOHA's episode_*.hdf5."
        )
    require_file(Path(origin))
    raise WarmloopError(f"{origin} is in no supported format; supported are {_described()}.")


def _origin(path: str | Path) -> str:
    text = str(path)
    return text if text.startswith(minari.SCHEME) else str(check_path(text))


def place_of(path: str | Path) -> Path:
    """The file or folder that holds what `path` names, whether or not it is there."""
    origin = _origin(path)
    if origin.startswith(minari.SCHEME):
        return minari.data_directory(origin)
    own = own_format.divided(origin) if own_format.matches(origin) else None
    return Path(own[1] if own else hdf5.split(origin)[0])


def _holder(path: str | Path) -> Path:
    """The file or folder that holds what `path` names. Raises WarmloopError where there is none."""
    place = place_of(path)
    if not place.is_dir():
        require_file(place)
    return place


def _ratio(path: str | Path) -> int:
    """How many times its files what `path` names may take."""
    return VIDEO_RATIO if lerobot.has_video(_origin(path)) else RATIO


def _described(writing: bool = False) -> str:
    return ", ".join(candidate.described for candidate in FORMATS.values() if candidate.write or not writing)
