"""The frames of a LeRobot data set out of its parquet files, an episode at a time."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import WarmloopError
from ...settings.near_names import did_you_mean
from ..parquet_size.parquet_pages import batches
from ..recordings.budget import PICTURE_RATIO, require
from ..recordings.recording import Columns
from .meta import PICTURES, ROWS, Entry, Feature, Layout, reading
from .video_frames import Reel, decode_image

PICTURE_ROWS = 64
INDICES = ("episode_index", "frame_index", "timestamp", "task_index")


def episodes(layout: Layout, keys: list[str]) -> Iterator[tuple[Entry, Columns]]:
    """Each episode with its rows of the features `keys` and of INDICES, `[T, *shape]`; pictures `[T, H, W, C]` uint8.

    Raises:
        WarmloopError: a file or a column is missing or damaged, or the rows are not those that the metadata promise.
    """
    videos = [key for key in keys if layout.features[key].dtype == "video"]
    stored = {key: layout.features[key] for key in (*keys, *INDICES) if key in layout.features and key not in videos}
    reels: dict[str, Reel] = {}
    try:
        for path, group in itertools.groupby(layout.entries, key=lambda entry: entry.data):
            for entry, columns in _of_file(path, list(group), stored):
                yield entry, columns | {key: _footage(reels, key, entry, columns["timestamp"], layout.fps) for key in videos}
    finally:
        for reel in reels.values():
            reel.close()


def values(column: Any) -> np.ndarray:
    """`[N, ...]`, a pyarrow column of numbers or of equally long (nested) lists of them. Raises ValueError."""
    import pyarrow as pa

    shape = [len(column)]
    while pa.types.is_list(column.type) or pa.types.is_large_list(column.type) or pa.types.is_fixed_size_list(column.type):
        if column.null_count:
            raise ValueError("a row holds nothing")
        lengths = np.unique(column.value_lengths().to_numpy(zero_copy_only=False))
        if len(lengths) > 1:
            raise ValueError(f"its rows differ in length, from {lengths[0]} to {lengths[-1]}")
        shape.append(int(lengths[0]) if len(lengths) else 0)
        column = column.flatten()
    if column.null_count:
        raise ValueError("a row holds nothing")
    array = column.to_numpy(zero_copy_only=False)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"it holds {column.type} values, and numbers are needed")
    return array.reshape(shape)


def _of_file(path: Path, entries: list[Entry], stored: dict[str, Feature]) -> Iterator[tuple[Entry, Columns]]:
    """The episodes of one file, in its order."""
    runs = _runs(path, _batches(path, stored))
    for entry in entries:
        place = f"{path}, episode {entry.number}"
        columns = next(runs, None)
        if columns is None:
            raise WarmloopError(f"{place}: the file ends before it; download or record the data set again.")
        found, rows = int(columns["episode_index"][0]), len(columns["episode_index"])
        if (found, rows) != (entry.number, entry.rows):
            raise WarmloopError(
                f"{place}: its metadata promise {entry.rows} frames of it here, and {rows} of episode {found} come; "
                "download or record the data set again."
            )
        gaps = np.flatnonzero(columns["frame_index"] != np.arange(rows))
        if len(gaps):
            found = columns["frame_index"][gaps[0]]
            raise WarmloopError(f"{place}, step {gaps[0]}: `frame_index` is {found}; frames are missing or repeated; remove the episode.")
        yield entry, columns
    for columns in runs:
        number = int(columns["episode_index"][0])
        raise WarmloopError(f"{path}: holds episode {number}, of which its metadata know nothing here; download the data set again.")


def _batches(path: Path, stored: dict[str, Feature]) -> Iterator[Columns]:
    """The columns of successive rows."""
    with reading(path):
        import pyarrow.parquet as pq

        size = PICTURE_ROWS if any(feature.dtype in PICTURES for feature in stored.values()) else ROWS
        with pq.ParquetFile(path) as file:
            for key in stored:
                if key not in file.schema_arrow.names:
                    raise WarmloopError(f"{path} has no column `{key}`{did_you_mean(key, file.schema_arrow.names, one=True)}")
            for batch in batches(path, file, size, list(stored)):
                numbers = values(batch.column("episode_index")).ravel()
                yield {key: _column(path, numbers, key, feature, batch.column(key)) for key, feature in stored.items()}


def _column(path: Path, numbers: np.ndarray, key: str, feature: Feature, column: Any) -> np.ndarray:
    """The rows of one feature; those of shape (1,) are stored as plain numbers."""
    try:
        if feature.dtype in PICTURES:
            return _pictures(path, key, column.field("bytes").to_pylist())
        array = values(column)
        if math.prod(array.shape[1:]) != math.prod(feature.shape):
            raise ValueError(f"a row has shape {array.shape[1:]}, and meta/info.json says {feature.shape}")
        return array.reshape(len(array), *feature.shape) if key not in INDICES else array.reshape(len(array))
    except WarmloopError:
        raise
    except Exception as error:
        raise WarmloopError(
            f"{path}, episodes {numbers.min()} to {numbers.max()}: `{key}` is not readable ({error}); download or record it again."
        ) from error


def _pictures(path: Path, key: str, encoded: list[bytes | None]) -> np.ndarray:
    taken, size = 0, sum(len(data or b"") for data in encoded)

    def look(some: int) -> None:
        nonlocal taken
        taken += some
        require(str(path), f"`{key}`", taken, size, PICTURE_RATIO)

    return np.stack([decode_image(data, look) for data in encoded])


def _runs(path: Path, batches: Iterable[Columns]) -> Iterator[Columns]:
    """The rows of one episode after the other, whole, wherever the batches were cut."""
    pending: list[Columns] = []
    for batch in batches:
        ids = batch["episode_index"]
        cuts = [0, *(np.flatnonzero(ids[1:] != ids[:-1]) + 1).tolist(), len(ids)]
        for low, high in itertools.pairwise(cuts):
            if pending and pending[-1]["episode_index"][-1] != ids[low]:
                yield _joined(pending)
                pending = []
            pending.append({key: column[low:high] for key, column in batch.items()})
            held = sum(column.nbytes for piece in pending for column in piece.values()) if len(pending) > 1 else 0
            require(f"{path}, episode {ids[low]}", "it", held, path.stat().st_size, PICTURE_RATIO)
    if pending:
        yield _joined(pending)


def _joined(pieces: list[Columns]) -> Columns:
    return pieces[0] if len(pieces) == 1 else {key: np.concatenate([piece[key] for piece in pieces]) for key in pieces[0]}


def _footage(reels: dict[str, Reel], key: str, entry: Entry, timestamps: np.ndarray, fps: float) -> np.ndarray:
    """The episode's frames of one camera; neighbouring episodes that share a video share its decoder."""
    path, start = entry.clips[key]
    if key not in reels or reels[key].path != path:
        if key in reels:
            reels[key].close()
        reels[key] = Reel(path, fps)
    return reels[key].take(start + timestamps.astype(np.float64))
