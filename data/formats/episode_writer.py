"""Episodes into files of any format that is written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..episode import Episode
from ..errors import WarmloopError
from . import minari
from .known_formats import written_format
from .locations import origin_of
from .recordings.recording import level_extras
from .writing.writable import check_writable


def write_episodes(path: str | Path, episodes: Sequence[Episode], metadata: dict[str, Any] | None = None) -> None:
    """Writes episodes, as recorded, in the format that `path` names; `metadata` must be JSON-able.

    Every format gives back every field of an episode, bit for bit, and its extras; what it cannot give back, it refuses. `metadata` is
    kept by each, and read again (`own_metadata`) of .npz alone.

    Raises:
        WarmloopError: there is nothing to write, the episodes differ in shape, the format cannot hold one of them, or the disk refuses; as
            well as `written_format`.
    """
    origin, written = origin_of(path), written_format(path, metadata)
    check_writable(origin, episodes)
    try:
        assert written.write is not None
        written.write(origin, level_extras(episodes), metadata or {})
    except OSError as error:
        raise WarmloopError(f"{origin} could not be written: {error.strerror or error}.") from error


def write_minari(dataset: str, episodes: Sequence[Episode], metadata: dict[str, Any] | None = None) -> None:
    """Writes a new Minari dataset, which `minari.load_dataset(dataset)` finds.

    Args:
        dataset: its ID, `(NAMESPACE/)NAME-vNUMBER`, below MINARI_DATASETS_PATH or Minari's own folder.
        episodes, metadata: as `write_episodes` takes them, which also writes a dataset to any other folder.

    Raises:
        WarmloopError: the ID is none or taken, or an episode's observations do not lead from row to row.
    """
    write_episodes(f"{minari.SCHEME}{dataset}", episodes, metadata)
