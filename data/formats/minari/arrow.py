"""Episodes of a Minari dataset out of its Arrow (or Parquet) files, a folder of them for each: `data/3/part-0.arrow`.

A row is a step, and the last one is of the observation that follows: its action, reward and flags are padding. Needs pyarrow.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import WarmloopError
from ..parquet_size.parquet_pages import batches, parquet_bytes, row_bytes
from ..recordings import images
from ..recordings.budget import Meter, require
from ..recordings.flat import Attempt, Part
from ..recordings.recording import Columns
from .arrow_size import arrow_bytes
from .episodes import FLAGS, SCALARS, Kept, check_count, is_jpeg, to_part

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow.dataset import FileSystemDataset

PARQUET = "parquet"
PARQUET_ROWS = 64  # at once: Parquet stores a text or a picture that comes again and again as one


def attempts(origin: str, storage: Any, kept: Kept) -> Iterator[Attempt]:
    """The episodes, one at a time. Infos that are not needed are not read.

    Raises:
        WarmloopError: of an attempt, a file is missing or damaged, or the episode lacks or contradicts itself in a key.
    """
    check_count(origin, storage.total_episodes, (storage.data_path / str(storage.total_episodes)).is_dir())
    for index in range(storage.total_episodes):
        yield f"episode {index}", functools.partial(_part, origin, storage, index, kept)


def _part(origin: str, storage: Any, index: int, kept: Kept) -> Part | None:
    place = f"{origin}, episode {index}"
    rows = _rows(place, storage, index)
    arrays = {name: _array(place, name, _at(place, rows, name))[:-1] for name in SCALARS}
    arrays["actions"] = _array(place, "actions", _at(place, rows, "actions"), storage.action_space.shape)[:-1]
    observations = {}
    for path, space in {**kept.boxes, **kept.choices}.items():
        key = "/".join(("observations", *path))
        found, shape = _at(place, rows, "observations", *path), space.shape or ()
        if is_jpeg(storage, space):
            observations[path] = images.decode(place, key, _encoded(place, key, found), (*shape, 1)[:3]).reshape(-1, *shape)
        else:
            observations[path] = _array(place, key, found, shape)
    return to_part(origin, index, arrays, observations, _infos(place, rows), {}, kept)


def _rows(place: str, storage: Any, index: int) -> pa.StructArray:
    """The rows of an episode."""
    import pyarrow as pa
    from pyarrow import dataset

    try:
        folder = storage.data_path / str(index)
        found = dataset.dataset(folder, format=storage.FORMAT, ignore_prefixes=["_", ".", "metadata.json"])
        _ask(place, found, storage.FORMAT)
        table = _parquet_table(place, found) if storage.FORMAT == PARQUET else found.to_table()
        table.validate(full=True)  # before anything follows the file's offsets
        rows = table.to_struct_array()
        return rows if isinstance(rows, pa.StructArray) else pa.concat_arrays(rows.chunks)
    except (OSError, ValueError, pa.ArrowException) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise WarmloopError(f"{place}: its files cannot be read ({reason}); download or record the dataset again.") from error


def _ask(place: str, found: FileSystemDataset, kind: str) -> None:
    """Raises WarmloopError where an episode's files say that they take more memory than they may."""
    whole = sum(map(parquet_bytes if kind == PARQUET else arrow_bytes, found.files))
    each = sum(row_bytes(field.type) for field in found.schema)
    require(place, "it", max(whole, found.count_rows() * each), _size(found))


def _parquet_table(place: str, found: FileSystemDataset) -> pa.Table:
    """The rows of an episode's Parquet files, counted as they come."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    meter, tables = Meter(place, "it", _size(found)), []
    for path in found.files:
        with pq.ParquetFile(path) as file:
            read = []
            for batch in batches(path, file, PARQUET_ROWS):
                meter.take(batch.nbytes)
                read.append(batch)
            tables.append(pa.Table.from_batches(read, file.schema_arrow))
    return pa.concat_tables(tables, promote_options="default")


def _size(found: FileSystemDataset) -> int:
    return sum(map(os.path.getsize, found.files))


def _encoded(place: str, key: str, found: pa.Array) -> list[bytes]:
    """Pictures as they are stored. No other type of bytes: a view or a dictionary may stand for one picture again and again."""
    import pyarrow as pa

    if not (pa.types.is_binary(found.type) or pa.types.is_large_binary(found.type)) or found.null_count:
        raise WarmloopError(f"{place}: `{key}` holds {found.type} values, or none; a picture is needed in each row; record it again.")
    return found.to_pylist()


def _at(place: str, rows: pa.Array, *path: str) -> pa.Array:
    """The array at `path` in structures within structures."""
    import pyarrow as pa

    for name in path:
        if not isinstance(rows, pa.StructArray) or rows.type.get_field_index(name) < 0:
            raise WarmloopError(f"{place}: there is no array `{'/'.join(path)}`; download or record the dataset again.")
        rows = rows.field(name)
    return rows


def _array(place: str, key: str, values: pa.Array, shape: tuple[int, ...] = ()) -> np.ndarray:
    """`[rows, *shape]` numbers."""
    import pyarrow as pa

    count = len(values)
    while pa.types.is_fixed_size_list(values.type) or pa.types.is_list(values.type) or pa.types.is_large_list(values.type):
        values = values.flatten()
    if not (pa.types.is_integer(values.type) or pa.types.is_floating(values.type) or pa.types.is_boolean(values.type)):
        raise WarmloopError(f"{place}: `{key}` holds {values.type} values; numbers are needed.")
    if values.null_count or len(values) != count * math.prod(shape):
        raise WarmloopError(
            f"{place}: `{key}` has {len(values) - values.null_count} numbers in {count} rows; rows of shape {shape} are needed."
        )
    return values.to_numpy(zero_copy_only=False).reshape(count, *shape)


def _infos(place: str, rows: pa.StructArray) -> Columns:
    """The flags; a bool of each row, whatever axes Minari gave it."""
    import pyarrow as pa

    if rows.type.get_field_index("infos") < 0:
        return {}
    infos = _at(place, rows, "infos")
    present = [name for name in FLAGS if isinstance(infos, pa.StructArray) and infos.type.get_field_index(name) >= 0]
    return {name: _array(place, f"infos/{name}", _at(place, infos, name)) for name in present}
