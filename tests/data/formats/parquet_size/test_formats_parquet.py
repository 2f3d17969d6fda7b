"""Parquet files that ask for much, also where their footers deny it: refused in one sentence, before anything is unpacked."""

import json
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest
from broken import asks_for_memory, fixture
from buffers import FIXTURES
from recorded import assert_same_experience

from warmloop.data.errors import WarmloopError
from warmloop.data.formats import load_episodes
from warmloop.data.formats.recordings import budget

MEBIBYTE = 1 << 20
FRAMES = "data/chunk-000/file-000.parquet"
TASKS = "meta/tasks.parquet"


@pytest.fixture(autouse=True)
def little(monkeypatch):
    """So that files of kilobytes are bombs."""
    monkeypatch.setenv(budget.SETTING, "32MiB")


def changed(folder, file, change, **how):
    """The LeRobot fixture with a table of it changed: its columns by their names to those that there are to be."""
    folder.mkdir(exist_ok=True)
    path = fixture("lerobot-v3")(folder)
    table = pq.read_table(path / file)
    columns = {name: table[name].combine_chunks() for name in table.column_names}
    pq.write_table(pa.table(columns | change(table.num_rows)), path / file, **how)
    return path


def minari(folder, change=lambda rows: {}, **how):
    """The Minari fixture in Parquet files, episode 1 changed."""
    folder.mkdir(exist_ok=True)
    path = fixture("minari-arrow")(folder)
    for index in range(3):
        file = path / "data" / str(index) / "part-0.arrow"
        with pa.ipc.open_file(file) as reader:
            table = reader.read_all()
        columns = {name: table[name] for name in table.column_names} | (change(table.num_rows) if index == 1 else {})
        file.unlink()
        pq.write_table(pa.table(columns), file.with_suffix(".parquet"), compression="zstd", **how)
    described = path / "data" / "metadata.json"
    described.write_text(described.read_text().replace('"data_format": "arrow"', '"data_format": "parquet"'))
    return path


def varint(number, length=0):
    """A whole number as Thrift writes it in a footer, in so many bytes."""
    left, found = 2 * number, []
    while left > 127 or len(found) + 1 < length:
        found.append(128 | left & 127)
        left >>= 7
    return bytes([*found, left])


def deny(file):
    """Lets a footer say that each large column has ten values, in ten bytes."""
    with pq.ParquetFile(file) as parquet:
        group = parquet.metadata.row_group(0)
        columns = [group.column(index) for index in range(group.num_columns)]
        sizes = {group.total_byte_size, *(size for c in columns for size in (c.num_values, c.total_uncompressed_size))}
    content = file.read_bytes()
    start = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    footer = content[start:-8]
    for size in (size for size in sizes if size > 5000):
        footer = footer.replace(varint(size), varint(10, len(varint(size))))
    file.write_bytes(content[:start] + footer + content[-8:])
    with pq.ParquetFile(file) as parquet:
        group = parquet.metadata.row_group(0)
        assert max(group.total_byte_size, *(group.column(index).num_values for index in range(group.num_columns))) <= 5000


