"""What LeRobot has no key for: `meta/warmloop.parquet` in the data sets that are written here, one row per episode.

It is a file of its own, since each column of the frames must be one of LeRobot's features, which its training would take for data, and
each column of `meta/episodes` is read again for every frame that it loads.

Per episode the number, the kind, whether success is known, and of a piece what it was cut out of (`whole`); the observation after the
last frame, `final/KEY`, a PNG or numbers end to end; and per step, as lists, STEP_FIELDS. The schema's entry "warmloop" is JSON: `format`;
`leaves` and `extras`, by LeRobot's key the name and shape here; `metadata`, as given.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ...episode import Episode, Whole
from ...errors import WarmloopError
from ...transition import Source
from ..parquet_size.parquet_pages import batches
from ..recordings import wholes
from ..recordings.budget import require
from ..recordings.recording import SCALARS, Columns
from .meta import OBJECTS, Layout, reading
from .video_frames import decode_image, encode_image

PATH = "meta/warmloop.parquet"
FORMAT = "warmloop-lerobot-1"
STEP_FIELDS = ("source", "quality", "mc_return", "policy_version", "step")
ROWS = 16  # episodes at once: each may hold images

Shapes = dict[str, tuple[str, tuple[int, ...]]]  # by LeRobot's key: the name and the shape of one row here


@dataclasses.dataclass(frozen=True)
class Own:
    """One episode's row, and what the file says of all; `final` by LeRobot's key, `steps` by name `[T]`."""

    number: int
    source: int
    success_known: bool
    steps: Columns
    final: Columns
    leaves: Shapes
    extras: Shapes
    whole: Whole | None


def own_rows(layout: Layout, observed: set[str]) -> Generator[Own | None]:
    """What is recorded of each of the layout's episodes; None for all of a data set that was not written here.

    Args:
        observed: the keys of the data set's observations.

    Raises:
        WarmloopError: the file is damaged, or the data set was changed since.
    """
    path = layout.root / PATH
    if not path.exists():
        yield from [None] * len(layout.entries)
        return
    changed = WarmloopError(
        f"{path} and the episodes of {layout.root} do not match: the data set was changed since it was written; "
        "remove that file to read what LeRobot's own keys hold."
    )
    with contextlib.closing(_rows(path)) as rows:
        for entry in layout.entries:
            index, own = next(rows, (None, None))
            lengths = {len(values) for values in own.steps.values()} if own else set()
            if index != entry.number or lengths != {entry.rows} or not own or own.leaves.keys() != observed:
                raise changed
            yield own
        if next(rows, None) is not None:
            raise changed


def write_own(file: BinaryIO, episodes: Iterable[Episode], leaves: Shapes, extras: Shapes, images: set[str], metadata: Any) -> None:
    """Writes the rows of `episodes`, numbered from 0, to a parquet file; `images` are the keys stored as PNG."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    about = {"format": FORMAT, "leaves": leaves, "extras": extras, "metadata": metadata}
    columns = {"episode_index": pa.int64(), "number": pa.int64(), "source": pa.int32(), "success_known": pa.bool_(), "whole": pa.string()}
    columns |= {f"steps/{name}": pa.list_(pa.from_numpy_dtype(SCALARS[name])) for name in STEP_FIELDS}
    columns |= {f"final/{key}": pa.binary() if key in images else pa.list_(pa.float32()) for key in leaves}
    schema = pa.schema(list(columns.items()), {"warmloop": json.dumps(about)})
    with pq.ParquetWriter(file, schema) as writer:
        rows = []
        for index, episode in enumerate(episodes):
            rows.append(_row(index, episode, leaves, images))
            if len(rows) == ROWS:
                writer.write_table(pa.Table.from_pylist(rows, schema))
                rows = []
        if rows:
            writer.write_table(pa.Table.from_pylist(rows, schema))


def _row(index: int, episode: Episode, leaves: Shapes, images: set[str]) -> dict[str, Any]:
    steps = episode.steps
    row = {"episode_index": index, "number": episode.number, "source": int(episode.source), "success_known": episode.success is not None}
    row["whole"] = wholes.as_text(episode.whole) if episode.whole else ""
    row |= {f"steps/{name}": np.asarray(getattr(steps, name), SCALARS[name]) for name in STEP_FIELDS}
    for key, (name, _) in leaves.items():
        last = (steps.next_observation[name] if name else steps.next_observation)[-1]
        row[f"final/{key}"] = encode_image(last) if key in images else np.ravel(last).astype(np.float32)
    return row


def _rows(path: Path) -> Generator[tuple[int, Own]]:
    """Each row with its episode's index."""
    with reading(path):
        import pyarrow.parquet as pq

        with pq.ParquetFile(path) as file:
            about = json.loads((file.schema_arrow.metadata or {})[b"warmloop"])
            if about["format"] != FORMAT:
                raise ValueError(f"its format is {about['format']}")
            leaves, extras = (
                {key: (str(name), tuple(map(int, shape))) for key, (name, shape) in about[part].items()} for part in ("leaves", "extras")
            )
            for batch in batches(path, file, ROWS):
                require(str(path), "what is read at once", OBJECTS * batch.nbytes, path.stat().st_size)
                for row in batch.to_pylist():
                    yield row["episode_index"], _own(row, leaves, extras)


def _own(row: dict[str, Any], leaves: Shapes, extras: Shapes) -> Own:
    final = {key: row[f"final/{key}"] for key in leaves}
    final = {key: decode_image(value) if isinstance(value, bytes) else np.array(value, np.float32) for key, value in final.items()}
    steps = {name: np.array(row[f"steps/{name}"], SCALARS[name]) for name in STEP_FIELDS}
    source = int(Source(row["source"]))
    for kind in np.unique(steps["source"]):
        Source(int(kind))
    whole = wholes.from_text(row.get("whole", ""), len(steps["step"]))
    return Own(int(row["number"]), source, bool(row["success_known"]), steps, final, leaves, extras, whole)
