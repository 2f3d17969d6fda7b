"""Writes LeRobot data sets of version 3.0; what is written is said in lerobot.py."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...episode import Episode
from ...errors import WarmloopError
from ...files.disk import sync_directory
from ...transition import storage_dtype
from ..recordings.recording import Columns, named
from ..writing.writable import observations_of
from . import stats as statistics
from .meta import EXTRA, INFO, INTERVENED, NUMBERS, OBSERVATION, Feature, require_pyarrow
from .video_frames import CHANNELS, encode_image
from .warmloop_table import PATH, Shapes, write_own

FPS = 10
FILES_PER_CHUNK = 1000
MEGABYTES = 100  # per file, as LeRobot's default is
ROW_GROUP = 8 << 20  # bytes
INDEX_DTYPES = {"timestamp": "float32", "frame_index": "int64", "episode_index": "int64", "index": "int64", "task_index": "int64"}
MOST_AXES = 5  # of one row, in LeRobot


@dataclasses.dataclass(frozen=True)
class Plan:
    """How episodes become features; all share it."""

    features: dict[str, Feature]
    leaves: Shapes
    extras: Shapes
    tasks: list[str]
    fps: float

    @functools.cached_property
    def images(self) -> set[str]:
        """The features stored as PNG."""
        return {key for key, feature in self.features.items() if feature.dtype == "image"}


def write(origin: str, episodes: list[Episode], metadata: dict[str, Any]) -> None:
    """Writes a new data set, whole or not at all; `metadata` may say its `fps` and `robot_type`.

    Raises:
        WarmloopError: it exists, or an episode's observations do not lead from row to row or have no LeRobot key.
    """
    require_pyarrow(origin)
    directory = Path(origin)
    if directory.exists():
        raise WarmloopError(f"{directory} exists; choose another name, or remove it.")
    plan = _plan(origin, episodes, metadata.get("fps", FPS))
    partial = directory.with_name(f".{directory.name}.{os.getpid()}.part")
    try:
        (partial / "meta/episodes/chunk-000").mkdir(parents=True)
        _write_whole(partial, origin, plan, episodes, metadata)
        _sync(partial)
        os.replace(partial, directory)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    sync_directory(directory.parent)


def _plan(origin: str, episodes: list[Episode], fps: Any) -> Plan:
    if isinstance(fps, bool) or not isinstance(fps, int | float) or not 0 < fps < float("inf"):
        raise WarmloopError(f"{origin}: fps is {fps!r}; give the frames per second, a number above 0.")
    first = episodes[0]
    features, leaves, extras = {}, {}, {}
    for tree, shapes in ((named("", first.steps.observation), leaves), (first.extras, extras)):
        for label, column in tree.items():
            name, shape = label.removeprefix("/"), tuple(np.shape(column)[1:])
            image = shapes is leaves and column.dtype == np.uint8 and len(shape) == 3 and shape[-1] in CHANNELS
            key = _observation_key(name, image) if shapes is leaves else f"{EXTRA}{name.replace('/', '.')}"
            dtype = str(column.dtype) if shapes is extras else storage_dtype(column.dtype, shape)
            if key in features or key == INTERVENED or len(shape) > MOST_AXES or dtype not in NUMBERS:
                raise WarmloopError(f"{origin}: `{name}`, {shape} {dtype}, gets no LeRobot key of its own ({key}); rename it.")
            features[key] = Feature("image" if image else dtype, shape or (1,))
            shapes[key] = (name, shape)
    number, flag = Feature("float32", (1,)), Feature("bool", (1,))
    features |= {"action": Feature("float32", np.shape(first.steps.action)[1:]), "next.reward": number, "next.done": flag}
    features |= {"next.truncated": flag, INTERVENED: flag}
    if any(episode.success is not None for episode in episodes):
        features["next.success"] = flag
    features |= {key: Feature(dtype, (1,)) for key, dtype in INDEX_DTYPES.items()}
    return Plan(features, leaves, extras, list(dict.fromkeys(episode.task for episode in episodes)), fps)


def _observation_key(name: str, image: bool) -> str:
    """LeRobot's key for the leaf `name`, "" for a bare array; its training takes `observation.image...` for images alone."""
    if not image:
        return f"{OBSERVATION}{name.replace('/', '.') or 'state'}"
    return f"{OBSERVATION}images.{name.removeprefix('images.').replace('/', '.')}" if name else f"{OBSERVATION}image"


def _frames(origin: str, plan: Plan, episode: Episode, index: int, first: int) -> Columns:
    """The rows of episode `index`, by feature `[T, *shape]`, whose first frame is number `first` of all."""
    steps, rows = episode.steps, len(episode)
    observations_of(origin, episode, "LeRobot")
    frame = np.arange(rows)
    columns: Mapping[str, Any] = {
        **{key: steps.observation[name] if name else steps.observation for key, (name, _) in plan.leaves.items()},
        **{key: episode.extras[name] for key, (name, _) in plan.extras.items()},
        "action": steps.action,
        "next.reward": steps.reward,
        "next.done": steps.mask == 0,
        "next.truncated": steps.truncated,
        "next.success": np.zeros(rows, bool) if episode.success is None else episode.success,
        INTERVENED: steps.intervened,
        "timestamp": frame / plan.fps,
        "frame_index": frame,
        "episode_index": np.full(rows, index),
        "index": first + frame,
        "task_index": np.full(rows, plan.tasks.index(episode.task)),
    }
    return {
        key: np.asarray(columns[key], np.uint8 if key in plan.images else feature.dtype).reshape(rows, *feature.shape)
        for key, feature in plan.features.items()
    }