def wide(name, listed, size=8 * MEBIBYTE):
    """A column of lists of zeros, in all of 64 MiB."""

    def change(rows):
        zeros = pa.array(np.zeros(size // rows * rows))
        if listed:
            return {name: pa.ListArray.from_arrays(np.arange(rows + 1, dtype=np.int32) * (size // rows), zeros)}
        return {name: pa.FixedSizeListArray.from_arrays(zeros, size // rows)}

    return change


PLAIN = {"compression": "zstd", "use_dictionary": False}
BOMBS = {
    "Minari's": lambda folder: minari(folder, wide("rewards", False)),
    "a column's values": lambda folder: changed(folder, FRAMES, wide("action", True)),
    "those of a column with a dot in its name": lambda folder: changed(folder, FRAMES, wide("observation.state", True)),
    "rows that only their type makes large": lambda folder: changed(
        folder, FRAMES, lambda rows: {"action": pa.nulls(rows, pa.list_(pa.float64(), 4 * MEBIBYTE))}
    ),
    "numbers of a fixed size that is large": lambda folder: changed(
        folder, FRAMES, lambda rows: {"action": pa.nulls(rows, pa.binary(16 * MEBIBYTE))}
    ),
    "a text for each number": lambda folder: changed(folder, FRAMES, lambda rows: {"action": pa.array(["1" * 16 * MEBIBYTE] * rows)}),
    "a text for each task": lambda folder: changed(
        folder,
        TASKS,
        lambda rows: {"task": pa.array(["a" * 4 * MEBIBYTE] * 100), "task_index": pa.array(range(100)), "__index_level_0__": pa.nulls(100)},
    ),
    "texts that each repeat the one before": lambda folder: changed(
        folder,
        TASKS,
        lambda rows: {
            "task": pa.array([f"{'a' * 4 * MEBIBYTE}{n}" for n in range(20)]), "task_index": pa.array(range(20)),
            "__index_level_0__": pa.nulls(20),
        },
        compression="zstd", use_dictionary=False, column_encoding={"task": "DELTA_BYTE_ARRAY"},
    ),
}  # fmt: skip
LARGE = {"data_page_size": 1 << 30, "write_batch_size": 1 << 30}
DENIED = {
    "a run of one value": lambda folder: (changed(folder, FRAMES, wide("action", True)), FRAMES),
    "one page": lambda folder: (changed(folder, FRAMES, wide("action", True), **PLAIN, **LARGE), FRAMES),
    "one of the second version": lambda folder: (
        changed(folder, FRAMES, wide("action", True), **PLAIN, **LARGE, data_page_version="2.0"), FRAMES
    ),
    "Minari's run": lambda folder: (minari(folder, wide("rewards", False)), "data/1/part-0.parquet"),
    "Minari's page": lambda folder: (minari(folder, wide("rewards", False), use_dictionary=False, **LARGE), "data/1/part-0.parquet"),
}  # fmt: skip


def grown(paths):
    """The sentence by which each data set is refused, and the most memory that Arrow took for all, in a process of its own."""
    program = (
        "import sys, pyarrow; from warmloop.data.formats import load_episodes; from warmloop.data.errors import WarmloopError\n"
        "for path in sys.argv[1:]:\n"
        "    try: load_episodes(path)\n"
        "    except WarmloopError as error: print(pyarrow.default_memory_pool().max_memory(), error)\n"
        "    else: print(pyarrow.default_memory_pool().max_memory(), 'is read')"
    )
    shown = subprocess.run([sys.executable, "-c", program, *map(str, paths)], capture_output=True, text=True, check=True).stdout
    return [(said, int(taken)) for taken, said in (line.split(" ", 1) for line in shown.splitlines())]


@pytest.mark.long
def test_what_would_take_too_much_is_refused_before_it_is_unpacked(tmp_path):
    paths = {name: make(tmp_path / str(index)) for index, (name, make) in enumerate(BOMBS.items())}
    assert all(budget.size_of(path) < MEBIBYTE for path in paths.values())
    for (name, path), (said, taken) in zip(paths.items(), grown(paths.values()), strict=True):
        limit = 24 if "text" in name else 8  # a text is as long as it is
        assert str(path) in asks_for_memory(said) and taken < limit * MEBIBYTE, f"{name}: {taken >> 20} MiB, {said}"


@pytest.mark.long
def test_a_footer_that_denies_what_a_page_holds_is_not_believed(tmp_path):
    made = {name: make(tmp_path / str(index)) for index, (name, make) in enumerate(DENIED.items())}
    for path, file in made.values():
        deny(path / file)
        assert budget.size_of(path) < MEBIBYTE
    for (name, (path, _)), (said, taken) in zip(made.items(), grown(path for path, _ in made.values()), strict=True):
        assert str(path) in asks_for_memory(said) and taken < 8 * MEBIBYTE, f"{name}: {taken >> 20} MiB, {said}"


@pytest.mark.long
def test_a_footer_that_denies_many_pages_is_refused_in_the_memory_of_one(tmp_path):
    path = changed(tmp_path, FRAMES, wide("action", True), **PLAIN)
    deny(path / FRAMES)
    ((said, taken),) = grown([path])
    assert "columns do not have the same size" in said and taken < 32 * MEBIBYTE


@pytest.mark.parametrize("how", [{}, PLAIN, PLAIN | {"data_page_version": "2.0"}, {"row_group_size": 2}, {"data_page_size": 64}], ids=str)
def test_what_is_within_the_budget_is_read_however_it_is_stored(tmp_path, how):
    noise = np.random.default_rng(0).normal(size=(12, 400)).astype(np.float32)
    path = changed(tmp_path / "lerobot", FRAMES, lambda rows: {"observation.state": pa.array(list(noise[:rows]))}, **how)
    info = path / "meta/info.json"
    described = json.loads(info.read_text())
    described["features"]["observation.state"]["shape"] = [400]
    info.write_text(json.dumps(described))
    for e, rows in zip(load_episodes(path), np.split(noise, [5, 9]), strict=False):
        assert np.array_equal(e.steps.observation["state"], rows[: len(e)])
    stored = minari(tmp_path / "minari", **{name: value for name, value in how.items() if name != "compression"})
    assert_same_experience(load_episodes(stored), load_episodes(FIXTURES / "minari-arrow"))


def test_a_parquet_file_damaged_anywhere_gives_episodes_or_one_sentence(tmp_path):
    path = minari(tmp_path)
    file, rng = path / "data/1/part-0.parquet", np.random.default_rng(0)
    content = file.read_bytes()
    for place in rng.integers(0, len(content), 150):
        file.write_bytes(content[:place] + bytes([content[place] ^ 1 << int(rng.integers(8))]) + content[place + 1 :])
        try:
            load_episodes(path)
        except WarmloopError as error:
            assert str(path) in str(error)
