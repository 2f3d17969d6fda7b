"""What a LeRobot data set says of itself: its features, its tasks, and where the frames of each episode lie."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...errors import WarmloopError
from ...files.whole_files import require_file
from ..parquet_size.parquet_pages import batches
from ..recordings.budget import Meter

INFO = "meta/info.json"
OBSERVATION = "observation."
EXTRA = "complementary_info."
INTERVENED = f"{EXTRA}is_intervention"
NUMBERS = {"bool", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)), "float16", "float32", "float64"}
PICTURES = {"image", "video"}
OBJECTS = 8  # times as much as Arrow's values take as Python's, of numbers
ROWS = 8192  # at once
VERSION = re.compile(r"v?(\d+)\.(\d+)(\.\d+)?")
FIELD = re.compile(r"\{(\w+)(?::0(\d)d)?\}")  # of a path's template; str.format would follow attributes


@dataclasses.dataclass(frozen=True)
class Feature:
    """One column of the frames: `dtype` as NumPy names it, or "image", "video", "string"; `shape` of one row."""

    dtype: str
    shape: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Entry:
    """One episode.

    Attributes:
        number: its `episode_index`.
        rows: T, its frames.
        data: the parquet file that holds them.
        clips: by feature, the video file and the time in it, in seconds, at which the episode begins.
    """

    number: int
    rows: int
    data: Path
    clips: dict[str, tuple[Path, float]]


@dataclasses.dataclass(frozen=True)
class Layout:
    """A data set's metadata; `entries` in the order in which the episodes are stored, `tasks` by their index."""

    root: Path
    fps: float
    features: dict[str, Feature]
    tasks: dict[int, str]
    entries: list[Entry]


def require_pyarrow(origin: str) -> None:
    """Raises WarmloopError where pyarrow is not installed."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise WarmloopError(f"{origin}: LeRobot data sets need pyarrow ({error}); run `pip install 'warmloop[lerobot]'`.") from error


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Raises WarmloopError naming `path` for whatever goes wrong inside: pyarrow, json and NumPy raise a dozen kinds for damaged data."""
    try:
        require_file(path)
        yield
    except WarmloopError:
        raise
    except Exception as error:
        reason = f"no {error}" if isinstance(error, KeyError) else (str(error).splitlines() or [type(error).__name__])[0]
        raise WarmloopError(f"{path} is not a readable part of a LeRobot data set ({reason}); download or record it again.") from error