def _write_whole(root: Path, origin: str, plan: Plan, episodes: list[Episode], metadata: dict[str, Any]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    files, about, stats, first = _Files(root), [], [], 0
    try:
        for index, episode in enumerate(episodes):
            columns = _frames(origin, plan, episode, index, first)
            chunk, file = files.add(pa.table({key: _arrow(column, key in plan.images) for key, column in columns.items()}))
            stats.append({k: (statistics.of_images if k in plan.images else statistics.of_numbers)(c) for k, c in columns.items()})
            row = {"episode_index": index, "tasks": [episode.task], "length": len(episode), "data/chunk_index": chunk}
            row |= {"data/file_index": file, "dataset_from_index": first, "dataset_to_index": first + len(episode)}
            row |= {"meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0}
            lists = {key: statistics.as_lists(found) for key, found in stats[-1].items()}
            about.append(row | {f"stats/{key}/{name}": value for key, found in lists.items() for name, value in found.items()})
            first += len(episode)
    finally:
        files.close()
    pq.write_table(pa.Table.from_pylist(about), root / "meta/episodes/chunk-000/file-000.parquet")
    whole = {key: statistics.as_lists(statistics.combined([found[key] for found in stats])) for key in plan.features}
    (root / "meta/stats.json").write_text(json.dumps(whole, indent=4), encoding="utf-8")
    (root / INFO).write_text(json.dumps(_info(plan, len(episodes), first, metadata), indent=4, ensure_ascii=False), encoding="utf-8")
    _write_tasks(root / "meta/tasks.parquet", plan.tasks)
    with open(root / PATH, "wb") as file:
        write_own(file, episodes, plan.leaves, plan.extras, plan.images, metadata)


class _Files:
    """The parquet files of the frames: a new one where the last is full, episodes never cut."""

    def __init__(self, root: Path):
        self._root, self._number, self._writer, self._bytes = root, -1, None, 0
        self._pending, self._pending_bytes = [], 0

    def add(self, table: Any) -> tuple[int, int]:
        """Takes an episode's rows; returns the chunk and the file in it that will hold them."""
        size = table.nbytes
        if self._writer is None or self._bytes + size > MEGABYTES * 2**20:
            self._open(table.schema)
        self._pending.append(table)
        self._bytes += size
        self._pending_bytes += size
        if self._pending_bytes >= ROW_GROUP:
            self._flush()
        return divmod(self._number, FILES_PER_CHUNK)

    def close(self) -> None:
        if self._writer is not None:
            self._flush()
            self._writer.close()
            self._writer = None

    def _open(self, schema: Any) -> None:
        import pyarrow.parquet as pq

        self.close()
        self._number, self._bytes = self._number + 1, 0
        chunk, file = divmod(self._number, FILES_PER_CHUNK)
        path = self._root / f"data/chunk-{chunk:03d}/file-{file:03d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        self._writer = pq.ParquetWriter(path, schema)

    def _flush(self) -> None:
        import pyarrow as pa

        if self._pending and self._writer is not None:
            self._writer.write_table(pa.concat_tables(self._pending))
        self._pending, self._pending_bytes = [], 0


def _arrow(column: np.ndarray, image: bool) -> Any:
    """A column of a table as LeRobot lays it out: one number, a list of fixed length, or nested lists."""
    import pyarrow as pa

    rows, *shape = column.shape
    if image:
        return pa.StructArray.from_arrays(
            [pa.array([encode_image(pixels) for pixels in column], pa.binary()), pa.nulls(rows, pa.string())], ["bytes", "path"]
        )
    array = pa.array(column.ravel())
    if len(shape) == 1:
        return array if shape == [1] else pa.FixedSizeListArray.from_arrays(array, shape[0])
    for size in reversed(shape):
        array = pa.ListArray.from_arrays(np.arange(0, len(array) + 1, size, dtype=np.int32), array)
    return array


def _info(plan: Plan, episodes: int, frames: int, metadata: dict[str, Any]) -> dict[str, Any]:
    axes = ["height", "width", "channels"]
    return {
        "codebase_version": "v3.0",
        "robot_type": metadata.get("robot_type"),
        "total_episodes": episodes,
        "total_frames": frames,
        "total_tasks": len(plan.tasks),
        "chunks_size": FILES_PER_CHUNK,
        "data_files_size_in_mb": MEGABYTES,
        "video_files_size_in_mb": 2 * MEGABYTES,
        "fps": int(plan.fps) if plan.fps == int(plan.fps) else plan.fps,
        "splits": {"train": f"0:{episodes}"},
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": None,
        "features": {
            key: {"dtype": feature.dtype, "shape": list(feature.shape), "names": axes if feature.dtype == "image" else None}
            for key, feature in plan.features.items()
        },
    }


def _write_tasks(path: Path, tasks: list[str]) -> None:
    """A table that pandas, and so LeRobot, reads with the tasks' names for its index."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    described = [
        {"name": name, "field_name": name, "pandas_type": kind, "numpy_type": dtype, "metadata": None}
        for name, kind, dtype in (("task_index", "int64", "int64"), ("task", "unicode", "object"))
    ]
    pandas = {"index_columns": ["task"], "column_indexes": [], "columns": described, "pandas_version": "2.0.0"}
    schema = pa.schema([("task_index", pa.int64()), ("task", pa.string())], {"pandas": json.dumps(pandas)})
    pq.write_table(pa.table([pa.array(range(len(tasks)), pa.int64()), pa.array(tasks, pa.string())], schema=schema), path)


def _sync(root: Path) -> None:
    """Everything under `root` is on the disk when this returns."""
    for path in [root, *root.rglob("*")]:
        if path.is_dir():
            sync_directory(path)
        else:
            with open(path, "rb") as file:
                os.fsync(file.fileno())