def read_columns(path: Path, columns: list[str] | None = None) -> dict[str, list[Any]]:
    """A small table of parquet as lists. Raises WarmloopError where it takes more memory than it may."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        names = file.schema_arrow.names if columns is None else columns
        if missing := [name for name in names if name not in file.schema_arrow.names]:
            raise KeyError(missing[0])
        read: dict[str, list[Any]] = {name: [] for name in names}
        meter = Meter(str(path), "it", path.stat().st_size)
        for batch in batches(path, file, ROWS, names):
            meter.take(OBJECTS * batch.nbytes)
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                read[name] += column.to_pylist()
        return read


def load(root: Path) -> Layout:
    """The metadata of the data set in directory `root`.

    Raises:
        WarmloopError: a file is missing, is damaged or contradicts itself, or the version is not 2.0, 2.1 or 3.x.
    """
    require_pyarrow(str(root))
    with reading(root / INFO):
        info = json.loads((root / INFO).read_bytes())
        found = VERSION.fullmatch(str(info["codebase_version"]))
        features = {key: Feature(str(f["dtype"]), tuple(int(n) for n in f.get("shape") or ())) for key, f in info["features"].items()}
        fps = float(info["fps"])
        if not 0 < fps < float("inf"):
            raise ValueError(f"fps is {fps}")
        depth = [key for key, f in info["features"].items() if (f.get("info") or {}).get("video.is_depth_map")]
    if depth:
        raise WarmloopError(f"{root / INFO}: `{depth[0]}` is a video of depths, which is not read; remove that feature.")
    version = found and (int(found[1]), int(found[2]))
    if version in ((2, 0), (2, 1)):
        tasks, entries = _version_2(root, info, features)
    elif version and version[0] == 3:
        tasks, entries = _version_3(root, info, features)
    else:
        raise WarmloopError(
            f"{root / INFO}: codebase_version is {info['codebase_version']!r}, and 2.0, 2.1 and 3.x are read; "
            "convert the data set with LeRobot's own scripts."
        )
    if not entries:
        raise WarmloopError(f"{root} holds no episodes.")
    counted = info.get("total_episodes", len(entries))
    if counted != len(entries):
        raise WarmloopError(
            f"{root}: {INFO} counts {counted} episodes, and meta/episodes lists {len(entries)}; download or record it again, or set "
            "`total_episodes` where the list is right."
        )
    if len({entry.number for entry in entries}) < len(entries):
        raise WarmloopError(f"{root}: its metadata names an episode twice; download or record it again.")
    return Layout(root, fps, features, tasks, entries)


def _version_2(root: Path, info: dict[str, Any], features: dict[str, Feature]) -> tuple[dict[int, str], list[Entry]]:
    """One file per episode, and metadata in lines of JSON."""
    tasks = {int(line["task_index"]): str(line["task"]) for line in _lines(root / "meta/tasks.jsonl")}
    entries = []
    for line in _lines(root / "meta/episodes.jsonl"):
        with reading(root / INFO):
            number = int(line["episode_index"])
            where = {"episode_index": number, "episode_chunk": number // int(info["chunks_size"])}
            clips = {key: (_place(root, info["video_path"], where | {"video_key": key}), 0.0) for key in _videos(features)}
            entries.append(Entry(number, int(line["length"]), _place(root, info["data_path"], where), clips))
    return tasks, entries


def _version_3(root: Path, info: dict[str, Any], features: dict[str, Feature]) -> tuple[dict[int, str], list[Entry]]:
    """Many episodes per file, and metadata in parquet."""
    path, tasks = root / "meta/tasks.parquet", {}
    if info.get("total_tasks") != 0:
        with reading(path):
            table = read_columns(path)
            names = table["task" if "task" in table else "__index_level_0__"]  # pandas' index, named or not
            tasks = {int(index): str(name) for index, name in zip(table["task_index"], names, strict=True)}
    own = ["episode_index", "length", "data/chunk_index", "data/file_index"]
    shot = [f"videos/{key}/{name}" for key in _videos(features) for name in ("chunk_index", "file_index", "from_timestamp")]
    entries = []
    for path in sorted(path for path in (root / "meta/episodes").glob("*/*.parquet") if not path.name.startswith(".")):
        with reading(path):
            columns = read_columns(path, own + shot)
            rows = [{name: columns[name][i] for name in own + shot} for i in range(len(columns["episode_index"]))]
        with reading(root / INFO):
            entries += [_entry(root, info, row, _videos(features)) for row in rows]
    return tasks, entries


def _entry(root: Path, info: dict[str, Any], row: dict[str, Any], videos: list[str]) -> Entry:
    def place(template: str, prefix: str, **names: str) -> Path:
        where = {name: int(row[f"{prefix}/{name}"]) for name in ("chunk_index", "file_index")}
        return _place(root, template, where | names)

    clips = {key: (place(info["video_path"], f"videos/{key}", video_key=key), float(row[f"videos/{key}/from_timestamp"])) for key in videos}
    return Entry(int(row["episode_index"]), int(row["length"]), place(info["data_path"], "data"), clips)


def _videos(features: dict[str, Feature]) -> list[str]:
    return [key for key, feature in features.items() if feature.dtype == "video"]


def _lines(path: Path) -> list[dict[str, Any]]:
    with reading(path):
        texts = path.read_text(encoding="utf-8-sig").split("\n")  # a text in JSON may hold what else ends a line in Unicode
        lines = [json.loads(line) for line in texts if line.strip()]
        if not all(isinstance(line, dict) for line in lines):
            raise ValueError("a line is no JSON object")
    return lines


def _place(root: Path, template: str, values: dict[str, Any]) -> Path:
    """The file that a template such as `data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet` names; never one outside `root`."""
    path = Path(FIELD.sub(lambda field: str(values[field[1]]).zfill(int(field[2] or 0)), template))
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(f"{template} leads out of the data set")
    return root / path
